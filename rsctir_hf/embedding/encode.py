"""Embed pictures and sentences in batches with any dual encoder.

Our own models return unit vectors; a ``CLIPModel`` or ``SiglipModel`` of transformers 5 returns an
output object whose ``pooler_output`` is the projected, unnormalised vector. Both end here as
float32 unit vectors on the CPU.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from rsctir_hf.embedding.prepare import (
    Preparation,
    PreparedImages,
    Skipped,
    inputs_with,
    regions_to_hand_in,
)
from rsctir_hf.embedding.prepare import detector_record as detector_record
from rsctir_hf.embedding.prepare import regions_name as regions_name
from rsctir_hf.embedding.read_ahead import read_ahead
from rsctir_hf.embedding.roles import DualEncoder, RegionGraphModel
from rsctir_hf.errors import UnsupportedError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.regions.proposer import MODEL_REGIONS, RegionProposer
from rsctir_hf.regions.sanitize import label_names

ImageSource = str | Path | Image.Image
Progress = Callable[[int, int], None]

#: On a CPU the C library gives large activations back to the system after each layer, and getting
#: fresh pages for them costs more than a larger batch saves (``rsctir_hf.allocation``).
CPU_BATCH = 8
DEVICE_BATCH = 64

_LONGEST_BELIEVABLE_LENGTH = 100_000  # a tokenizer without a limit reports about 1e30


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


def embed_prepared(model: nn.Module, prepared: PreparedImages) -> Tensor:
    """Embed n prepared pictures as unit vectors (n, D) float32 on the CPU; (0, 0) of none."""
    return _mean_of([_embed_inputs(model, view) for view in prepared.views])


def default_batch_size(model: nn.Module) -> int:
    """Return how many pictures the model should see at once where nobody says."""
    return CPU_BATCH if _device_of(model).type == "cpu" else DEVICE_BATCH


def embed_images(
    model: nn.Module,
    processor: Any,  # noqa: ANN401 - processors share no base with a usable signature
    images: Iterable[ImageSource],
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    regions: str | RegionProposer = MODEL_REGIONS,
    symmetries: int = 1,
    workers: int | None = None,
) -> EmbeddedImages:
    """Embed pictures; those that cannot be read or looked at are skipped and listed.

    Args:
        model: a dual encoder (``roles.DualEncoder``).
        processor: its processor.
        images: n paths or PIL pictures; a lazy iterable is read a few batches ahead.
        batch_size: pictures per forward pass; None: ``default_batch_size``.
        progress: called with (done, total) after each batch; total is 0 where it is not known.
        regions: ``model`` (the model's own), ``none`` or a proposer whose regions are handed in;
            a proposer looks at each view that is embedded, in the caller's thread.
        symmetries: 1 embeds each picture as it is. 8 embeds all its turned and mirrored views and
            averages their unit vectors, scaled to unit length again, which takes 8 times as long;
            then a picture and its turned copy have the same vector.
        workers: threads that read pictures while the model runs; the vectors do not depend on it.
            0 reads in the caller's thread; None: ``read_ahead.default_workers``.

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
            workers=workers,
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
    batch_size: int | None = None,
    progress: Progress | None = None,
    regions: str | RegionProposer = MODEL_REGIONS,
    symmetries: int = 1,
    workers: int | None = None,
) -> Iterator[EmbeddedImages]:
    """Yield what ``embed_images`` returns batch by batch, so that a caller can show it early."""
    preparation = Preparation(model, processor, regions=regions, symmetries=symmetries)
    total = len(images) if isinstance(images, Sequence) else 0
    done = 0
    for first, size, prepared in read_ahead(
        partial(_prepare_chunk, preparation),
        _numbered_chunks(images, batch_size or default_batch_size(model)),
        workers=preparation.workers(workers),
    ):
        done += size
        yield EmbeddedImages(
            embed_prepared(model, prepared),
            tuple(first + place for place in prepared.kept),
            prepared.skipped,
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
    inputs = inputs_with(processor, pictures, regions_to_hand_in(model, pictures, regions))
    return _embed_inputs(model, inputs)[0]


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
    inputs = inputs_with(processor, pictures, regions_to_hand_in(model, pictures, regions))
    return _on_device(model, inputs)


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
    handed_in = regions_to_hand_in(model, pictures, regions)
    with evaluating(model):
        inputs = _on_device(model, inputs_with(processor, pictures, handed_in))
        graph = model.get_region_graph(**inputs)
    return graph, label_names(getattr(model.config, "region_labels", ()), handed_in)


def _on_device(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(_device_of(model)) for name, tensor in inputs.items()}


def _embed_inputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Embed one batch of pictures as (B, D)."""
    with evaluating(model):
        features = cast(DualEncoder, model).get_image_features(**_on_device(model, inputs))
        return unit_vectors(features)


def _longest_text(model: nn.Module, tokenizer: Any) -> int | None:  # noqa: ANN401
    """Return the most tokens of a text, by tokenizer and model; None where neither says."""
    places = getattr(getattr(model.config, "text_config", None), "max_position_embeddings", None)
    longest = min(tokenizer.model_max_length, places or _LONGEST_BELIEVABLE_LENGTH)
    return longest if longest < _LONGEST_BELIEVABLE_LENGTH else None


def _numbered_chunks(
    images: Iterable[ImageSource], size: int
) -> Iterator[tuple[int, list[ImageSource]]]:
    """Yield the pictures ``size`` at a time, each chunk with the position of its first picture."""
    remaining, first = iter(images), 0
    while chunk := list(islice(remaining, size)):
        yield first, chunk
        first += len(chunk)


def _prepare_chunk(
    preparation: Preparation, chunk: tuple[int, list[ImageSource]]
) -> tuple[int, int, PreparedImages]:
    """Return position, number and model inputs of a chunk."""
    first, sources = chunk
    names = [
        str(source) if isinstance(source, str | Path) else f"picture {position}"
        for position, source in enumerate(sources, start=first)
    ]
    return first, len(sources), preparation(sources, names)


def _mean_of(vectors: Sequence[Tensor]) -> Tensor:
    """Return the unit vectors (B, D) along the means of (B, D) unit vectors; (0, 0) of none."""
    if not vectors:
        return torch.zeros(0, 0)
    if len(vectors) == 1:
        return vectors[0]  # to the last bit what the model gave
    return F.normalize(torch.stack(list(vectors)).mean(dim=0), dim=-1)


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
