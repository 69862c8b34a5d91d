"""Captioned pictures in every layout give the same pairs, and what is wrong with one is said."""

import subprocess
import sys

import datasets
import numpy as np
import pytest
from PIL import Image

from rsctir_hf.data.collator import picture_source, undecoded
from rsctir_hf.data.reading import read_captioned
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.pictures import read_image
from tests.miniature import write_karpathy, write_pictures, write_precomp
from tests.own_layouts import (
    NAMES,
    PARTS,
    SAID,
    SPLIT_LAYOUTS,
    WHOLE,
    as_images,
    beside,
    content,
    dump,
    expected,
    pairs_of,
    picture_rows,
    rows_of,
    split_folders,
    tables_of_text,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("layout", WHOLE)
def test_every_layout_without_splits_gives_the_same_pairs(layout, tmp_path):
    found = read_captioned(WHOLE[layout](tmp_path / "data"))
    assert pairs_of(found.splits.values()) == expected()
    assert (tuple(found.splits), found.named) == (("train",), False)
    assert not found.from_class_names and not found.missing
    (table,) = found.splits.values()
    assert {"image", "captions", "file_name"} <= set(table.column_names)


@pytest.mark.parametrize("write", SPLIT_LAYOUTS)
def test_every_layout_with_splits_gives_the_same_pairs(write, tmp_path):
    found = read_captioned(write(tmp_path / "data"))
    assert found.named and tuple(found.splits) == PARTS
    for split, table in found.splits.items():
        assert pairs_of([table]) == expected(split)


@pytest.mark.parametrize("write", [write_karpathy, write_precomp])
def test_releases_are_read_without_the_name_of_a_benchmark(write, tmp_path):
    found = read_captioned(write(tmp_path))
    assert {split: len(table) for split, table in found.splits.items()} == {
        "train": 6,
        "validation": 3,
        "test": 3,
    }


# Folders of classes.


@pytest.mark.parametrize("split", ["", "train/"])
def test_names_of_classes_become_captions_and_that_is_said(split, tmp_path):
    for number, name in enumerate(("storage_tanks", "DenseResidential", "01-baseballDiamond")):
        write_pictures(tmp_path / f"{split}{name}", ["a.png", "b.png"], first=2 * number)
    found = read_captioned(tmp_path)
    assert found.from_class_names and found.named == bool(split)
    table = found.splits["train"]
    assert len(table) == 6 and {len(captions) for captions in table["captions"]} == {5}
    assert set(table["category"]) == {"storage_tanks", "DenseResidential", "01-baseballDiamond"}
    said = {captions[0] for captions in table["captions"]}
    assert said == {
        "an aerial photograph of storage tanks",
        "an aerial photograph of dense residential",
        "an aerial photograph of baseball diamond",
    }
    file = tmp_path / "templates.txt"
    file.write_text("# ours\na chip of {}\n\n{} somewhere\n")
    table = read_captioned(tmp_path, class_templates=file).splits["train"]
    assert ["a chip of storage tanks", "storage tanks somewhere"] in [
        list(c) for c in table["captions"]
    ]


def test_a_column_of_classes_becomes_captions_where_that_is_asked_for(tmp_path):
    rows = [{"image": content(n), "label": n % 3} for n in range(6)]
    table = as_images(rows).cast_column(
        "label", datasets.ClassLabel(names=["sea_lake", "pier", "river"])
    )
    table.save_to_disk(tmp_path / "a")
    with pytest.raises(DataLayoutError, match=r"has the columns image, label.*--caption_column"):
        read_captioned(tmp_path / "a")
    found = read_captioned(tmp_path / "a", class_templates="default")
    assert found.from_class_names
    assert found.splits["train"][0]["captions"][0] == "an aerial photograph of sea lake"
    write_pictures(tmp_path / "b", NAMES)
    dump(
        tmp_path / "b" / "x.csv", [{"file_name": NAMES[n], "class": "ab"[n % 2]} for n in range(12)]
    )
    with pytest.raises(DataLayoutError, match="--class_templates default"):
        read_captioned(tmp_path / "b")
    found = read_captioned(tmp_path / "b", class_templates="default")
    assert found.from_class_names and found.splits["train"][1]["captions"][2] == "b seen from above"


@pytest.mark.parametrize(
    ("text", "said"), [("a chip\n", "has the line 'a chip'"), ("", "has no sentence")]
)
def test_templates_without_a_place_for_the_class_are_refused(text, said, tmp_path):
    for name in ("pier", "river"):
        write_pictures(tmp_path / "data" / name, ["a.png"], first=len(name))
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DataLayoutError, match=said):
        read_captioned(tmp_path / "data", class_templates=tmp_path / "t.txt")
    with pytest.raises(DataLayoutError, match=r"absent\.txt cannot be read"):
        read_captioned(tmp_path / "data", class_templates=tmp_path / "absent.txt")


