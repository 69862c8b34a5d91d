"""Crops of boxed pictures in which a class's objects lie beside the middle.

The objects of many pictures lie in the middle, where whoever points at the middle hits them. In
these crops that never does.
"""

import dataclasses

import torch
from torch import Tensor

from rsctir_hf.detection.crops import BoxedPicture

SHARE = 0.6  # of each side of the picture
STEPS = 9  # places of a crop along each side
INSIDE = 0.5  # share of an object's area that a crop holds of at least one
SEED = 0


def off_centre(picture: BoxedPicture, label: int) -> tuple[BoxedPicture, Tensor] | None:
    """Return a crop with objects of a class, none of them over its middle, and their boxes.

    The place is drawn among all that will do, the same at every call. None where none will.

    Returns:
        The crop, and the boxes (M, 4) float32 of the class in it, in its pixels, clipped.
    """
    width, height = picture.image.size
    size = torch.tensor([round(SHARE * width), round(SHARE * height)])
    room = torch.tensor([width, height]) - size
    steps = torch.linspace(0, 1, STEPS)
    corners = (torch.cartesian_prod(steps, steps) * room).round()  # (S, 2)
    boxes = torch.from_numpy(picture.boxes[picture.labels == label]).float()  # (M, 4)
    moved = (boxes - corners.repeat(1, 2)[:, None]).clamp(min=0)  # (S, M, 4)
    moved = torch.minimum(moved, size.repeat(2).float())
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    held = (moved[..., 2:] - moved[..., :2]).prod(dim=2) >= INSIDE * area  # (S, M)
    middle = size / 2
    over = ((moved[..., :2] <= middle) & (moved[..., 2:] >= middle)).all(dim=2)  # (S, M)
    places = (held.any(dim=1) & ~over.any(dim=1)).nonzero().flatten()
    if not len(places):
        return None
    draw = torch.Generator().manual_seed(SEED)
    place = int(places[torch.randint(len(places), (1,), generator=draw)])
    left, top = (int(value) for value in corners[place])
    right, bottom = left + int(size[0]), top + int(size[1])
    kept = moved[place]
    kept = kept[((kept[:, 2:] - kept[:, :2]) > 0).all(dim=1)]
    image = picture.image.crop((left, top, right, bottom))
    labels = picture.labels[:1].repeat(len(kept)) * 0 + label
    return dataclasses.replace(picture, image=image, boxes=kept.numpy(), labels=labels), kept
