"""Pictures with boxes: reading them, and the crops a detector learns from.

As in ``data/collator.py``, everything random about a training crop is a pure function of (seed,
epoch, row).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset
from torchvision.ops import box_area

from rsctir_hf.data.augmentation import Augmentation, row_generator
from rsctir_hf.files.metadata import PictureRow, read_metadata
from rsctir_hf.files.pictures import SYMMETRIES, read_image, turned

Boxes = NDArray[np.float32]  # (N, 4) left, top, right, bottom in pixels
GREY = (128, 128, 128)  # beyond the edge of a picture; about 0 after normalisation
VISIBLE = 0.3  # a box with less of its area inside a crop is no longer looked for there
SMALLEST_SIDE = 3.0  # pixels of a crop; smaller boxes are no longer looked for either


@dataclass(frozen=True)
class BoxedPicture:
    """One picture and what stands in it.

    Attributes:
        name: of its file.
        image: RGB.
        boxes: (N, 4) left, top, right, bottom in pixels.
        labels: (N,) class numbers.
    """

    name: str
    image: Image.Image
    boxes: Boxes
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class CropRule:
    """How training crops are cut.

    Attributes:
        side: pixels of the square crop.
        picture_side: longest side the processor gives a picture.
        scales: least and greatest factor on that size; drawn evenly in its logarithm.
        object_share: share of crops that are laid around some box of the picture, if it has one.
        colour_jitter: strength of brightness, contrast and saturation changes, 0..1.
    """

    side: int
    picture_side: int
    scales: tuple[float, float] = (1.0, 1.0)
    object_share: float = 0.0
    colour_jitter: float = 0.0


def read_boxed_folder(
    folder: Path, *, classes: Sequence[str], names: Mapping[str, str] | Sequence[str]
) -> list[BoxedPicture]:
    """Read an imagefolder whose ``metadata.jsonl`` has ``objects`` with ``bbox`` and ``category``.

    Args:
        folder: holds the pictures and ``metadata.jsonl``; boxes are left, top, width, height.
        classes: the names of the detector's classes.
        names: the class each category of the file belongs to, a list where categories are
            numbers; boxes of categories it does not hold are passed over.

    Raises:
        DataLayoutError: there is no such folder, or a line cannot be read, has no boxes or leads
            out of it.
    """
    known = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    return [_boxed(row, classes, known) for row in read_metadata(folder)]


def _boxed(row: PictureRow, classes: Sequence[str], known: Mapping[Any, str]) -> BoxedPicture:
    """Read the picture of one line."""
    if row.objects is None:
        raise row.error("has no objects with bbox and category")
    kept = [each for each in row.objects if each.category in known]
    boxes = np.array([each.box for each in kept], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([classes.index(known[each.category]) for each in kept], np.int64)
    return BoxedPicture(row.file_name, read_image(row.path), boxes, labels)


class BoxedView(Dataset[BoxedPicture]):
    """Training crops, whose index also says the epoch: ``index = epoch * len(view) + row``.

    Args:
        pictures: one crop is cut from each in an epoch; a picture may stand there several times.
        rule: how.
        seed: the run's seed.
    """

    def __init__(self, pictures: Sequence[BoxedPicture], rule: CropRule, *, seed: int) -> None:
        self.pictures = pictures
        self.rule = rule
        self.seed = seed
        self.colours = Augmentation(symmetries=False, colour_jitter=rule.colour_jitter)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> BoxedPicture:
        epoch, row = divmod(int(index), len(self))
        rng = row_generator(self.seed, epoch=epoch, row=row)
        crop = cropped(self.pictures[row], self.rule, rng)
        symmetry = SYMMETRIES[rng.integers(len(SYMMETRIES))]
        boxes = turned_boxes(crop.boxes, crop.image.size, symmetry)
        image = self.colours(turned(crop.image, symmetry), rng)
        return BoxedPicture(crop.name, image, boxes, crop.labels)


def cropped(picture: BoxedPicture, rule: CropRule, rng: np.random.Generator) -> BoxedPicture:
    """Scale a picture at random and cut a square out of it; beyond its edge all is grey."""
    factor = float(np.exp(rng.uniform(*np.log(rule.scales))))
    factor *= rule.picture_side / max(picture.image.size)
    width, height = (max(1, round(side * factor)) for side in picture.image.size)
    scale = np.array([width, height] * 2, np.float32) / np.array(picture.image.size * 2)
    boxes = (picture.boxes * scale).astype(np.float32)
    around = None
    if len(boxes) and rng.random() < rule.object_share:
        around = boxes[rng.integers(len(boxes))]
    left, top = (
        corner(side, rule.side, None if around is None else around[axis::2], rng)
        for axis, side in enumerate((width, height))
    )
    # Only the part that is seen is scaled; it may be far smaller than the picture.
    canvas = Image.new("RGB", (rule.side, rule.side), GREY)
    seen = (max(left, 0), max(top, 0), min(left + rule.side, width), min(top + rule.side, height))
    across, down = width / picture.image.width, height / picture.image.height
    part = picture.image.resize(
        (seen[2] - seen[0], seen[3] - seen[1]),
        Image.Resampling.BILINEAR,
        box=(seen[0] / across, seen[1] / down, seen[2] / across, seen[3] / down),
    )
    canvas.paste(part, (seen[0] - left, seen[1] - top))
    window = (left, top, left + rule.side, top + rule.side)
    cut, keep = windowed_boxes(boxes, window, visible=VISIBLE)
    large = (cut[:, 2:] - cut[:, :2] >= SMALLEST_SIDE).all(axis=1)
    return BoxedPicture(picture.name, canvas, cut[large], picture.labels[keep][large])


def corner(
    length: int, side: int, around: NDArray[np.float32] | None, rng: np.random.Generator
) -> int:
    """Draw where a window begins along one axis.

    Args:
        length: of the picture.
        side: of the window. A longer one lies anywhere as long as it holds the whole picture.
        around: beginning and end of a box whose middle shall lie inside the window.
        rng: random numbers.
    """
    low, high = min(0, length - side), max(0, length - side)
    if around is not None:
        middle = float(around.mean())
        low, high = max(low, int(middle) - side + 1), min(high, int(middle))
    return int(rng.integers(low, max(low, high) + 1))


def turned_boxes(boxes: Boxes, size: tuple[int, int], symmetry: Image.Transpose | None) -> Boxes:
    """Move boxes as ``pictures.turned`` moves the picture.

    Args:
        boxes: (N, 4).
        size: width and height of the picture before it is turned.
        symmetry: one of ``pictures.SYMMETRIES``.

    Returns:
        (N, 4) in the turned picture.
    """
    width, height = size
    left, top, right, bottom = boxes.T
    moved = {
        None: (left, top, right, bottom),
        Image.Transpose.FLIP_LEFT_RIGHT: (width - right, top, width - left, bottom),
        Image.Transpose.FLIP_TOP_BOTTOM: (left, height - bottom, right, height - top),
        Image.Transpose.ROTATE_90: (top, width - right, bottom, width - left),
        Image.Transpose.ROTATE_180: (width - right, height - bottom, width - left, height - top),
        Image.Transpose.ROTATE_270: (height - bottom, left, height - top, right),
        Image.Transpose.TRANSPOSE: (top, left, bottom, right),
        Image.Transpose.TRANSVERSE: (height - bottom, width - right, height - top, width - left),
    }
    return np.stack(moved[symmetry], axis=1).astype(np.float32)  # (N, 4)


def windowed_boxes(
    boxes: Boxes, window: tuple[float, float, float, float], *, visible: float
) -> tuple[Boxes, NDArray[np.bool_]]:
    """Cut boxes at the edge of a window and count from its corner.

    Args:
        boxes: (N, 4).
        window: left, top, right, bottom; it may reach beyond the picture.
        visible: a box with less than this share of its area inside the window is left out.

    Returns:
        The M boxes that stay (M, 4), and which of the N they are (N,).
    """
    left, top, right, bottom = window
    cut = np.clip(boxes, (left, top, left, top), (right, bottom, right, bottom))
    seen, whole = (box_area(torch.from_numpy(each)).numpy() for each in (cut, boxes))
    share = seen / np.maximum(whole, np.finfo(np.float32).tiny)
    keep = (cut[:, 2:] > cut[:, :2]).all(axis=1) & (share >= visible)
    return (cut[keep] - np.array([left, top, left, top])).astype(np.float32), keep