def test_captions_win_over_templates(tmp_path):
    found = read_captioned(beside("captions.csv")(tmp_path), class_templates="default")
    assert not found.from_class_names and pairs_of(found.splits.values()) == expected()


# What is wrong with a source.


def test_pictures_alone_are_refused_with_what_is_read(tmp_path):
    write_pictures(tmp_path / "train", ["a.png"])
    with pytest.raises(
        DataLayoutError, match=r"without a caption or a class: train/a\.png"
    ) as caught:
        read_captioned(tmp_path)
    for part in ("captions.csv", "save_to_disk", "metadata.jsonl", "folder of classes"):
        assert part in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataLayoutError, match="does not hold a captioned picture set"):
        read_captioned(tmp_path / "empty")
    with pytest.raises(DataLayoutError, match="absent does not exist"):
        read_captioned(tmp_path / "absent")


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "x.csv", "x.json", "x.parquet"])
def test_without_a_column_of_captions_the_others_are_named_and_the_flag(name, tmp_path):
    write_pictures(tmp_path, NAMES)
    dump(tmp_path / name, tables_of_text("", "filename", "beschreibung"))
    with pytest.raises(DataLayoutError, match=r"filename, beschreibung.*--caption_column"):
        read_captioned(tmp_path)
    found = read_captioned(tmp_path, caption_column="beschreibung")
    assert pairs_of(found.splits.values()) == expected()
    assert (found.image_column, found.caption_column) == ("filename", "beschreibung")
    with pytest.raises(DataLayoutError, match=r"beschreibung.*expected 'text'.*--caption"):
        read_captioned(tmp_path, caption_column="text")


@pytest.mark.parametrize("name", ["metadata.csv", "x.tsv", "x.jsonl", "x.parquet"])
def test_without_a_column_of_pictures_the_others_are_named_and_the_flag(name, tmp_path):
    write_pictures(tmp_path, NAMES)
    dump(tmp_path / name, tables_of_text("", "bild", "text"))
    with pytest.raises(DataLayoutError, match=r"bild, text.*--image_column"):
        read_captioned(tmp_path)
    found = read_captioned(tmp_path, image_column="bild")
    assert pairs_of(found.splits.values()) == expected()


def test_a_column_that_is_named_wins_over_usual_names(tmp_path):
    write_pictures(tmp_path, NAMES)
    rows = [
        {"file_name": "old.png", "mine": NAMES[n], "caption": "x", "english": t}
        for n, t in rows_of()
    ]
    dump(tmp_path / "metadata.csv", rows)
    found = read_captioned(tmp_path, image_column="mine", caption_column="english")
    assert pairs_of(found.splits.values()) == expected()


