"""Boxes (left, top, right, bottom) in pixels, moved along with their picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Boxes = NDArray[np.float32]


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
    share = areas(cut) / np.maximum(areas(boxes), np.finfo(np.float32).tiny)
    keep = (areas(cut) > 0) & (share >= visible)
    return (cut[keep] - np.array([left, top, left, top])).astype(np.float32), keep


def areas(boxes: Boxes) -> NDArray[np.float32]:
    """Return the area of each box (N,) in square pixels; 0 where it has none."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def overlaps(boxes: Boxes, others: Boxes) -> NDArray[np.float32]:
    """Return intersection over union (N, M) of boxes (N, 4) and others (M, 4)."""
    upper_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    lower_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(lower_right - upper_left, 0)  # (N, M, 2)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(boxes)[:, None] + areas(others)[None] - shared
    return shared / np.maximum(union, np.finfo(np.float32).tiny)
