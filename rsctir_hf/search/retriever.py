"""Search a gallery by words, by picture or by both: model + processor + index, and a rerank.

Scores are cosines. A rerank changes the order only; every hit keeps its cosine and says at which
rank it stood before. SMR (our reading) and MR need other queries than the one at hand: for
text queries that is the caption bank without the query's own sentence, for picture queries it is
the gallery without the picture itself. With the exact engine every picture is reranked, with any
other the best thousand by cosine (``search.session``).
"""

import os
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from PIL import Image
from torch import Tensor

import rsctir_hf.regions as region_views
from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.embedding.encoder import Encoder, LoadOptions
from rsctir_hf.embedding.pipeline import stored_batches
from rsctir_hf.embedding.prepare import Skipped
from rsctir_hf.embedding.provenance import check_same_model, own_regions, read_provenance
from rsctir_hf.embedding.records import picture_sources
from rsctir_hf.embedding.roles import BatchOptions, PictureSource
from rsctir_hf.errors import ModelLoadError, QueryError
from rsctir_hf.files.names import path_of
from rsctir_hf.files.pictures import read_image
from rsctir_hf.regions.contribution import Contributions, region_contributions
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.composed import Term, composed_scores, summed
from rsctir_hf.search.concept import Concept
from rsctir_hf.search.concept_search import ConceptSearch
from rsctir_hf.search.confidence import WORDS, ScoreScale
from rsctir_hf.search.folding import TILES, check_fold
from rsctir_hf.search.gallery import IndexReport, PictureGallery, PictureNotes, last_of_each
from rsctir_hf.search.heat import HeatMaps
from rsctir_hf.search.hits import Hit, Item, confidence
from rsctir_hf.search.label_search import LabelSearch
from rsctir_hf.search.other_queries import check_rerank, check_rerank_of
from rsctir_hf.search.query import (
    Asked,
    QueryPart,
    check_top_k,
    describe_query,
    joined_words,
    read_parts,
)
from rsctir_hf.search.scene_labels import SceneLabels
from rsctir_hf.search.session import Query, SearchSession
from rsctir_hf.search.stored import open_stored
from rsctir_hf.vector_index.contract import BoundingBox, Metadata, SearchFilter, VectorIndex
from rsctir_hf.vector_index.opening import open_index

__all__ = ["Concept", "Hit", "IndexReport", "QueryPart", "Retriever", "Skipped"]
__all__ += ["confidence", "describe_query"]

EXACT_ENGINE = "exact"


