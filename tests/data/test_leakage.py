"""Repeated pictures are found through re-encoding, resizing and turning; different ones are not."""

import io
import time

import datasets
import numpy as np
import pytest
from PIL import Image

from rsctir_hf.data import leakage
from rsctir_hf.data.benchmarks import load_benchmark
from rsctir_hf.data.leakage import check_leakage, perceptual_hash
from rsctir_hf.errors import ImageReadError
from tests.miniature import sentences


def scene(number, side=64):
    """Smooth random blobs: more like imagery than noise is."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def table_of(pictures, captions=None):
    captions = captions or [sentences(number) for number in range(len(pictures))]
    return datasets.Dataset.from_dict(
        {
            "image": [{"bytes": content, "path": None} for content in pictures],
            "captions": captions,
            "file_name": [f"{number}.png" for number in range(len(pictures))],
        },
        features=datasets.Features(
            image=datasets.Image(),
            captions=datasets.List(datasets.Value("string")),
            file_name=datasets.Value("string"),
        ),
    )


def places(pairs):
    return [
        (pair.left.dataset, pair.left.row, pair.right.dataset, pair.right.row) for pair in pairs
    ]


def test_different_pictures_are_no_finding():
    table = table_of([encoded(scene(number)) for number in range(60)])
    report = check_leakage({"train": table})
    assert report.pairs == ()
    assert report.pictures == {"train": 60}


def test_equal_files_are_found_across_splits():
    train = table_of([encoded(scene(number)) for number in range(4)])
    test = table_of([encoded(scene(number)) for number in (9, 2)])
    report = check_leakage({"train": train, "test": test})
    assert places(report.crossing) == [("train", 2, "test", 1)]
    assert report.crossing[0].kind == "file"
    assert report.within == ()


@pytest.mark.parametrize(
    "copy",
    [
        encoded(scene(1), "JPEG", quality=60),
        encoded(scene(1).resize((150, 150), Image.Resampling.BICUBIC)),
        encoded(scene(1).point(lambda value: min(255, value + 4))),
    ],
    ids=["re-encoded", "resized", "brightened"],
)
def test_copies_with_other_bytes_are_found_by_their_pixels(copy):
    table = table_of([encoded(scene(number)) for number in range(4)] + [copy])
    pairs = check_leakage({"train": table}).within
    assert places(pairs) == [("train", 1, "train", 4)]
    assert pairs[0].kind == "pixels"


@pytest.mark.parametrize("turn", list(Image.Transpose), ids=lambda turn: turn.name)
def test_turned_and_mirrored_copies_are_found(turn):
    train = table_of([encoded(scene(number)) for number in range(4)])
    test = table_of([encoded(scene(3).transpose(turn))])
    assert places(check_leakage({"train": train, "test": test}).pairs) == [("train", 3, "test", 0)]


def test_flat_pictures_are_matched_by_file_only():
    flat = [Image.new("RGB", (32, 32), (value, 90, 90)) for value in (80, 81, 80)]
    report = check_leakage({"train": table_of([encoded(picture) for picture in flat])})
    assert places(report.pairs) == [("train", 0, "train", 2)]


def test_candidates_of_low_contrast_are_confirmed_on_pixels(monkeypatch):
    rng = np.random.default_rng(0)
    seas = [
        Image.fromarray((90 + rng.normal(0, 3, (64, 64, 3))).astype(np.uint8)) for _ in range(80)
    ]
    table = table_of([encoded(sea) for sea in seas])
    # Even when every pair is a candidate, none survives the look at the pixels.
    monkeypatch.setattr(leakage, "MAX_DISTANCE", 64)
    assert check_leakage({"train": table}).pairs == ()


def test_hash_changes_little_by_resizing_and_much_between_pictures():
    def hash_of(image):
        grey = np.asarray(image.resize((32, 32), Image.Resampling.BOX), np.float32).mean(axis=2)
        return perceptual_hash(grey[None])[0]

    assert np.bitwise_count(hash_of(scene(0)) ^ hash_of(scene(0, side=100))) <= 4
    distances = [np.bitwise_count(hash_of(scene(0)) ^ hash_of(scene(n))) for n in range(1, 20)]
    assert min(distances) > 6


def test_a_broken_picture_is_named_with_its_set():
    train = table_of([encoded(scene(0)), encoded(scene(1))[:90]])
    with pytest.raises(ImageReadError, match=r"^ucm/train/1\.png: .*cut short"):
        check_leakage({"ucm/train": train})


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (None, "has no picture"),
        ({"bytes": None, "path": "gone.png"}, "gone.png cannot be read"),
    ],
)
def test_a_picture_that_is_not_there_is_named_with_its_set(cell, problem):
    table = table_of([encoded(scene(0))])
    row = {"image": [cell], "captions": [["a"]], "file_name": ["other.png"]}
    without = datasets.Dataset.from_dict(row, features=table.features)
    with pytest.raises(ImageReadError, match=f"train/other.png: .*{problem}"):
        check_leakage({"train": datasets.concatenate_datasets([table, without])})


def test_equal_captions_are_counted_both_ways():
    train = table_of([encoded(scene(0)), encoded(scene(1))], [["Boats .", "a pier"], ["boats"]])
    test = table_of([encoded(scene(2))], [["BOATS", "a river", "a road"]])
    report = check_leakage({"train": train, "test": test})
    counts = {(s.dataset, s.other): (s.repeated, s.captions) for s in report.shared_captions}
    assert counts == {("train", "test"): (2, 3), ("test", "train"): (1, 3)}
    assert report.captions == {"train": 2, "test": 3}


def test_summary_says_what_was_found():
    train = table_of([encoded(scene(0)), encoded(scene(0))])
    test = table_of([encoded(scene(0).rotate(90))])
    text = "\n".join(check_leakage({"train": train, "test": test}).lines())
    assert "3 pictures (train 2, test 1)" in text
    assert "in two data sets: 2 pairs" in text
    assert "twice in one data set: 1 pairs" in text
    assert "train/0.png = train/1.png (same file)" in text
    assert "train/0.png = test/0.png (same pixels)" in text
    assert "Captions of test that occur word for word in train: 5 of 5" in text


def test_summary_is_silent_about_sets_that_share_no_caption():
    tables = {
        name: table_of([encoded(scene(number))], [[f"only {number}"]])
        for number, name in enumerate(("train", "test"))
    }
    assert not any("Captions" in line for line in check_leakage(tables).lines())


def test_long_lists_are_cut_in_the_summary():
    table = table_of([encoded(scene(0))] * 8)  # 28 pairs
    assert "  and 18 more" in check_leakage({"train": table}).lines()


@pytest.mark.slow
def test_real_ucm_repeats_one_picture_within_train_and_none_across(development_data):
    splits = {
        split: load_benchmark("ucm", development_data / "ucm_captions", split=split, verify=False)
        for split in ("train", "validation", "test")
    }
    start = time.monotonic()
    report = check_leakage(splits)
    assert time.monotonic() - start < 60
    assert report.crossing == ()
    names = {pair.left.file_name for pair in report.pairs} | {
        pair.right.file_name for pair in report.pairs
    }
    assert names == {"airplane01.jpg", "airplane02.jpg"}
    shared = {(s.dataset, s.other): s.repeated for s in report.shared_captions}
    assert shared["test", "train"] == 573  # as counted when the data set was put together
