"""Embed pictures and sentences in batches with any dual encoder.

Our own models return unit vectors; a ``CLIPModel`` or ``SiglipModel`` of transformers 5 returns an
output object whose ``pooler_output`` is the projected, unnormalised vector. Both end here as
float32 unit vectors on the CPU.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from rsctir_hf.errors import ImageReadError, RegionsError, UnsupportedError
from rsctir_hf.imagery import first_symmetries, read_image, turned
from rsctir_hf.proposals import label_names, propose
from rsctir_hf.protocols import (
    MODEL_REGIONS,
    NO_REGIONS,
    DetectorRecord,
    DualEncoder,
    RecordedProposer,
    RegionGraphModel,
    RegionProposer,
    Regions,
)

ImageSource = str | Path | Image.Image
Progress = Callable[[int, int], None]

_LONGEST_BELIEVABLE_LENGTH = 100_000  # a tokenizer without a limit reports about 1e30


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read, or that a detector cannot look at, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class EmbeddedImages:
    """The usable pictures of a sequence as unit vectors.

    Attributes:
        vectors: (n, D) float32 unit vectors on the CPU, one per usable picture.
        kept: positions of those n pictures in the sequence that was given.
        skipped: the other pictures.
    """

    vectors: Tensor
    kept: tuple[int, ...]
    skipped: tuple[Skipped, ...]


def regions_name(model: nn.Module, regions: str | RegionProposer = MODEL_REGIONS) -> str:
    """Name the regions that embeddings of ``model`` use: ``model``, ``none`` or a detector's name.

    This is what indexes and results record, beside ``detector_record``. A model without a region
    branch has none.

    Raises:
        RegionsError: another word than ``model`` or ``none``, or no name of its own.
        UnsupportedError: a proposer for a model that takes no regions.
    """
    if regions in (MODEL_REGIONS, NO_REGIONS):
        return str(regions) if _uses_regions(model) else NO_REGIONS
    name = getattr(regions, "name", "")
    if isinstance(regions, str) or not callable(regions) or name in ("", MODEL_REGIONS, NO_REGIONS):
        raise RegionsError(
            f"regions is {regions!r}; expected 'model', 'none' or a proposer with a name of its "
            "own, such as regions.detector.load_detector(ID_OR_FOLDER) gives."
        )
    source = getattr(model.config, "region_source", MODEL_REGIONS)
    if not _uses_regions(model) or source != MODEL_REGIONS:
        raise UnsupportedError(
            f"{type(model).__name__} takes no regions of {name}: it has no region branch, or one "
            "for precomputed nodes. Use regions 'model', or a GaLR model with regions."
        )
    return name


def detector_record(
    model: nn.Module, regions: str | RegionProposer = MODEL_REGIONS
) -> DetectorRecord | None:
    """Return what identifies the detector behind ``regions_name``; None where there is none.

    A proposer of the user's own may do without a ``record``: then its name is all there is.

    Raises:
        RegionsError, UnsupportedError: see ``regions_name``.
    """
    regions_name(model, regions)
    return regions.record if isinstance(regions, RecordedProposer) else None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run without gradients and in evaluation mode, then restore each module's own mode.

    Each module's, because a trainer may hold a frozen tower in evaluation mode within a model
    that trains.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def embed_images(
    model: nn.Module,
    processor: Any,  # noqa: ANN401 - processors share no base with a usable signature
    images: Iterable[ImageSource],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
    regions: str | RegionProposer = MODEL_REGIONS,
    symmetries: int = 1,
) -> EmbeddedImages:
    """Embed pictures; those that cannot be read or looked at are skipped and listed.

    Args:
        model: a dual encoder (``protocols.DualEncoder``).
        processor: its processor.
        images: n paths or PIL pictures; a lazy iterable is read one batch at a time.
        batch_size: pictures per forward pass.
        progress: called with (done, total) after each batch; total is 0 where it is not known.
        regions: ``model`` (the model's own), ``none`` or a proposer whose regions are handed in;
            a proposer looks at each view that is embedded.
        symmetries: 1 embeds each picture as it is. 8 embeds all its turned and mirrored views and
            averages their unit vectors, scaled to unit length again, which takes 8 times as long;
            then a picture and its turned copy have the same vector.

    Raises:
        QueryError: ``symmetries`` is neither 1 nor 8.
        RegionsError: see ``regions_name``; or a proposer's answer has no sense.
        UnsupportedError: a proposer for a model that takes no regions.
    """
    parts = list(
        embed_image_batches(
            model,
            processor,
            images,
            batch_size=batch_size,
            progress=progress,
            regions=regions,
            symmetries=symmetries,
        )
    )
    if not parts:
        return EmbeddedImages(torch.zeros(0, 0), (), ())
    filled = [part.vectors for part in parts if part.kept]
    return EmbeddedImages(
        vectors=torch.cat(filled) if filled else torch.zeros(0, 0),
        kept=tuple(position for part in parts for position in part.kept),
        skipped=tuple(skipped for part in parts for skipped in part.skipped),
    )


def embed_image_batches(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    images: Iterable[ImageSource],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
    regions: str | RegionProposer = MODEL_REGIONS,
    symmetries: int = 1,
) -> Iterator[EmbeddedImages]:
    """Yield what ``embed_images`` returns batch by batch, so that a caller can show it early."""
    shown = first_symmetries(symmetries)
    regions_name(model, regions)  # refuses what no picture could be embedded with
    total = len(images) if isinstance(images, Sequence) else 0
    remaining, done = iter(images), 0
    while chunk := list(islice(remaining, batch_size)):
        ready, skipped = _prepare_chunk(chunk, done, shown=shown, regions=regions)
        vectors = []
        for view, symmetry in enumerate(shown if ready else ()):
            pictures = [turned(each.picture, symmetry) for each in ready]
            found = [each.regions[view] for each in ready if each.regions]
            handed_in = found or _handed_in(model, pictures, regions)
            vectors.append(_forward(model, processor, pictures, handed_in))
        done += len(chunk)
        yield EmbeddedImages(
            _mean_of(vectors), tuple(each.position for each in ready), tuple(skipped)
        )
        if progress is not None:
            progress(done, total)


def embed_image(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    image: ImageSource,
    *,
    regions: str | RegionProposer = MODEL_REGIONS,
) -> Tensor:
    """Embed one picture, which must be usable, as a unit vector (D,) float32 on the CPU.

    Raises:
        ImageReadError: it cannot be read.
        RegionsError: see ``embed_images``.
        UnsupportedError: the detector cannot look at it, or the model takes no regions.
    """
    pictures = [read_image(image)]
    return _forward(model, processor, pictures, _handed_in(model, pictures, regions))[0]


def embed_texts(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Embed sentences as unit vectors (C, D) float32 on the CPU, in the order given."""
    # Sentences of like length share a batch, so that little padding is computed.
    order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
    parts = []
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            batch = [texts[position] for position in order[start : start + batch_size]]
            inputs = tokenize(model, processor, batch).to(_device_of(model))
            parts.append(unit_vectors(cast(DualEncoder, model).get_text_features(**inputs)))
            if progress is not None:
                progress(min(start + batch_size, len(order)), len(order))
    if not parts:
        return torch.zeros(0, 0)
    vectors = torch.cat(parts)
    return vectors[torch.tensor(order).argsort()]  # (C, D)


def tokenize(model: nn.Module, processor: Any, texts: Sequence[str]) -> Any:  # noqa: ANN401
    """Turn sentences into ``input_ids`` (C, T) and, where the model has it, ``attention_mask``."""
    tokenizer = processor.tokenizer
    longest = _longest_text(model, tokenizer)
    # A model that sees the padding must always see the same: one without a mask (SigLIP), or one
    # whose processor says so (Siglip2).
    declared = (getattr(processor, "text_kwargs", None) or {}).get("padding")
    fixed = "attention_mask" not in tokenizer.model_input_names or declared == "max_length"
    batch = tokenizer(
        list(texts),
        padding="max_length" if fixed and longest is not None else True,
        truncation=longest is not None,
        max_length=longest,
        return_tensors="pt",
    )
    for name in set(batch) - {"input_ids", "attention_mask"}:
        del batch[name]
    return batch


def unit_vectors(features: Any) -> Tensor:  # noqa: ANN401 - a tensor or an output with one
    """Return float32 unit vectors on the CPU from a tensor or an output with a pooled vector."""
    vectors = features if isinstance(features, Tensor) else features.pooler_output
    return F.normalize(vectors.float(), dim=-1).cpu()


def input_side(model: nn.Module) -> int | None:
    """Return the side in pixels of a model's input; None where the configuration does not say."""
    config = model.config
    return getattr(config, "image_size", None) or getattr(
        getattr(config, "vision_config", None), "image_size", None
    )


def image_inputs(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    pictures: Sequence[Image.Image],
    regions: str | RegionProposer = MODEL_REGIONS,
) -> dict[str, Tensor]:
    """Turn B RGB pictures into the tensors of ``get_image_features``, on the model's device."""
    return _inputs_with(model, processor, pictures, _handed_in(model, pictures, regions))


def picture_region_graph(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    image: ImageSource,
    regions: str | RegionProposer = MODEL_REGIONS,
) -> tuple[Any, list[str]]:
    """Return the region graph (B = 1) the model reasons over, and the names of its labels.

    Raises:
        ImageReadError: the picture cannot be read.
        RegionsError: see ``embed_images``.
        UnsupportedError: the model has no region graph, or the detector cannot look at the picture.
    """
    if not isinstance(model, RegionGraphModel):
        raise UnsupportedError(f"{type(model).__name__} has no region graph. Use a GaLR model.")
    pictures = [read_image(image)]
    handed_in = _handed_in(model, pictures, regions)
    with evaluating(model):
        graph = model.get_region_graph(**_inputs_with(model, processor, pictures, handed_in))
    return graph, label_names(getattr(model.config, "region_labels", ()), handed_in)


def _handed_in(
    model: nn.Module, pictures: Sequence[Image.Image], regions: str | RegionProposer
) -> list[Regions] | None:
    """Return the regions to hand in with each of B pictures; None: the model proposes its own."""
    name = regions_name(model, regions)
    if not isinstance(regions, str):
        return propose(regions, pictures)
    if name == NO_REGIONS and regions_name(model) != NO_REGIONS:
        return [Regions(boxes=torch.zeros(0, 4), scores=torch.zeros(0))] * len(pictures)
    return None


def _inputs_with(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    pictures: Sequence[Image.Image],
    handed_in: Sequence[Regions] | None,
) -> dict[str, Tensor]:
    """Do what ``image_inputs`` does with regions that were found already."""
    given = {} if handed_in is None else {"regions": handed_in}
    inputs = processor(images=list(pictures), return_tensors="pt", **given)
    return dict(inputs.to(_device_of(model)))


def _longest_text(model: nn.Module, tokenizer: Any) -> int | None:  # noqa: ANN401
    """Return the most tokens of a text, by tokenizer and model; None where neither says."""
    places = getattr(getattr(model.config, "text_config", None), "max_position_embeddings", None)
    longest = min(tokenizer.model_max_length, places or _LONGEST_BELIEVABLE_LENGTH)
    return longest if longest < _LONGEST_BELIEVABLE_LENGTH else None


def _uses_regions(model: nn.Module) -> bool:
    config = getattr(model, "config", None)
    return isinstance(model, RegionGraphModel) and getattr(config, "use_regions", True)


@dataclass(frozen=True)
class _Ready:
    """A picture, its position, and what a proposer found in each view of it (else nothing)."""

    position: int
    picture: Image.Image
    regions: list[Regions]


def _prepare_chunk(
    chunk: Sequence[ImageSource],
    first: int,
    *,
    shown: Sequence[Image.Transpose | None],
    regions: str | RegionProposer,
) -> tuple[list[_Ready], list[Skipped]]:
    """Read one chunk of pictures, whose first stands at position ``first``, with their regions."""
    ready, skipped = [], []
    for position, source in enumerate(chunk, start=first):
        name = str(source) if isinstance(source, str | Path) else f"picture {position}"
        try:
            picture = read_image(source)
            views = (turned(picture, symmetry) for symmetry in shown)
            found = [] if isinstance(regions, str) else propose(regions, views)
            ready.append(_Ready(position, picture, found))
        except ImageReadError as error:
            skipped.append(Skipped(path=name, reason=str(error)))
        except UnsupportedError as error:
            skipped.append(Skipped(path=name, reason=f"{name}: {error}"))
    return ready, skipped


def _forward(
    model: nn.Module,
    processor: Any,  # noqa: ANN401
    pictures: Sequence[Image.Image],
    handed_in: Sequence[Regions] | None,
) -> Tensor:
    """Embed one batch of pictures as (B, D)."""
    with evaluating(model):
        inputs = _inputs_with(model, processor, pictures, handed_in)
        return unit_vectors(cast(DualEncoder, model).get_image_features(**inputs))


def _mean_of(vectors: Sequence[Tensor]) -> Tensor:
    """Return the unit vectors (B, D) along the means of (B, D) unit vectors; (0, 0) of none."""
    if not vectors:
        return torch.zeros(0, 0)
    if len(vectors) == 1:
        return vectors[0]  # to the last bit what the model gave
    return F.normalize(torch.stack(list(vectors)).mean(dim=0), dim=-1)


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
