"""Windows of a raster: where they lie, which of them show one thing, a heat map of their scores.

Pure arithmetic on pixels and six numbers: nothing here opens a file. A transform is
``(a, b, c, d, e, f)`` as rasterio has it: x = a column + b row + c, y = d column + e row + f.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.errors import QueryError

Transform = tuple[float, float, float, float, float, float]
Size = tuple[int, int]  # width, height in pixels

#: A window that a better hit covers by this share of its area shows the same thing (our reading).
#: At an overlap of a quarter this takes in the neighbours at the sides, not those at the corners.
MERGE_SHARE = 0.2
#: More would fill the memory before the first is read.
MOST_WINDOWS = 2_000_000


@dataclass(frozen=True)
class Window:
    """A rectangle of a raster in whole pixels.

    Attributes:
        col: of its left edge.
        row: of its upper edge.
        width: in pixels.
        height: in pixels.
    """

    col: int
    row: int
    width: int
    height: int

    @property
    def corners(self) -> NDArray[np.float64]:
        """(4, 2) column and row of upper left, lower left, lower right, upper right."""
        left, top, right, bottom = self.box
        return np.array([(left, top), (left, bottom), (right, bottom), (right, top)], float)

    def part(self, box: tuple[float, float, float, float]) -> "Window":
        """Return the window within this one that x1, y1, x2, y2, as shares of it, name."""
        left, top = int(box[0] * self.width), int(box[1] * self.height)
        right, bottom = math.ceil(box[2] * self.width), math.ceil(box[3] * self.height)
        return Window(self.col + left, self.row + top, right - left, bottom - top)

    def outline(self, points: int) -> NDArray[np.float64]:
        """(4 * points, 2) column and row along the sides, the same way around as ``corners``."""
        corners, shares = self.corners, np.arange(points)[:, None] / points
        ways = np.roll(corners, -1, axis=0) - corners
        return np.concatenate([at + way * shares for at, way in zip(corners, ways, strict=True)])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom edge."""
        return self.col, self.row, self.col + self.width, self.row + self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Column and row of the middle."""
        return self.col + self.width / 2, self.row + self.height / 2


def tile_windows(size: Size, side: Size, *, overlap: float) -> list[Window]:
    """Cover a raster with windows of one size, row by row.

    The last window of a row or column is moved inwards, so that every pixel is covered and none
    lies outside. A raster smaller than a window gives one window, cut to the raster.

    Args:
        size: of the raster.
        side: width and height of a window.
        overlap: share of a window that the next one covers too, 0 or more and below 1.

    Raises:
        QueryError: an overlap out of range, windows without pixels, or too many of them.
    """
    if not 0 <= overlap < 1:
        raise QueryError(f"The overlap is {overlap}; expected 0 or more and below 1, such as 0.25.")
    if min(*size, *side) < 1:
        raise QueryError(f"A raster of {size} pixels cannot be cut into windows of {side} pixels.")
    across, down = (_starts(*pair, overlap) for pair in zip(size, side, strict=True))
    count = len(across) * len(down)
    if count > MOST_WINDOWS:
        raise QueryError(
            f"Windows of {side} pixels with an overlap of {overlap} would be {count:,}; at most "
            f"{MOST_WINDOWS:,} are made. Use a smaller overlap or larger tiles."
        )
    width, height = min(size[0], side[0]), min(size[1], side[1])
    return [Window(col, row, width, height) for row in down for col in across]


def map_points(points: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    """Move columns and rows (n, 2) to map coordinates x, y (n, 2); whole numbers are edges."""
    a, b, c, d, e, f = transform
    return points @ np.array([[a, d], [b, e]]) + np.array([c, f])


def merge_windows(
    windows: Sequence[Window],
    scores: NDArray[np.float32],
    *,
    top_k: int,
    share: float = MERGE_SHARE,
) -> list[tuple[int, ...]]:
    """Return the ``top_k`` best hits: rows of a window and those that overlap it (our reading).

    Greedy non-maximum suppression: the best window becomes a hit and takes in all that it covers
    by ``share`` of their area or more, then the best of the rest. A hit keeps the box of its best
    window: a union would grow without bound where a whole landscape suits the query.
    """
    boxes = np.array([window.box for window in windows], float).reshape(-1, 4)  # (n, 4)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    free = np.ones(len(boxes), bool)
    merged: list[tuple[int, ...]] = []
    for best in np.argsort(-scores, kind="stable"):
        if len(merged) == top_k:
            break
        if not free[best]:
            continue
        upper_left = np.maximum(boxes[:, :2], boxes[best, :2])
        lower_right = np.minimum(boxes[:, 2:], boxes[best, 2:])
        shared = np.maximum(lower_right - upper_left, 0).prod(axis=1)  # (n,)
        taken = free & (shared >= share * areas) & (shared > 0)
        others = np.flatnonzero(taken & (np.arange(len(boxes)) != best))
        merged.append((int(best), *others.tolist()))
        free &= ~taken
    return merged


def heat_map(
    windows: Sequence[Window], scores: NDArray[np.float32], size: Size, *, cell: Size
) -> NDArray[np.float32]:
    """Return the mean score of the windows over each cell of a grid.

    Args:
        windows: n of them.
        scores: (n,).
        size: of the raster.
        cell: width and height of a cell in pixels; the last ones may reach over the edge.

    Returns:
        (rows, columns); NaN where no window lies.
    """
    shape = -(-size[1] // cell[1]), -(-size[0] // cell[0])
    total, count = np.zeros(shape), np.zeros(shape)
    for window, score in zip(windows, scores, strict=True):
        left, top, right, bottom = window.box
        rows = slice(top // cell[1], -(-bottom // cell[1]))
        columns = slice(left // cell[0], -(-right // cell[0]))
        total[rows, columns] += score
        count[rows, columns] += 1
    with np.errstate(invalid="ignore"):
        return (total / count).astype(np.float32)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Return where windows begin along one axis."""
    last = max(length - side, 0)
    step = max(round(side * (1 - overlap)), 1)
    return [*range(0, last, step), last]
