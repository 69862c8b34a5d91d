"""Search a gallery by words, by picture or by both: model + processor + index, and a rerank.

Scores are cosines. A rerank changes the order only; every hit keeps its cosine and says at which
rank it stood before. SMR (our reading) and MR need other queries than the one at hand: for
text queries that is the caption bank without the query's own sentence, for picture queries it is
the gallery without the picture itself. With the exact engine every picture is reranked, with any
other the best thousand by cosine (``search.session``).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import rsctir_hf.regions as region_views
from rsctir_hf.embedding.encode import (
    MODEL_REGIONS,
    ImageSource,
    Progress,
    Skipped,
    detector_record,
    embed_image,
    embed_texts,
    evaluating,
    image_inputs,
    picture_region_graph,
    regions_name,
)
from rsctir_hf.embedding.encoder import LoadedModel, load_dual_encoder
from rsctir_hf.embedding.pipeline import image_batches
from rsctir_hf.embedding.provenance import Manifest, check_same_maker, own_regions, read_manifest
from rsctir_hf.errors import QueryError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.regions.contribution import Contributions, region_contributions
from rsctir_hf.regions.proposer import RegionProposer, Regions
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.gallery import IndexReport, Known, PictureGallery, known_pictures
from rsctir_hf.search.hits import Hit, Item
from rsctir_hf.search.other_queries import check_rerank
from rsctir_hf.search.query import check_top_k, describe_query, split_query
from rsctir_hf.search.session import LiveSearch, Query
from rsctir_hf.vector_index.contract import BoundingBox, Metadata, SearchFilter, VectorIndex
from rsctir_hf.vector_index.opening import open_index

__all__ = ["Hit", "IndexReport", "Retriever", "Skipped", "describe_query"]

EXACT_ENGINE = "exact"


class Retriever:
    """Searches a gallery with any dual encoder.

    Args:
        model, processor: a ``roles.DualEncoder`` and what makes its inputs.
        model_id: folder or Hub id, recorded in saved indexes.
        revision: commit on the Hub, likewise.
        bank: captions for ``caption_candidates``, SMR and MR; default: those that ship.
        regions: ``model``, ``none`` or a proposer, such as ``regions.detector.load_detector``
            gives; recorded in saved indexes, and fixed: a gallery holds one kind of regions.
        index: what holds the vectors; by default a new one of the exact engine.

    Raises:
        RegionsError: no such regions.
        UnsupportedError: a proposer for a model that takes no regions.
        IndexMismatchError: ``index`` was made with another model or other regions.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,  # noqa: ANN401 - processors share no base with a usable signature
        *,
        model_id: str = "",
        revision: str | None = None,
        bank: Sequence[str] | CaptionBank | None = None,
        regions: str | RegionProposer = MODEL_REGIONS,
        index: VectorIndex | None = None,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.model_id = model_id
        self.revision = revision
        regions_name(model, regions)  # refuses what the model cannot take, before any work
        self._regions = regions
        sentences = read_caption_bank() if bank is None else bank
        self._bank = sentences if isinstance(sentences, CaptionBank) else CaptionBank(sentences)
        self._open_gallery(open_index(EXACT_ENGINE) if index is None else index)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str = "cpu",
        trust_remote_code: bool = False,
        bank: Sequence[str] | None = None,
        regions: str | RegionProposer = MODEL_REGIONS,
        engine: str = EXACT_ENGINE,
        revision: str | None = None,
    ) -> "Retriever":
        """Load a model folder, or a Hub id at a branch, tag or commit (``revision``).

        ``engine`` holds the vectors: ``exact``, ``hnsw`` or the URI of a server; see
        ``vector_index.opening``.

        Raises:
            ModelLoadError, RegionsError, UnsupportedError: see ``load_dual_encoder`` and the class.
            IndexMismatchError, MissingDependencyError, IndexUnavailableError: see ``open_index``.
        """
        index = open_index(engine)
        loaded = load_dual_encoder(
            source, device=device, trust_remote_code=trust_remote_code, revision=revision
        )
        return cls(
            loaded.model,
            loaded.processor,
            model_id=loaded.model_id,
            revision=loaded.revision,
            bank=bank,
            regions=regions,
            index=index,
        )

    @classmethod
    def load(
        cls,
        folder: str | Path | VectorIndex,
        *,
        model: str | Path | None = None,
        images: str | Path | None = None,
        device: str = "cpu",
        trust_remote_code: bool = False,
        bank: Sequence[str] | None = None,
        regions: str | RegionProposer | None = None,
    ) -> "Retriever":
        """Load a saved index together with the model that made it.

        Args:
            folder: where ``save`` wrote, the URI of a server, or an index that is open.
            model: where that model lies now, if not where the index says. By default it is the
                very commit of the Hub that made the index.
            images: where the pictures lie now, if not where the index says.
            device: where the model runs.
            trust_remote_code: see ``load_dual_encoder``.
            bank: captions.
            regions: those the index was made with; needed where a detector found them.

        Raises:
            ModelLoadError: the model cannot be loaded.
            IndexMismatchError: no index there, or made with another model or other regions.
            MissingDependencyError, IndexUnavailableError: see ``open_index``.
        """
        index = folder
        if isinstance(index, str | Path):
            index = open_index(index, must_exist=True)
        manifest = read_manifest(index.record, index.place)
        if regions is None:
            regions = own_regions(manifest, index.place)
        retriever = cls.from_pretrained(
            model or manifest.model_id,
            device=device,
            trust_remote_code=trust_remote_code,
            bank=bank,
            regions=regions,
            revision=None if model else manifest.model_revision,
        )
        retriever._open_gallery(index, images=images)
        return retriever

    @property
    def regions(self) -> str | RegionProposer:
        """Where the regions of every picture come from."""
        return self._regions

    @property
    def items(self) -> Sequence[Item]:
        """What is known about each indexed picture, in the order of the hits' ``item``."""
        return self._gallery.items_of(self.engine.ids())

    @property
    def engine(self) -> VectorIndex:
        """What holds the vectors: to delete entries from, to measure the recall of."""
        return self._gallery.index

    @property
    def bank(self) -> tuple[str, ...]:
        """The sentences of the caption bank."""
        return self._bank.sentences

    def with_empty_gallery(self) -> "Retriever":
        """Return another retriever on the same model and embedded bank, with nothing indexed."""
        return Retriever(
            self.model,
            self.processor,
            bank=self._bank,
            model_id=self.model_id,
            revision=self.revision,
            regions=self.regions,
        )

    def __len__(self) -> int:
        return len(self._gallery)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} pictures, {self.model_id or 'unnamed'}>"

    def index(
        self,
        images: str | Path | Image.Image | Iterable[ImageSource],
        *,
        captions: Sequence[str | None] | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
        batch_size: int | None = None,
        embeddings: str | Path | None = None,
        progress: Progress | None = None,
    ) -> IndexReport:
        """Add pictures to the gallery; they can be searched batch by batch as they come in.

        A file that is in the gallery already takes the place of what was known about it, and of a
        file that is given twice the last counts.

        Args:
            images: a folder (with its subfolders), one picture, or many: paths and PIL pictures.
            captions: what the gallery says about each of them, shown with the hits.
            metadata: what else is known about each, plain values by name, for filters.
            boxes: where on the Earth each lies, likewise.
            batch_size: pictures per forward pass; see ``encode.default_batch_size``.
            embeddings: folder that keeps the vectors, so that only what is new is embedded.
            progress: called with (done, total).

        Raises:
            DataLayoutError: the folder is missing or holds no picture.
            QueryError: captions, metadata or boxes and pictures differ in number.
            IndexMismatchError: ``embeddings`` are of another model or other pictures.
            IndexUnavailableError: the server that keeps the index does not answer.
        """
        sources, known = known_pictures(images, captions=captions, metadata=metadata, boxes=boxes)
        skipped, indexed = list[Skipped](), 0
        for batch in image_batches(
            LoadedModel(self.model, self.processor, self.model_id, self.revision),
            sources,
            embeddings,
            batch_size=batch_size,
            progress=progress,
            regions=self.regions,
        ):
            skipped += batch.skipped
            if batch.kept:
                kept = [sources[position] for position in batch.kept]
                self.add(batch.vectors, kept, known.at(batch.kept))
                indexed += len(batch.kept)
        self.finish_adding()
        return IndexReport(indexed, tuple(skipped))

    def add(self, vectors: Tensor, images: Sequence[ImageSource], known: Known) -> None:
        """Add n pictures whose unit vectors (n, D) are there already; then ``finish_adding``."""
        if self.engine.persistent and not self.engine.record:
            self._note_maker()
        self._gallery.add(vectors, images, known)
        self._search.forget()

    def finish_adding(self) -> None:
        """Make what was added durable where a server keeps it; elsewhere ``save`` does."""
        if self.engine.persistent:
            self._note_maker()
            self.engine.save()

    def search(
        self,
        query: str | Path | Image.Image | None = None,
        *,
        text: str | None = None,
        image: ImageSource | None = None,
        top_k: int = 5,
        rerank: str = "none",
        temperature: float | None = None,
        only: SearchFilter | None = None,
    ) -> list[Hit]:
        """Find pictures by words, by picture, or by both.

        Args:
            query: shorthand: a ``str`` is text, a ``Path`` or PIL picture is an image.
            text: words; with a picture the query is the mean of the two unit vectors.
            image: a path or PIL picture.
            top_k: how many hits.
            rerank: ``none``, ``smr`` (our reading), ``mr`` or ``match``: the model's fusion encoder
                judges the first 16 with the text.
            temperature: of SMR; default ``config.smr_temperature``.
            only: which pictures may be found, by metadata and by where on the Earth they lie.

        Returns:
            At most ``top_k`` hits, best first.

        Raises:
            QueryError: empty or contradictory query, nothing indexed, unknown or impossible rerank.
            ImageReadError: the query picture cannot be read.
            UnsupportedError: ``rerank="match"`` and the model cannot judge pairs, or the detector
                cannot look at the query picture.
            IndexUnavailableError: the server that keeps the index does not answer.
        """
        check_rerank(rerank)
        check_top_k(top_k)
        words, picture = split_query(query, text, image)
        if len(self) == 0:
            raise QueryError("Nothing is indexed yet. Call index() with a folder of pictures.")
        if rerank == "match" and words is None:
            raise QueryError(
                "rerank 'match' judges a picture against a text and there is no text. "
                "Add one, or use rerank 'none', 'smr' or 'mr'."
            )
        return self._search.pictures(
            Query(self._embed_query(words, picture), words, picture),
            rerank=rerank,
            temperature=temperature,
            top_k=top_k,
            only=only,
        )

    def caption_candidates(
        self,
        image: ImageSource,
        *,
        top_k: int = 5,
        rerank: str = "none",
        temperature: float | None = None,
    ) -> list[Hit]:
        """Find the sentences of the caption bank that suit a picture best.

        Raises:
            QueryError: no caption bank; unknown rerank; SMR or MR with an empty gallery.
            ImageReadError: the picture cannot be read.
            UnsupportedError: see ``search``.
        """
        check_rerank(rerank)
        check_top_k(top_k)
        self._bank.vectors(self.model, self.processor)  # refuses an empty bank before any work
        return self._search.captions(
            Query(self._embed_query(None, image), picture=image),
            rerank=rerank,
            temperature=temperature,
            top_k=top_k,
        )

    def is_confident(self, hits: Sequence[Hit]) -> bool:
        """Tell whether the best cosine reaches ``config.confident_score`` (True where unset)."""
        threshold = getattr(self.model.config, "confident_score", None)
        if threshold is None:
            return True
        return bool(hits) and max(hit.score for hit in hits) >= threshold

    def region_graph(self, image: ImageSource) -> Any:  # noqa: ANN401 - PyG's Data
        """Return ``regions.graph.to_data`` of ``dense_region_graph``, with its errors."""
        graph, names = picture_region_graph(self.model, self.processor, image, self.regions)
        return region_views.to_data(graph, label_names=names)

    def contributions(
        self, image: ImageSource, query: str | Path | Image.Image, *, regions: Regions | None = None
    ) -> Contributions:
        """Return what each region adds to the score of ``image`` with words or a picture.

        ``regions``, in pixels of the picture, are for a model without regions of its own. Raises
        as ``region_contributions`` and ``search`` do.
        """
        picture, asked = read_image(image), self._embed_query(*split_query(query, None, None))
        with evaluating(self.model):
            inputs = image_inputs(self.model, self.processor, [picture], self.regions)
            return region_contributions(
                self.model, inputs, asked, regions=regions, picture_size=picture.size
            )

    def dense_region_graph(self, image: ImageSource) -> Any:  # noqa: ANN401 - the model's output
        """Return the region graph the model reasons over, for one picture (B = 1).

        Raises:
            UnsupportedError: the model has none, or the detector cannot look at the picture.
            ImageReadError: the picture cannot be read.
        """
        return picture_region_graph(self.model, self.processor, image, self.regions)[0]

    def save(self, folder: str | Path) -> None:
        """Write the index below ``folder``; an older one there stays whole until the end.

        Raises:
            UnsupportedError: a server keeps the index; what was indexed is there already.
            FolderBusyError: another process saves there, or has saved there since this was loaded.
        """
        self._note_maker()
        self.engine.save(Path(folder))

    def load_index(self, folder: str | Path, *, images: str | Path | None = None) -> None:
        """Replace the gallery by a saved index.

        Args:
            folder: where ``save`` wrote, or the URI of a server.
            images: where the pictures lie now, if not where the index says.

        Raises:
            IndexMismatchError: no index there, damaged, or made with another model or regions.
            MissingDependencyError, IndexUnavailableError: see ``open_index``.
        """
        index = open_index(folder, must_exist=True)
        read_manifest(index.record, index.place)
        self._open_gallery(index, images=images)

    def _open_gallery(self, index: VectorIndex, *, images: str | Path | None = None) -> None:
        """Search ``index`` from now on, unless another model made it (``IndexMismatchError``)."""
        if index.record or len(index):
            place = index.place
            check_same_maker(read_manifest(index.record, place), self._manifest(), place)
        self._gallery = PictureGallery(index, images=images)
        self._search = LiveSearch(
            self.model, self.processor, gallery=self._gallery, bank=self._bank
        )

    def _note_maker(self) -> None:
        """Note in the index what made it, and which folder holds its pictures."""
        self.engine.record = self._manifest().noted_in(self._gallery.record)

    def _manifest(self) -> Manifest:
        """Describe what makes the vectors."""
        return Manifest(
            model_id=self.model_id,
            model_revision=self.revision,
            fingerprint=weights_fingerprint(self.model),
            regions=regions_name(self.model, self.regions),
            detector=detector_record(self.model, self.regions),
        )

    def _embed_query(self, text: str | None, image: ImageSource | None) -> Tensor:
        """Return one unit vector (D,): of the text, the picture, or the mean of both."""
        vectors = []
        if text is not None:
            vectors.append(embed_texts(self.model, self.processor, [text])[0])
        if image is not None:
            vectors.append(embed_image(self.model, self.processor, image, regions=self.regions))
        return F.normalize(torch.stack(vectors).mean(dim=0), dim=0)
