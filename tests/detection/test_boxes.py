"""Boxes follow their picture: a painted block is found where its box says, however it is moved."""

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.detection.boxes import areas, overlaps, turned_boxes, windowed_boxes
from rsctir_hf.files.pictures import SYMMETRIES, turned

SIZE = (40, 28)


def painted(boxes, size=SIZE):
    """A black picture in which each box has a grey value of its own."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes.astype(int), start=1):
        pixels[top:bottom, left:right] = 40 * number
    return Image.fromarray(pixels)


def block_of(picture, number):
    rows, columns = np.nonzero(np.asarray(picture)[..., 0] == 40 * number)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def random_boxes(rng):
    """Three boxes of whole pixels, one in each third, so that none covers another."""
    left = np.array([1, 14, 27]) + rng.integers(0, 4, 3)
    top = rng.integers(0, 15, 3)
    return np.stack([left, top, left + rng.integers(2, 8, 3), top + rng.integers(2, 12, 3)], 1)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("seed", range(5))
def test_boxes_turn_with_the_picture(symmetry, seed):
    boxes = random_boxes(np.random.default_rng(seed)).astype(np.float32)
    picture = turned(painted(boxes), symmetry)
    moved = turned_boxes(boxes, SIZE, symmetry)
    assert [block_of(picture, n + 1) for n in range(3)] == moved.astype(int).tolist()


def test_no_boxes_stay_no_boxes():
    none = np.zeros((0, 4), np.float32)
    for symmetry in SYMMETRIES:
        assert turned_boxes(none, SIZE, symmetry).shape == (0, 4)
    cut, keep = windowed_boxes(none, (0, 0, 5, 5), visible=0.5)
    assert cut.shape == (0, 4) and keep.shape == (0,)


def test_a_window_cuts_boxes_and_drops_those_it_hardly_shows():
    boxes = np.array([[2, 2, 6, 6], [8, 2, 18, 6], [20, 20, 24, 24]], np.float32)
    # The second is 10 wide, of which the window shows 8..10: one fifth.
    cut, keep = windowed_boxes(boxes, (4, 0, 10, 10), visible=0.2)
    assert keep.tolist() == [True, True, False]
    assert cut.tolist() == [[0, 2, 2, 6], [4, 2, 6, 6]]
    _, keep = windowed_boxes(boxes, (4, 0, 10, 10), visible=0.21)
    assert keep.tolist() == [True, False, False]


def test_overlap_is_intersection_over_union():
    boxes = np.array([[0, 0, 4, 4], [10, 10, 12, 12]], np.float32)
    others = np.array([[0, 0, 4, 4], [2, 0, 6, 4], [4, 4, 8, 8]], np.float32)
    # Half of either is shared in the second: 8 of 24 square pixels. Touching corners share none.
    assert overlaps(boxes, others) == pytest.approx(np.array([[1, 1 / 3, 0], [0, 0, 0]]))
    assert areas(np.array([[3, 3, 1, 5]], np.float32)).tolist() == [0]
