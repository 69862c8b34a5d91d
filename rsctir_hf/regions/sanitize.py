"""Regions as anybody may hand them in, made sound: inside the picture, finite, strongest first."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rsctir_hf.errors import RegionsError
from rsctir_hf.regions.proposer import RegionProposer, Regions

SMALLEST_SIDE = 1.0  # pixels; a box that is narrower within the picture shows nothing


@torch.no_grad()
def propose(proposer: RegionProposer, pictures: Iterable[Image.Image]) -> list[Regions]:
    """Ask a proposer, whoever made it, about RGB pictures, and keep what makes sense.

    Raises:
        RegionsError: see ``sound_regions``.
    """
    return [
        sound_regions(proposer(picture), picture.size, proposer=proposer.name)
        for picture in pictures
    ]


def label_names(known: Sequence[str], handed_in: Sequence[Regions] | None) -> list[str]:
    """Return the names behind the label numbers of a region graph.

    A model that knows no class names numbers those of the regions handed in, in alphabetical order
    (``GaLRProcessor``).

    Args:
        known: ``config.region_labels`` of the model.
        handed_in: the regions of each picture of the batch; None where the model proposes its own.
    """
    return list(known) or sorted({name for each in handed_in or () for name in each.labels})


@torch.no_grad()
def sound_regions(
    regions: Regions, size: tuple[int, int], *, proposer: str = "", count: int | None = None
) -> Regions:
    """Keep the regions that make sense, strongest first.

    Boxes are clipped to the picture. One that is empty, reversed or not finite, or whose score is
    not finite, is left out. Equal scores keep their order, so the same picture gives the same
    regions.

    Args:
        regions: M boxes x1, y1, x2, y2 in pixels of the picture, M scores, M names or numbers of
            classes, or none of those.
        size: (width, height) of the picture in pixels.
        proposer: who found them, for the message.
        count: keep this many at most; None keeps all.

    Returns:
        At most ``count`` regions on the CPU in float32, scores within 0..1, labels as text.

    Raises:
        RegionsError: boxes, scores and labels that do not belong together, or are none.
    """
    boxes, scores = (
        _numbers(getattr(regions, part, None), proposer) for part in ("boxes", "scores")
    )
    boxes = boxes.reshape(0, 4) if boxes.numel() == 0 else boxes
    labels = _names(getattr(regions, "labels", None), proposer)
    whole = boxes.ndim == 2 and boxes.shape[1] == 4 and scores.shape == boxes.shape[:1]
    if not whole or len(labels) not in (0, len(boxes)):
        raise RegionsError(
            f"{proposer or 'A proposer'} gave boxes {tuple(boxes.shape)}, scores "
            f"{tuple(scores.shape)} and {len(labels)} labels; expected boxes (N, 4), scores (N,) "
            "and N labels or none."
        )
    finite = boxes.isfinite().all(dim=1) & scores.isfinite()  # (M,)
    width, height = size
    boxes = torch.minimum(boxes.nan_to_num(0).clamp(min=0), boxes.new_tensor([width, height] * 2))
    wide = (boxes[:, 2:] - boxes[:, :2] >= SMALLEST_SIDE).all(dim=1)
    rows = (finite & wide).nonzero()[:, 0]
    rows = rows[scores[rows].argsort(descending=True, stable=True)][:count]  # (N,)
    return Regions(
        boxes=boxes[rows],
        scores=scores[rows].clamp(0, 1),
        labels=tuple(labels[row] for row in rows.tolist()) if labels else (),
    )


def _numbers(found: Any, proposer: str) -> Tensor:  # noqa: ANN401 - whatever a proposer returns
    """Return a float32 tensor on the CPU."""
    try:
        return torch.as_tensor(found).detach().to("cpu", torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RegionsError(
            f"{proposer or 'A proposer'} gave boxes or scores that are no numbers ({error}); "
            "expected tensors, arrays or lists: boxes (N, 4) in pixels and scores (N,)."
        ) from error


def _names(labels: Any, proposer: str) -> tuple[str, ...]:  # noqa: ANN401
    """Return class names as text; none where the proposer knows no classes."""
    if isinstance(labels, Tensor | np.ndarray):
        labels = labels.tolist()
    if labels is None:
        return ()
    if isinstance(labels, str | bytes) or not isinstance(labels, Sequence):
        raise RegionsError(
            f"{proposer or 'A proposer'} gave labels of type {type(labels).__name__}; expected a "
            "tuple or list with one class name for each box, or None."
        )
    return tuple(map(str, labels))
