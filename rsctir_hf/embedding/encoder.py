"""The encoder: a model with its processor and regions, loaded from a folder or the Hub.

It is what makes vectors. Nobody else hands its parts around.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModel, AutoProcessor

from rsctir_hf.embedding.encode import (
    EmbeddedImages,
    PictureEmbedding,
    default_batch_size,
    device_of,
    embed_inputs,
    embed_patches,
    embed_tokens,
    evaluating,
    on_device,
    tokenize,
)
from rsctir_hf.embedding.prepare import Preparation, RegionSource, picture_inputs, region_source
from rsctir_hf.embedding.provenance import Provenance
from rsctir_hf.embedding.read_ahead import default_workers, one_processor, read_ahead
from rsctir_hf.embedding.roles import (
    BatchOptions,
    DualEncoder,
    PatchEncoder,
    PictureSource,
    Processor,
    Progress,
    RegionGraphModel,
)
from rsctir_hf.embedding.tower import Tower
from rsctir_hf.errors import ModelLoadError, UnsupportedError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.loading.adapters import MergedIn, merge_adapter
from rsctir_hf.loading.checks import check_device, load_part, load_weights, weights_fingerprint
from rsctir_hf.loading.hub_files import find_model_files, from_any_folder
from rsctir_hf.regions.proposer import MODEL_REGIONS, RegionProposer
from rsctir_hf.regions.sanitize import label_names
from rsctir_hf.vector_index.shards import Precision

CPU_SENTENCES, SENTENCES_AT_ONCE = 32, 64
#: Settings of an image processor that say where its code lies, which differs between copies.
_NOT_PIXELS = frozenset(("auto_map", "processor_class"))


class LoadOptions(TypedDict, total=False):
    """How a model is loaded.

    Attributes:
        device: where the model runs; default: the CPU.
        trust_remote_code: run Python code that comes with the model. Not needed for the families
            of this package.
        revision: branch, tag or commit on the Hub; default: its main branch.
        regions: see ``Encoder``.
        adapter: folder or Hub id of an adapter (LoRA) that was trained in the model, and is merged
            into its weights; of an id, ``@`` and a branch, tag or commit may follow.
    """

    device: str
    trust_remote_code: bool
    revision: str | None
    regions: str | RegionProposer
    adapter: str | Path | None


@dataclass(frozen=True, repr=False)
class Encoder:
    """A dual encoder ready to run.

    Attributes:
        model: a ``roles.DualEncoder``; its training mode is restored after each call. Pictures
            are embedded by a copy of it that shares its weights (``tower.Tower``).
        processor: makes its inputs.
        regions: ``model`` (the model's own), ``none``, or a proposer whose regions are handed in,
            such as ``regions.detector.load_detector`` gives.
        id: folder or Hub id the model came from, recorded with its vectors.
        revision: commit on the Hub, or None.
        adapter: what was merged into the model's weights, or None.

    Raises:
        RegionsError: no such regions.
        UnsupportedError: a proposer for a model that takes no regions.
    """

    model: nn.Module
    processor: Processor
    regions: str | RegionProposer = MODEL_REGIONS
    id: str = ""
    revision: str | None = None
    adapter: MergedIn | None = None

    def __post_init__(self) -> None:
        _ = self.region_source  # refuses what the model cannot take, before any work

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'unnamed'}, {type(self.model).__name__}>"

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str = "cpu",
        trust_remote_code: bool = False,
        revision: str | None = None,
        regions: str | RegionProposer = MODEL_REGIONS,
        adapter: str | Path | None = None,
    ) -> "Encoder":
        """Load a model folder, or an id on the Hub, with its processor, in float32.

        The other arguments are those of ``LoadOptions``.

        Raises:
            ModelLoadError: nothing there, files missing, damaged or not fitting each other, weights
                as pickles only, a model of a newer version or that is no dual encoder, an adapter
                of another model, no such device here, or the Hub refuses or cannot be reached.
            RegionsError: no such regions.
            UnsupportedError: a proposer for a model that takes no regions.
        """
        check_device(device)
        files = find_model_files(source, revision=revision)
        trust = {"trust_remote_code": trust_remote_code}
        model = load_weights(AutoModel, files, "model", **trust)
        processor = load_part(AutoProcessor, files, "processor", **trust)
        if not isinstance(model, DualEncoder) or not hasattr(processor, "tokenizer"):
            raise ModelLoadError(
                f"{files.name!r} is a {type(model).__name__} with a {type(processor).__name__}. "
                "Expected a dual encoder: a model with get_image_features and get_text_features "
                "(CMPAGL, GaLR, CLIP, SigLIP) and a processor for pictures and text."
            )
        ready = cast(nn.Module, model).eval()
        merged = None if adapter is None else merge_adapter(ready, adapter, into=files.name)
        return cls(ready.to(device), processor, regions, files.name, files.revision, merged)

    @cached_property
    def region_source(self) -> RegionSource:
        """Where the regions come from, checked against the model."""
        return region_source(self.model, self.regions)

    @property
    def config(self) -> Any:  # noqa: ANN401 - each family has its own
        """The model's configuration."""
        return self.model.config

    @property
    def input_side(self) -> int | None:
        """The side in pixels of the model's input; None where the configuration does not say."""
        vision = getattr(self.config, "vision_config", None)
        return getattr(self.config, "image_size", None) or getattr(vision, "image_size", None)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the weights, or with these and the adapter."""
        return self.adapter.fingerprint if self.adapter else weights_fingerprint(self.model)

    @property
    def made_by(self) -> Provenance:
        """What the vectors of this encoder depend on."""
        return self.provenance()

    def provenance(self, *, symmetries: int = 1, dtype: Precision = "float32") -> Provenance:
        """Describe what stored vectors depend on; see ``Provenance``."""
        settings = self.processor.image_processor.to_dict()
        kept = {name: value for name, value in settings.items() if name not in _NOT_PIXELS}
        described = json.dumps(kept, sort_keys=True, default=str)
        detector = self.region_source.detector
        return Provenance(
            model_id=from_any_folder(self.id),
            model_revision=self.revision,
            fingerprint=self.fingerprint,
            regions=self.region_source.name,
            detector=detector and replace(detector, source=from_any_folder(detector.source)),
            preprocessing=hashlib.blake2b(described.encode(), digest_size=8).hexdigest(),
            symmetries=symmetries,
            dtype=dtype,
            adapter=from_any_folder(self.adapter.name) if self.adapter else None,
        )

    def inputs(self, pictures: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Turn B RGB pictures into the tensors of ``get_image_features``, where the model runs.

        Raises:
            RegionsError, UnsupportedError: see ``RegionSource.find``.
        """
        found = self.region_source.find(pictures)
        return on_device(self.model, picture_inputs(self.processor, pictures, found))

    def images(
        self,
        images: Iterable[PictureSource],
        *,
        symmetries: int = 1,
        **options: Unpack[BatchOptions],
    ) -> EmbeddedImages:
        """Embed pictures; those that cannot be read or looked at are skipped and listed.

        Args:
            images: n paths or PIL pictures; a lazy iterable is read a few batches ahead. A proposer
                looks at each view that is embedded, in the caller's thread.
            symmetries: 1 embeds each picture as it is. 8 embeds all its turned and mirrored views
                and averages their unit vectors, scaled to unit length again, which takes 8 times as
                long; then a picture and its turned copy have the same vector.
            options: see ``BatchOptions``.

        Raises:
            QueryError: ``symmetries`` is neither 1 nor 8.
            RegionsError: a proposer's answer has no sense.
        """
        return EmbeddedImages.joined(
            list(self.image_batches(images, symmetries=symmetries, **options))
        )

    def image_batches(
        self,
        images: Iterable[PictureSource],
        *,
        symmetries: int = 1,
        **options: Unpack[BatchOptions],
    ) -> Iterator[EmbeddedImages]:
        """Yield what ``images`` returns batch by batch, so that a caller can show it early."""
        return self._batches(self.embedding(symmetries), images, **options)

    def _batches(
        self,
        embed: PictureEmbedding,
        images: Iterable[PictureSource],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[EmbeddedImages]:
        total, done = len(images) if isinstance(images, Sequence) else 0, 0
        for batch in read_ahead(
            embed,
            _named_chunks(images, batch_size or default_batch_size(self.model)),
            workers=embed.workers(workers),
        ):
            yield replace(batch, kept=tuple(done + place for place in batch.kept))
            done += len(batch.kept) + len(batch.skipped)
            if progress is not None:
                progress(done, total)

    def patch_batches(
        self, images: Iterable[PictureSource], **options: Unpack[BatchOptions]
    ) -> Iterator[EmbeddedImages]:
        """Yield as ``image_batches`` does the patches (n, T, D) of pictures, each as it is.

        Raises:
            UnsupportedError: the model has no patches in the space of pictures and sentences.
        """
        if not isinstance(self.model, PatchEncoder):
            raise UnsupportedError(
                f"{type(self.model).__name__} has no get_patch_features() method, so there are no "
                "patch tokens, and rerank='fine' is not possible. Use a model that has it (CMPAGL, "
                "GaLR), or rerank 'none', 'smr' or 'mr'."
            )
        prepare = Preparation(self.processor, region_source(self.model))
        model = self.tower
        embed = PictureEmbedding(model, prepare, at_once=model is not self.model, run=embed_patches)
        try:
            yield from self._batches(embed, images, **options)
        except NotImplementedError as error:
            raise UnsupportedError(f"This model has no patch tokens: {error}") from error

    def embedding(self, symmetries: int = 1) -> PictureEmbedding:
        """Return what embeds batches of pictures, in any thread.

        Raises:
            QueryError: ``symmetries`` is neither 1 nor 8.
        """
        prepare = Preparation(self.processor, self.region_source, symmetries)
        model = self.tower
        return PictureEmbedding(model, prepare, at_once=model is not self.model)

    def image(self, image: PictureSource) -> Tensor:
        """Embed one picture, which must be usable, as a unit vector (D,) float32 on the CPU.

        Raises:
            ImageReadError: it cannot be read.
            RegionsError, UnsupportedError: see ``RegionSource.find``.
        """
        inputs = self.inputs([read_image(image)])
        with one_processor():
            return embed_inputs(self.tower, inputs)[0]

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Turn C sentences into the tensors of ``get_text_features``, where the model runs."""
        return on_device(self.model, tokenize(self.model, self.processor, texts))

    def texts(
        self,
        texts: Sequence[str],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Tensor:
        """Embed sentences as unit vectors (C, D) float32 on the CPU, in the order given.

        ``workers`` are threads as of ``BatchOptions``, for more sentences than one batch, by
        default one of ``CPU_SENTENCES``, or of ``SENTENCES_AT_ONCE`` on another device.
        """
        if not texts:
            return torch.zeros(0, 0)
        # Sentences of like length share a batch, so that little padding is computed.
        order = torch.tensor([len(text) for text in texts]).argsort(stable=True)
        usual = CPU_SENTENCES if device_of(self.model).type == "cpu" else SENTENCES_AT_ONCE
        chunks = order.split(batch_size or usual)
        # In this thread, since a tokenizer must not be asked by two at once.
        tokens = (self.tokens([texts[at] for at in chunk.tolist()]) for chunk in chunks)
        if len(chunks) == 1:
            with one_processor():
                return embed_tokens(self.model, next(tokens))[order.argsort()]
        model, count = self.tower, default_workers() if workers is None else workers
        if model is self.model:  # it may not be safe in threads
            count = 0
        parts = read_ahead(partial(embed_tokens, model), tokens, workers=count)
        return torch.cat(list(parts))[order.argsort()]  # (C, D)

    @property
    def guided(self) -> str:
        """How the model scores a pair in the place of the cosine (AMFMN); "" where it does not."""
        form = getattr(self.config, "text_guidance", "none")
        return "" if form == "none" else str(form)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the model's score (B, C) of pictures (B, D) with sentences (C, D), on the CPU."""
        if not self.guided:
            return images @ texts.T
        model, device = cast(Any, self.model), device_of(self.model)
        with evaluating(model):
            return model.pair_scores(images.to(device), texts.to(device)).cpu()

    @property
    def tower(self) -> nn.Module:
        """What runs over pictures, and over many sentences: see ``tower.Tower``."""
        return self._tower.ready()

    @cached_property
    def _tower(self) -> Tower:
        return Tower(self.model, lambda: picture_inputs(self.processor, [_example()], None))

    def region_graph(self, image: PictureSource) -> tuple[Any, list[str]]:
        """Return the region graph (B = 1) the model reasons over, and the names of its labels.

        Raises:
            ImageReadError, RegionsError: see ``image``.
            UnsupportedError: the model has no region graph; or see ``image``.
        """
        if not isinstance(self.model, RegionGraphModel):
            raise UnsupportedError(
                f"{type(self.model).__name__} has no region graph. Use a GaLR model."
            )
        pictures = [read_image(image)]
        found = self.region_source.find(pictures)
        with evaluating(self.model):
            inputs = on_device(self.model, picture_inputs(self.processor, pictures, found))
            graph = self.model.get_region_graph(**inputs)
        return graph, label_names(getattr(self.config, "region_labels", ()), found)


def _example() -> Image.Image:
    """Return a picture that is always the same, and shows nothing."""
    pixels = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0))
    return Image.fromarray((255 * pixels).byte().numpy())


def _named_chunks(
    images: Iterable[PictureSource], size: int
) -> Iterator[list[tuple[str, PictureSource]]]:
    """Yield the pictures ``size`` at a time, each with what messages call it."""
    remaining = enumerate(images)
    while chunk := list(islice(remaining, size)):
        yield [
            (str(source) if isinstance(source, str | Path) else f"picture {position}", source)
            for position, source in chunk
        ]
