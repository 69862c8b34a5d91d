"""Boxed pictures: reading RSOD's layout, and crops whose boxes fit what they show.

A painted block is found where its box says, however the picture is moved.
"""

import json

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.data.augmentation import row_generator
from rsctir_hf.detection.crops import (
    SMALLEST_SIDE,
    BoxedPicture,
    BoxedView,
    CropRule,
    corner,
    cropped,
    read_boxed_folder,
    turned_boxes,
    windowed_boxes,
)
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.pictures import SYMMETRIES, turned

RED = np.array([250, 0, 0])
SIZE = (40, 28)


def one_block(box=(30, 20, 54, 36), size=(90, 60)):
    """A picture with one red block on blue, and its box."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[..., 2] = 200
    pixels[box[1] : box[3], box[0] : box[2]] = RED
    boxes = np.array([box], np.float32)
    return BoxedPicture("one.png", Image.fromarray(pixels), boxes, np.array([2]))


@pytest.mark.parametrize("row", range(40))
def test_a_crop_shows_a_block_where_its_box_says(row):
    rule = CropRule(side=64, picture_side=90, scales=(0.5, 2.0), object_share=0.8)
    crop = BoxedView([one_block()] * 40, rule, seed=3)[row]
    assert crop.image.size == (64, 64)
    red = np.asarray(crop.image)[..., 0].astype(int) - np.asarray(crop.image)[..., 2] > 150
    if not len(crop.boxes):
        # Less than 30 % is seen: at the largest scale, of 48 x 32 = 1536 px, below 461.
        assert red.sum() < 461
        return
    rows, columns = np.nonzero(red)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    # Edges are blurred over a pixel or two by the scaling.
    assert crop.boxes[0] == pytest.approx(seen, abs=2)
    assert (crop.boxes >= 0).all() and (crop.boxes <= 64).all()
    assert crop.labels.tolist() == [2]


def test_a_crop_is_a_function_of_seed_epoch_and_row():
    rule = CropRule(side=32, picture_side=90, scales=(0.5, 2.0), colour_jitter=0.2)
    pictures = [one_block(), one_block()]
    view, again = (BoxedView(pictures, rule, seed=1) for _ in range(2))
    _ = again[5]  # another order of asking changes nothing
    same, other_epoch, other_row = again[0], view[2], view[1]
    assert same.image.tobytes() == view[0].image.tobytes()
    assert same.boxes.tolist() == view[0].boxes.tolist()
    assert other_epoch.image.tobytes() != same.image.tobytes() != other_row.image.tobytes()


def test_a_crop_larger_than_the_picture_holds_all_of_it():
    rule = CropRule(side=96, picture_side=45)
    for row in range(10):
        crop = cropped(one_block(), rule, row_generator(0, epoch=0, row=row))
        left, top, right, bottom = crop.boxes[0]
        assert (right - left, bottom - top) == (12, 8)  # half of 24 x 16


def test_boxes_too_small_to_see_are_left_out():
    rule = CropRule(side=96, picture_side=9)  # a tenth: 2.4 x 1.6 px
    assert SMALLEST_SIDE > 16 / 10
    assert not len(cropped(one_block(), rule, np.random.default_rng(0)).boxes)


def test_a_window_is_laid_around_the_middle_of_an_object():
    rng = np.random.default_rng(0)
    around = np.array([90, 110], np.float32)
    starts = [corner(200, 50, around, rng) for _ in range(200)]
    assert all(start <= 100 < start + 50 for start in starts)
    assert min(starts) < 60 and max(starts) > 90
    assert all(0 <= corner(200, 50, None, rng) <= 150 for _ in range(50))


def write_folder(folder, rows):
    folder.mkdir()
    Image.new("RGB", (20, 10)).save(folder / "a.jpg")
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def test_a_folder_is_read_with_numbers_or_names_as_categories(tmp_path):
    objects = {"bbox": [[1, 2, 3, 4], [5, 5, 2, 2]], "category": [1, 0]}
    folder = write_folder(tmp_path / "n", [{"file_name": "a.jpg", "objects": objects}])
    (picture,) = read_boxed_folder(folder, classes=["x", "y"], names=["x", "y"])
    assert picture.boxes.tolist() == [[1, 2, 4, 6], [5, 5, 7, 7]]
    assert picture.labels.tolist() == [1, 0]
    objects = {"bbox": [[1, 2, 3, 4], [5, 5, 2, 2]], "category": ["car", "plane"]}
    folder = write_folder(tmp_path / "w", [{"file_name": "a.jpg", "objects": objects}])
    (picture,) = read_boxed_folder(folder, classes=["x", "y"], names={"plane": "y"})
    assert picture.boxes.tolist() == [[5, 5, 7, 7]] and picture.labels.tolist() == [1]


def test_a_folder_without_boxes_is_refused(tmp_path):
    with pytest.raises(DataLayoutError, match=r"metadata.jsonl is missing"):
        read_boxed_folder(tmp_path, classes=["x"], names=["x"])
    folder = write_folder(tmp_path / "c", [{"file_name": "a.jpg", "captions": []}])
    with pytest.raises(DataLayoutError, match="objects with bbox"):
        read_boxed_folder(folder, classes=["x"], names=["x"])


def test_a_folder_reads_no_picture_outside_of_it(tmp_path):
    objects = {"bbox": [[1, 2, 3, 4]], "category": [0]}
    folder = write_folder(tmp_path / "n", [{"file_name": "a.jpg", "objects": objects}])
    (folder / "a.jpg").rename(tmp_path / "a.jpg")
    row = {"file_name": "../a.jpg", "objects": objects}
    (folder / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataLayoutError, match="outside of it"):
        read_boxed_folder(folder, classes=["x"], names=["x"])


@pytest.mark.parametrize(
    "line",
    [
        b'{"file_name": 0, "objects": {"bbox": [], "category": []}}',
        b'{"file_name": "a.jpg", "objects": {"bbox": [[1, "x", 3, 4]], "category": [0]}}',
        b'{"file_name": "a.jpg", "objects": {"bbox": [[1, 2, 3]], "category": [0]}}',
        b'{"file_name": "a.jpg", "objects": {"bbox": [[1, {}, 3, 4]], "category": [0]}}',
        b'{"a":' * 50_000,
        b"\xcf",
    ],
    ids=["no name", "words", "three numbers", "a mapping", "too deep", "no UTF-8"],
)
def test_a_damaged_line_is_refused(tmp_path, line):
    objects = {"bbox": [[1, 2, 3, 4]], "category": [0]}
    folder = write_folder(tmp_path / "n", [{"file_name": "a.jpg", "objects": objects}])
    (folder / "metadata.jsonl").write_bytes(line + b"\n")
    with pytest.raises(DataLayoutError, match=r"metadata\.jsonl"):
        read_boxed_folder(folder, classes=["x"], names=["x"])


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