@pytest.mark.parametrize("layout", ["metadata.jsonl", "open_clip's CSV", "Parquet of names"])
def test_missing_pictures_are_named_and_left_out_where_that_is_asked_for(layout, tmp_path, caplog):
    data = WHOLE[layout](tmp_path / "data")
    for name in NAMES[::2]:
        next((tmp_path / "data").rglob(name)).unlink()
    with pytest.raises(DataLayoutError, match=r"lacks 6 of its 12 pictures: .*and 1 more") as no:
        read_captioned(data)
    assert "--allow_missing true" in str(no.value)
    assert any(name in str(no.value) for name in NAMES[::2])
    found = read_captioned(data, allow_missing=True)
    assert sorted(name.rpartition("/")[2] for name in found.missing) == sorted(NAMES[::2])
    kept = {(content(n), frozenset(SAID[n])) for n in range(1, 12, 2)}
    assert pairs_of(found.splits.values()) == kept
    assert "lacks 6 pictures, which are left out as was asked for" in caplog.text
    for name in NAMES[1::2]:
        next((tmp_path / "data").rglob(name)).unlink()
    with pytest.raises(DataLayoutError, match=r"lacks 12 of its 12 pictures.*--images"):
        read_captioned(data, allow_missing=True)


def test_pictures_may_lie_elsewhere(tmp_path):
    data = beside("captions.csv", folder="/elsewhere/pictures/")(tmp_path / "data")
    (data / "images").rename(tmp_path / "pictures")
    found = read_captioned(data, images=tmp_path / "pictures")
    assert pairs_of(found.splits.values()) == expected()


def test_a_name_of_two_pictures_is_refused(tmp_path):
    for folder in ("a", "b"):
        write_pictures(tmp_path / folder, NAMES)
    dump(tmp_path / "x.csv", tables_of_text(""))
    with pytest.raises(DataLayoutError, match="is the name of 2 pictures"):
        read_captioned(tmp_path)


@pytest.mark.parametrize("name", ["metadata.jsonl", "x.csv", "x.json", "x.parquet"])
def test_empty_captions_are_counted_and_pictures_left_with_none_are_named(name, tmp_path, caplog):
    write_pictures(tmp_path, NAMES)
    rows = [{"file_name": NAMES[n], "text": "  " if n == 3 else t} for n, t in rows_of()]
    dump(tmp_path / name, [*rows, {"file_name": NAMES[0], "text": ""}])
    found = read_captioned(tmp_path)
    lost = (content(3), frozenset(SAID[3]))
    assert pairs_of(found.splits.values()) == expected() - {lost}
    assert f"{len(SAID[3]) + 1} captions without a word are left out" in caplog.text
    assert "1 pictures have no caption but blank ones and are left out: 3.png" in caplog.text


def test_captions_that_are_all_equal_teach_nothing(tmp_path):
    write_pictures(tmp_path, NAMES)
    texts = ("A picture.", "a picture")
    dump(tmp_path / "x.csv", [{"file_name": NAMES[n], "text": texts[n % 2]} for n in range(12)])
    with pytest.raises(DataLayoutError, match="says the same of all its 12 pictures: 'a picture'"):
        read_captioned(tmp_path)
    dump(tmp_path / "x.csv", [{"file_name": NAMES[n], "text": " "} for n in range(12)])
    with pytest.raises(DataLayoutError, match=r"no picture with a caption|--caption_column"):
        read_captioned(tmp_path)


def test_equal_pictures_of_different_names_are_one(tmp_path):
    write_pictures(tmp_path / "images", [*NAMES, "again.png"])
    (tmp_path / "images" / "again.png").write_bytes(content(4))
    rows = tables_of_text("", "image", "caption", "images/")
    dump(tmp_path / "x.csv", [*rows, {"image": "images/again.png", "caption": "one more"}])
    found = pairs_of(read_captioned(tmp_path).splits.values())
    assert (content(4), frozenset([*SAID[4], "one more"])) in found and len(found) == 12


def test_pictures_outside_of_the_splits_are_refused(tmp_path):
    split_folders(tmp_path)
    write_pictures(tmp_path / "extra", ["z.png"], first=20)
    dump(tmp_path / "extra" / "metadata.csv", [{"file_name": "z.png", "text": "a lake"}])
    with pytest.raises(DataLayoutError, match=r"1 pictures in none of them: z\.png"):
        read_captioned(tmp_path)


