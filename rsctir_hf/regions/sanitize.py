"""Regions as anybody may hand them in, made sound: inside the picture, finite, strongest first."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rsctir_hf.errors import RegionsError
from rsctir_hf.models.galr.regions_galr import arrange_regions
from rsctir_hf.regions.proposer import RegionProposer, Regions


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


def sound_regions(
    regions: Regions, size: tuple[int, int], *, proposer: str = "", count: int | None = None
) -> Regions:
    """Keep the regions that make sense, strongest first.

    Args:
        regions: M boxes and scores, and M names or numbers of classes or none.
        size: as for ``sound_boxes``.
        proposer: who found them, for the message.
        count: as for ``sound_boxes``.

    Returns:
        At most ``count`` regions on the CPU in float32, scores within 0..1, labels as text.

    Raises:
        RegionsError: boxes, scores and labels that do not belong together, or are none.
    """
    boxes, scores = checked_boxes(
        getattr(regions, "boxes", None), getattr(regions, "scores", None), giver=proposer
    )
    labels = _names(getattr(regions, "labels", None), proposer)
    if len(labels) not in (0, len(boxes)):
        raise RegionsError(
            f"{proposer or 'A proposer'} gave boxes {tuple(boxes.shape)} and {len(labels)} labels; "
            "expected N labels for boxes (N, 4), or none."
        )
    boxes, scores, rows = sound_boxes(boxes, scores, size, count=count)
    kept = tuple(labels[row] for row in rows.tolist()) if labels else ()
    return Regions(boxes=boxes, scores=scores, labels=kept)


@torch.no_grad()
def sound_boxes(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], *, count: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the boxes of one picture that make sense, as a model with regions does (GaLR).

    Boxes are clipped to the picture. One that is empty, reversed or not finite, or whose score is
    not finite, is left out. Equal scores keep their order, so the same picture gives the same
    regions.

    Args:
        boxes: (M, 4) x1, y1, x2, y2 in pixels of the picture.
        scores: (M,).
        size: (width, height) of the picture in pixels.
        count: keep this many at most; None keeps all.

    Returns:
        Boxes (N, 4), scores (N,) within 0..1, strongest first, and which of the M each was (N,).
    """
    found = arrange_regions(
        boxes[None],
        scores[None],
        torch.arange(len(boxes))[None],  # as labels, so that each box is known again
        scores.isfinite()[None],
        image_size=(size[1], size[0]),
        count=len(boxes) if count is None else min(count, len(boxes)),
    )
    sound = found.mask[0]
    return found.boxes[0, sound], found.scores[0, sound], cast(Tensor, found.labels)[0, sound]


def checked_boxes(
    boxes: Any,  # noqa: ANN401 - whatever a proposer returns
    scores: Any = None,  # noqa: ANN401
    *,
    giver: str = "",
) -> tuple[Tensor, Tensor]:
    """Return boxes (M, 4) and scores (M,) as float32 on the CPU; scores of None are all 1.

    Raises:
        RegionsError: they are no numbers, or do not belong together.
    """
    try:
        found, sure = (
            torch.as_tensor(each).detach().to("cpu", torch.float32)
            for each in (boxes, [1.0] * len(boxes) if scores is None else scores)
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise RegionsError(
            f"{giver or 'A proposer'} gave boxes or scores that are no numbers ({error}); "
            "expected tensors, arrays or lists: boxes (N, 4) in pixels and scores (N,) or None."
        ) from error
    found = found.reshape(0, 4) if found.numel() == 0 else found
    if found.ndim != 2 or found.shape[1] != 4 or sure.shape != found.shape[:1]:
        raise RegionsError(
            f"{giver or 'A proposer'} gave boxes {tuple(found.shape)}, scores "
            f"{tuple(sure.shape)}; expected boxes (N, 4) and scores (N,)."
        )
    return found, sure


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
