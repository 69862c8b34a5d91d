"""Tables of labelled pictures in the layouts that people have."""

import json

import pytest
from PIL import Image

from rsctir_hf.data.label_sets import label_splits, read_label_rows, read_labelled
from rsctir_hf.errors import DataLayoutError

ROWS = [
    {"file_name": "a.png", "split": "train", "labels": ["ship", "water"]},
    {"file_name": "b.png", "split": "train", "labels": ["sand"]},
    {"file_name": "c.png", "split": "test", "labels": ["water"]},
]
SHOWN = {"a": {"ship", "water"}, "b": {"sand"}, "c": {"water"}}


def pictures(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (4, 4)).save(folder / f"{name}.png")


def lines(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def said(found):
    return {
        file.stem: {label for label, here in zip(found.labels, row, strict=True) if here}
        for file, row in zip(found.files, found.shown.tolist(), strict=True)
    }


def test_a_table_with_splits_whose_pictures_lie_in_their_folders(tmp_path):
    lines(tmp_path / "multilabels.jsonl", ROWS)
    pictures(tmp_path / "train", "a", "b")
    pictures(tmp_path / "test", "c")
    assert label_splits(tmp_path) == {"train", "test"}
    assert said(read_labelled(tmp_path)) == SHOWN
    train = read_labelled(tmp_path, split="train")
    assert said(train) == {"a": SHOWN["a"], "b": SHOWN["b"]}
    assert train.labels == ("sand", "ship", "water") and train.shown.shape == (2, 3)
    with pytest.raises(DataLayoutError, match="has no split 'validation'; it has test, train"):
        read_labelled(tmp_path, split="validation")


def test_metadata_beside_pictures_in_folders_of_splits(tmp_path):
    for split, names in (("train", "ab"), ("test", "c")):
        pictures(tmp_path / split, *names)
        rows = [{k: v for k, v in row.items() if k != "split"} for row in ROWS]
        lines(tmp_path / split / "metadata.jsonl", [r for r in rows if r["file_name"][0] in names])
    assert label_splits(tmp_path) == {"train", "test"}
    assert said(read_labelled(tmp_path, split="test")) == {"c": {"water"}}
    assert said(read_labelled(tmp_path)) == SHOWN


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", 'file_name,labels\na.png,"ship, water"\nb.png,sand\nc.png,water\n'),
        ("metadata.csv", "file_name;labels\na.png;ship|water\nb.png;sand\nc.png;water\n"),
        ("metadata.csv", "file_name,labels\na.png,\"['ship', 'water']\"\nb.png,sand\nc.png,water"),
        ("multilabels.csv", "image,sand,ship,water\na.png,0,1,1\nb.png,1,0,0\nc.png,0,0,1\n"),
        ("multilabels.tsv", "file_name\tsand\tship\twater\na.png\t0\t1\t1\nb.png\t1\t0\t0\n"
         "c.png\t0\t0\t1\n"),
    ],
)  # fmt: skip
def test_lists_in_cells_and_columns_of_zero_and_one(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    pictures(tmp_path, "a", "b", "c")
    assert said(read_labelled(tmp_path, split="train")) == SHOWN  # names no splits: all
    assert said(read_labelled(tmp_path / name)) == SHOWN
    assert label_splits(tmp_path) == set()


def test_a_picture_without_labels_shows_none_of_them(tmp_path):
    lines(tmp_path / "multilabels.jsonl", [ROWS[0], {"file_name": "b.png", "labels": []}])
    rows = read_label_rows(tmp_path)
    assert [set(row.labels) for row in rows] == [{"ship", "water"}, set()]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"file_name": "a.png", "labels": [1, 2]}], r"Line 1 .* has \[1, 2\] as labels; expected"),
        ([{"file_name": "a.png", "labels": {"x": 1}}], "Line 1 .* as labels; expected texts"),
        ([{"file_name": "a.png", "labels": 7}], "Line 1 .* has 7 as labels"),
        ([{"file_name": "a.png", "caption": "a pier"}], "Line 1 .* has no labels; a row is such"),
        ([{"labels": ["ship"]}], "Line 1 .* names no picture; its fields are labels"),
        ([["a.png"]], "Line 1 .* is no object"),
        ([{"file_name": "a.png", "labels": []}], "names no label of any picture"),
    ],
)
def test_rows_that_say_nothing_of_use_are_named(tmp_path, rows, found):
    lines(tmp_path / "multilabels.jsonl", rows)
    with pytest.raises(DataLayoutError, match=found):
        read_label_rows(tmp_path)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DataLayoutError, match=r"holds no table of labels\. Expected multilabels"):
        read_labelled(tmp_path)
    lines(tmp_path / "multilabels.jsonl", ROWS)
    pictures(tmp_path / "train", "a")
    with pytest.raises(DataLayoutError, match=r"2 of 3 labelled pictures are missing, such as"):
        read_labelled(tmp_path)