def test_pictures_of_no_split_are_for_training_where_others_are_held_out(tmp_path):
    split_folders(tmp_path)
    (tmp_path / "train").rename(tmp_path / "mine")
    found = read_captioned(tmp_path)
    assert {split: pairs_of([table]) for split, table in found.splits.items()} == {
        split: expected(split) for split in PARTS
    }


def test_of_two_tables_one_must_be_named(tmp_path):
    data = beside("captions.csv")(tmp_path)
    dump(data / "other.csv", tables_of_text("", "filepath", "title", "images/"))
    with pytest.raises(
        DataLayoutError, match=r"several tables.*captions\.csv, other\.csv.*Give the file"
    ):
        read_captioned(data)
    assert pairs_of(read_captioned(data / "other.csv").splits.values()) == expected()
    dump(data / "other.csv", [{"class": "a", "colour": "red"}])  # which is none
    assert pairs_of(read_captioned(data).splits.values()) == expected()


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".tar", ".json", ".csv"])
def test_files_that_are_something_else_are_named(suffix, tmp_path):
    (tmp_path / f"x{suffix}").write_bytes(b"\x89PNG junk")
    with pytest.raises(DataLayoutError, match=rf"x{suffix}.*(cannot be read|not JSON|not UTF-8)"):
        read_captioned(tmp_path)


def test_sixteen_bits_stay_as_they_are_in_the_file(tmp_path):
    wide = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 60
    Image.fromarray(wide).save(tmp_path / "a.png")
    rows = [{"image": {"bytes": (tmp_path / "a.png").read_bytes(), "path": None}, "text": "a ramp"}]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "x.parquet")
    (row,) = undecoded(read_captioned(tmp_path / "x.parquet").splits["train"])
    shades = np.asarray(read_image(picture_source(row["image"])))
    assert shades.min() < 10 and shades.max() > 245 and len(np.unique(shades)) > 200


def test_a_hub_data_set_without_pictures_names_its_columns(monkeypatch):
    def give(table):
        monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *_, **__: ["train"])
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
        return read_captioned("somebody/something")

    texts = datasets.Dataset.from_dict({"question": ["a"], "text": ["b"]})
    with pytest.raises(DataLayoutError, match=r"columns question, text.*--image_column"):
        give(texts)
    names = texts.rename_column("question", "image")
    with pytest.raises(DataLayoutError, match="names of pictures in its column 'image' and no pic"):
        give(names)
    with pytest.raises(DataLayoutError, match=r"columns image, label.*--caption_column"):
        give(as_images([{"image": content(0), "label": "pier"}]))
    found = give(as_images(picture_rows()))
    assert pairs_of(found.splits.values()) == expected()


@pytest.mark.slow
def test_real_pictures_give_the_same_pairs_in_four_layouts(development_data, tmp_path):
    script = development_data.parent / "cases" / "split_nwpu.py"
    if not script.is_file():
        pytest.skip(f"{script} is absent")
    pairs = {}
    for layout in ("splits", "flat", "csv", "parquet"):
        command = [sys.executable, str(script), str(tmp_path / layout), "--layout", layout]
        subprocess.run(command, check=True, capture_output=True)
        splits = dict(read_captioned(tmp_path / layout).splits)
        splits.pop("test", None)
        pairs[layout] = pairs_of(splits.values())
    assert len(pairs["csv"]) == 324  # of 325 files, of which two are equal
    assert all(each == pairs["splits"] for each in pairs.values())


@pytest.mark.parametrize("name", ["absent.csv", "absent.parquet", "absent.tar", "absent", "a.jpg"])
def test_what_is_not_there_is_said_not_to_be(name, tmp_path):
    with pytest.raises(DataLayoutError, match=rf"{name} does not exist"):
        read_captioned(tmp_path / name)


def test_a_file_without_captions_is_named_and_not_its_folder(tmp_path):
    dump(tmp_path / "mine.parquet", [{"image": content(0)}])
    with pytest.raises(DataLayoutError, match=r"mine\.parquet has the columns image"):
        read_captioned(tmp_path / "mine.parquet")