class Retriever:
    """Searches a gallery with any dual encoder.

    Args:
        encoder: embeds pictures and queries. What it says of model and regions is recorded in
            saved indexes, and fixed: a gallery holds vectors of one kind.
        bank: captions for ``caption_candidates``, SMR and MR; default: those that ship.
        index: what holds the vectors; by default a new one of the exact engine.
        images: where the pictures of the index lie now, if not where it says.

    Attributes:
        concepts: learns from hits that are marked good or bad, and searches again.
        scenes: names the scene of each picture that is added; None: nobody does.
        labels: finds pictures by labels of what they show, such as "ship and not sand".
        fine: the fine stage; its ``add_patches`` makes what ``rerank="fine"`` needs.
        heat: ``heat.of(picture, query)`` shows where in a picture a query is.

    Raises:
        IndexMismatchError: ``index`` was made with another model or other regions.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        bank: Sequence[str] | CaptionBank | None = None,
        index: VectorIndex | None = None,
        images: str | Path | None = None,
    ) -> None:
        self.encoder = encoder
        bank = read_caption_bank() if bank is None else bank
        self._bank = bank if isinstance(bank, CaptionBank) else CaptionBank(bank)
        index = open_index(EXACT_ENGINE) if index is None else index
        if index.record or len(index):
            check_same_model(index.record, encoder.made_by, index.place)
        self._gallery = PictureGallery(index, images=images)
        self._fold = TILES
        self.scenes: SceneLabels | None = None
        self._search = SearchSession(encoder, gallery=self._gallery, bank=self._bank)
        self.concepts = ConceptSearch(encoder, self._gallery, self._search)
        self.labels = LabelSearch(encoder, self._gallery, self._search)
        self.fine = self._search.fine
        self.heat = HeatMaps(encoder, self._bank)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        bank: Sequence[str] | CaptionBank | None = None,
        engine: str = EXACT_ENGINE,
        **options: Unpack[LoadOptions],
    ) -> "Retriever":
        """Load a model folder, or a Hub id.

        ``engine`` holds the vectors, see ``vector_index.opening``: ``exact``, ``hnsw`` or a URI.

        Raises:
            ModelLoadError, RegionsError, UnsupportedError: the model cannot be loaded or used so.
            IndexMismatchError: the index there is damaged.
            MissingDependencyError, IndexUnavailableError: a package, or the server, is absent.
        """
        index = open_index(engine)  # before the long load
        return cls(Encoder.from_pretrained(source, **options), bank=bank, index=index)

    @classmethod
    def load(
        cls,
        folder: str | Path | VectorIndex,
        *,
        model: str | Path | None = None,
        images: str | Path | None = None,
        bank: Sequence[str] | CaptionBank | None = None,
        **options: Unpack[LoadOptions],
    ) -> "Retriever":
        """Load a saved index together with the model that made it.

        Args:
            folder: what ``stored.open_stored`` opens, or an index that is open.
            model: where that model lies now, if not where the index says. By default it is the
                very commit of the Hub that made the index. The adapter that made it is opened too.
            images: see the class.
            bank: see the class.
            options: see ``LoadOptions``; regions are needed where a detector found them.

        Raises:
            ModelLoadError: the model cannot be loaded.
            IndexMismatchError: no index there, or made with another model or other regions.
            MissingDependencyError, IndexUnavailableError: a package, or the server, is absent.
        """
        index = open_stored(folder) if isinstance(folder, str | Path) else folder
        made_by = read_provenance(index.record, index.place)
        if model is None:
            options.setdefault("revision", made_by.model_revision)
        if "regions" not in options:
            options["regions"] = own_regions(made_by, index.place)
        moved = [] if model is not None else [("model", made_by.model_id)]
        if "adapter" not in options and made_by.adapter is not None:
            options["adapter"] = made_by.adapter
            moved.append(("adapter", made_by.adapter))
        moved = [(what, place) for what, place in moved if not Path(place).is_dir()]
        try:
            encoder = Encoder.from_pretrained(model or made_by.model_id, **options)
        except ModelLoadError as error:
            if not moved:
                raise
            what = " and ".join(f"this {part}" for part, _ in moved)
            how = " and ".join(f"--{part} ({part}= in Python)" for part, _ in moved)
            raise ModelLoadError(
                f"{error} The index in {index.place} was made with {what}; if it lies "
                f"elsewhere now, name its folder: {how}."
            ) from error
        return cls(encoder, bank=bank, index=index, images=images)

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
        return Retriever(self.encoder, bank=self._bank)

    def folding(self, fold: str) -> "Retriever":
        """Return a retriever on the same model and gallery that folds other hits together.

        Args:
            fold: ``tiles``, as at first: windows of a raster that overlap a better one are left
                out; ``all``: copies of a picture as well (``search.copies``); ``none``. A hit says
                how many it stands for, ``merged``.

        Raises:
            QueryError: none of these.
        """
        check_fold(fold)
        other = copy(self)
        other._fold = fold
        other.concepts, other.labels = self.concepts.folding(fold), self.labels.folding(fold)
        return other

    def __len__(self) -> int:
        return len(self._gallery)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} pictures, {self.encoder.id or 'unnamed'}>"

    def index(
        self,
        images: str | Path | Image.Image | Iterable[PictureSource],
        *,
        captions: Sequence[str | None] | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
        embeddings: str | Path | None = None,
        **options: Unpack[BatchOptions],
    ) -> IndexReport:
        """Add pictures to the gallery; they can be searched batch by batch as they come in.

        A file that is in the gallery already takes the place of what was known about it, and of a
        file that is given twice the last counts.

        Args:
            images: a folder (with its subfolders), one picture, or many: paths and PIL pictures.
            captions: what the gallery says about each of them, shown with the hits.
            metadata: what else is known about each, plain values by name, for filters.
            boxes: where on the Earth each lies, likewise.
            embeddings: folder that keeps the vectors, so that only what is new is embedded.
            options: see ``BatchOptions``.

        Raises:
            DataLayoutError: the folder is missing or holds no picture.
            QueryError: captions, metadata or boxes and pictures differ in number.
            IndexMismatchError: ``embeddings`` are of another model or other pictures.
            IndexUnavailableError: the server that keeps the index does not answer.
        """
        sources = picture_sources(images)
        notes = PictureNotes.of(len(sources), captions=captions, metadata=metadata, boxes=boxes)
        if isinstance(sources, list | tuple):  # a lazy one stays so, and may hold a picture twice
            once = last_of_each(sources)
            sources, notes = [sources[position] for position in once], notes.at(once)
        skipped, indexed = list[Skipped](), 0
        for batch in stored_batches(self.encoder, sources, embeddings, **options):
            skipped += batch.skipped
            if batch.kept:
                self.add(batch.vectors, [sources[at] for at in batch.kept], notes.at(batch.kept))
                indexed += len(batch.kept)
        self.finish_adding()
        return IndexReport(indexed, tuple(skipped))

    def add(self, vectors: Tensor, images: Sequence[PictureSource], notes: PictureNotes) -> None:
        """Add n pictures whose unit vectors (n, D) are there already; then ``finish_adding``."""
        if self.engine.persistent and not self.engine.record:
            self._note_provenance()
        self._gallery.add(vectors, images, notes.labelled(self.scenes, vectors))
        self._search.growing = True
        self._search.forget()

    def gone(self, folders: str | Path | Sequence[str | Path]) -> list[int]:
        """Return the ids of what was indexed from a folder, or several, and is gone from there.

        It is found still, until ``engine.delete`` forgets these ids.
        """
        files = self._gallery.below([folders] if isinstance(folders, str | Path) else folders)
        there = {file: os.path.exists(path_of(file)) for file in set(files.values())}
        return [one for one, file in files.items() if not there[file]]

    def finish_adding(self) -> None:
        """Make what was added durable where a server keeps it; elsewhere ``save`` does.

        Until then hits are not judged, since a better one may be on its way.
        """
        self._search.growing = False
        if self.engine.persistent:
            self._note_provenance()
            self.engine.save()

    def search(
        self,
        query: Asked | Sequence[Asked] | None = None,
        *,
        image: PictureSource | None = None,
        top_k: int = 5,
        rerank: str = "none",
        temperature: float | None = None,
        only: SearchFilter | None = None,
    ) -> list[Hit]:
        """Find pictures by words, by picture, or by several of both.

        Args:
            query: a ``str`` is words, a ``Path`` or PIL picture is a picture; a list of them and
                of ``QueryPart``, which has a weight or is not wanted, is asked for together
                (``search.composed``). "Boats without sand" is read as two parts.
            image: a picture beside the words, as a path or PIL picture.
            top_k: how many hits.
            rerank: ``none``, ``smr`` (our reading), ``mr``; ``match``: the model's fusion encoder
                judges the first 16 with the text; ``fine``: the patches of the first 100 are
                compared with the text.
            temperature: of SMR; default ``config.smr_temperature``.
            only: which pictures may be found, by metadata and by where on the Earth they lie.

        Returns:
            At most ``top_k`` hits, best first. Of several parts the hits' ``score`` is the cosine
            with their sum, and ``rerank_score`` what the order comes from.

        Raises:
            QueryError: empty or contradictory query, nothing indexed, unknown or impossible rerank.
            ImageReadError: the query picture cannot be read.
            UnsupportedError: ``rerank="match"`` and the model cannot judge pairs, or the detector
                cannot look at the query picture.
            IndexMismatchError: ``rerank="fine"`` and the index holds no patches.
            IndexUnavailableError: the server that keeps the index does not answer.
        """
        check_rerank(rerank)
        check_top_k(top_k)
        parts = read_parts(query, image)
        if len(self) == 0:
            raise QueryError("Nothing is indexed yet. Call index() with a folder of pictures.")
        check_rerank_of(rerank, parts)
        return self._search.pictures(
            self._query(parts),
            rerank=rerank,
            temperature=temperature,
            top_k=top_k,
            only=only,
            fold=self._fold,
        )

    def caption_candidates(
        self,
        image: PictureSource,
        *,
        top_k: int = 5,
        rerank: str = "none",
        temperature: float | None = None,
    ) -> list[Hit]:
        """Find the sentences of the caption bank that suit a picture best.

        Raises:
            QueryError: no caption bank; unknown rerank; SMR or MR with an empty gallery.
            ImageReadError: the picture cannot be read.
            UnsupportedError: the model cannot judge pairs, or its detector not this picture.
        """
        check_rerank(rerank)
        check_top_k(top_k)
        self._bank.vectors(self.encoder)  # refuses an empty bank before any work
        return self._search.captions(
            self._query(read_parts(None, image)),
            rerank=rerank,
            temperature=temperature,
            top_k=top_k,
        )

    def score_scale(
        self,
        query: Asked | Sequence[Asked] | None = None,
        *,
        image: PictureSource | None = None,
        only: SearchFilter | None = None,
    ) -> ScoreScale | None:
        """Return what the cosines of such a query mean among the pictures that pass a filter.

        The levels of hits come from it. It is made once and kept while the gallery stays as it is.
        None where hits are not judged: nothing is indexed, pictures are still being added, several
        parts are asked for together, or the model cannot tell sentences that fit from others.
        Raises as ``search`` does.
        """
        (part, *others) = joined_words(read_parts(query, image))
        if others or not part.wanted:
            return None
        return self._search.scale(part.text, part.image, only)

    def region_graph(self, image: PictureSource) -> Any:  # noqa: ANN401 - PyG's Data
        """Return ``Encoder.region_graph`` as PyTorch Geometric's data, with its errors."""
        graph, names = self.encoder.region_graph(image)
        return region_views.to_data(graph, label_names=names)

    def contributions(
        self,
        image: PictureSource,
        query: str | Path | Image.Image,
        *,
        regions: Regions | None = None,
    ) -> Contributions:
        """Return what each region adds to the score of ``image`` with words or a picture.

        ``regions``, in pixels of the picture, are for a model without regions of its own. Raises
        as ``region_contributions`` and ``search`` do.
        """
        picture, asked = read_image(image), self._query(read_parts(query)).vector
        with evaluating(self.encoder.model):
            return region_contributions(
                self.encoder.model,
                self.encoder.inputs([picture]),
                asked,
                regions=regions,
                picture_size=picture.size,
            )

    def save(self, folder: str | Path) -> None:
        """Write the index below ``folder``; an older one there stays whole until the end.

        Raises:
            UnsupportedError: a server keeps the index; what was indexed is there already.
            FolderBusyError: another process saves there, or has saved there since this was loaded.
        """
        self._note_provenance()
        self.engine.save(Path(folder))
        self.fine.save(Path(folder))

    def _note_provenance(self) -> None:
        """Note in the index what made it, and which folder holds its pictures."""
        self.engine.record = {**self._gallery.record, **asdict(self.encoder.made_by)}

    def _query(self, parts: Sequence[QueryPart]) -> Query:
        """Embed a query; the order of several parts comes from all of them, not from their sum."""
        terms = [self._term(part) for part in joined_words(parts)]
        words = [part.text for part in parts if part.text and part.wanted]
        pictures = [part.image for part in parts if part.image is not None and part.wanted]
        rescore = None
        if len(terms) > 1 or terms[0].weight < 0:
            scale = self._search.yardstick_scale(WORDS)
            rescore = partial(composed_scores, terms, scale=scale)
        return Query(
            summed(terms), " and ".join(words) or None, pictures[0] if pictures else None, rescore
        )

    def _term(self, part: QueryPart) -> Term:
        weight = part.weight if part.wanted else -part.weight
        if part.image is not None:
            return Term(self.encoder.image(part.image), weight, picture=True)
        return Term(self.encoder.texts([str(part.text)])[0], weight, picture=False)
