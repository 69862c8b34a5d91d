"""Benchmarks load from every layout, with official splits, or say why they cannot."""

import dataclasses

import datasets
import pytest

from rsctir_hf.data import benchmarks
from rsctir_hf.data.benchmarks import (
    BENCHMARKS,
    NAMES,
    available_splits,
    hold_out,
    load_benchmark,
    load_captioned_folder,
    refuse_other_data,
)
from rsctir_hf.errors import DataLayoutError, QueryError
from tests.miniature import (
    hub_table,
    sentences,
    write_imagefolder,
    write_karpathy,
    write_precomp,
)


@pytest.fixture
def small_ucm(monkeypatch):
    """UCM as if its official splits had 6, 3 and 3 pictures."""
    small = dataclasses.replace(BENCHMARKS["ucm"], images={"train": 6, "validation": 3, "test": 3})
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {**BENCHMARKS, "ucm": small})


def test_official_counts_add_up_to_the_published_sizes():
    sizes = {name: sum(benchmark.images.values()) for name, benchmark in BENCHMARKS.items()}
    assert sizes == {"ucm": 2100, "rsicd": 10921, "rsitmd": 4743, "sydney": 613}
    assert tuple(sizes) == NAMES


def test_columns_of_an_imagefolder(tmp_path, caplog):
    table = load_benchmark("ucm", write_imagefolder(tmp_path), split="validation")
    assert isinstance(table.features["image"], datasets.Image)
    assert table.column_names == ["image", "captions", "file_name", "category"]
    assert list(table[0]["captions"]) == sentences(6)
    assert table[0]["image"].size == (32, 32)
    assert "3 pictures of the official 210" in caplog.text


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png"])
def test_complete_karpathy_release_loads(small_ucm, tmp_path, suffix, caplog):
    root = write_karpathy(tmp_path, suffix=suffix)
    for split, count in (("train", 6), ("validation", 3), ("test", 3), ("train+validation", 9)):
        table = load_benchmark("ucm", root, split=split)
        assert len(table) == count
        assert table.column_names == ["image", "captions", "file_name"]
    assert caplog.text == ""


def test_complete_precomp_release_loads(small_ucm, tmp_path):
    root = write_precomp(tmp_path, newline="\r\n")
    assert load_benchmark("ucm", root, split="test")["file_name"][:] == [
        "10.tif",
        "11.tif",
        "12.tif",
    ]
    assert len(load_benchmark("ucm", root, split="train+validation")) == 9


def test_precomp_train_file_may_hold_official_train_and_validation(small_ucm, tmp_path, caplog):
    root = write_precomp(tmp_path, {"train": 9, "test": 3})
    assert len(load_benchmark("ucm", root, split="train+validation")) == 9
    assert len(load_benchmark("ucm", root, split="train")) == 9
    assert "train file holds official train + validation (9 pictures)" in caplog.text
    with pytest.raises(DataLayoutError, match=r"no val_caps\.txt|no dev_caps\.txt"):
        load_benchmark("ucm", root, split="validation")


def test_wrong_count_of_a_release_is_an_error_unless_a_part_is_asked_for(tmp_path, caplog):
    root = write_karpathy(tmp_path)
    with pytest.raises(DataLayoutError, match="names 6 pictures in UCM-Captions train, not 1680"):
        load_benchmark("ucm", root, split="train")
    assert len(load_benchmark("ucm", root, split="train", complete=False)) == 6
    assert "names 6 pictures" in caplog.text


def test_missing_pictures_are_named_or_left_out(small_ucm, tmp_path, caplog):
    root = write_karpathy(tmp_path)
    (root / "images" / "2.tif").unlink()
    with pytest.raises(DataLayoutError, match=r"lacks 1 of the 6 pictures.*2\.tif") as error:
        load_benchmark("ucm", root, split="train")
    for part in (str(root / "images"), "ROOT/dataset_NAME.json", "--images", "--partial"):
        assert part in str(error.value)
    assert len(load_benchmark("ucm", root, split="train", complete=False)) == 5
    assert "2.tif" in caplog.text


def test_no_picture_at_all_is_an_error_even_for_a_part(small_ucm, tmp_path):
    root = write_karpathy(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataLayoutError, match="holds none of the pictures"):
        load_benchmark("ucm", root, split="test", images=tmp_path / "empty", complete=False)


def test_missing_picture_folder_is_named(small_ucm, tmp_path):
    root = write_karpathy(tmp_path)
    with pytest.raises(DataLayoutError, match="absent does not exist"):
        load_benchmark("ucm", root, split="test", images=tmp_path / "absent")


def test_pictures_may_lie_elsewhere_or_beside_the_text_files(small_ucm, tmp_path):
    root = write_precomp(tmp_path / "a")
    (root / "images").rename(tmp_path / "pictures")
    assert len(load_benchmark("ucm", root, split="test", images=tmp_path / "pictures")) == 3
    for file in (tmp_path / "pictures").iterdir():
        file.rename(root / file.name)
    assert len(load_benchmark("ucm", root, split="test")) == 3


def test_two_caption_files_ask_for_a_choice(small_ucm, tmp_path):
    root = write_karpathy(tmp_path)
    second = root / "dataset_other.json"
    second.write_bytes((root / "dataset_UCM.json").read_bytes())
    with pytest.raises(DataLayoutError, match="holds 2 caption files"):
        load_benchmark("ucm", root, split="test")
    assert len(load_benchmark("ucm", second, split="test")) == 3


def test_rsitmd_has_no_validation_split(tmp_path):
    root = write_precomp(tmp_path, {"train": 6, "test": 3}, prefix="boat_")
    with pytest.raises(DataLayoutError, match=r"RSITMD has none(.|\n)*hold_out"):
        load_benchmark("rsitmd", root, split="validation", complete=False)
    table = load_benchmark("rsitmd", root, split="train+validation", complete=False)
    assert len(table) == 6


def test_blank_captions_leave_pictures_out(small_ucm, tmp_path, caplog):
    table = load_benchmark("ucm", write_precomp(tmp_path, blank=(2,)), split="train")
    assert len(table) == 5
    assert "3.tif" in caplog.text


def test_broken_pictures_are_an_error(small_ucm, tmp_path):
    root = write_karpathy(tmp_path)
    (root / "images" / "1.tif").write_bytes(b"junk")
    with pytest.raises(DataLayoutError, match=r"1 broken pictures of 6: 1\.tif"):
        load_benchmark("ucm", root, split="train")
    assert len(load_benchmark("ucm", root, split="train", verify=False)) == 6


def test_hub_id_is_loaded_from_the_hub(monkeypatch):
    asked = {}

    def load_dataset(name, *, split, revision):
        asked.update(name=name, split=split, revision=revision)
        return hub_table(2)

    monkeypatch.setattr(
        datasets, "get_dataset_split_names", lambda *_, **__: ["train", "valid", "test"]
    )
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    table = load_benchmark("rsicd", "arampacha/rsicd@abc", split="validation")
    assert asked == {"name": "arampacha/rsicd", "split": "valid", "revision": "abc"}
    assert table.column_names == ["image", "captions", "file_name"]
    assert available_splits("arampacha/rsicd") == ("train", "validation", "test")


@pytest.mark.parametrize(
    ("name", "split", "complaint"),
    [("flickr", "test", "expected one of ucm"), ("ucm", "dev", "expected train, validation")],
)
def test_unknown_names_are_refused(tmp_path, name, split, complaint):
    with pytest.raises(QueryError, match=complaint):
        load_benchmark(name, tmp_path, split=split)


def test_any_captioned_folder_loads_without_counts(tmp_path, caplog):
    assert len(load_captioned_folder(write_imagefolder(tmp_path), "train")) == 6
    assert caplog.text == ""


def test_part_held_out_is_the_same_every_time():
    table = datasets.Dataset.from_dict({"row": list(range(50))})
    rest, held = hold_out(table, share=0.2, seed=3)
    assert len(held) == 10
    assert sorted(rest["row"][:] + held["row"][:]) == list(range(50))
    assert hold_out(table, share=0.2, seed=3)[1]["row"][:] == held["row"][:]
    assert hold_out(table, share=0.2, seed=4)[1]["row"][:] != held["row"][:]
    with pytest.raises(ValueError, match="share"):
        hold_out(table, share=0.0, seed=0)


@pytest.mark.slow
def test_real_ucm_loads_in_its_official_splits(development_data, caplog):
    for split, count in BENCHMARKS["ucm"].images.items():
        table = load_benchmark("ucm", development_data / "ucm_captions", split=split)
        assert len(table) == count
        assert {len(captions) for captions in table["captions"]} == {5}
        assert len(set(table["category"])) == 21
    assert caplog.text == ""


@pytest.mark.slow
def test_real_aid_part_of_rsicd_loads_with_a_warning(development_data, caplog):
    source = development_data / "rsicd_aid"
    table = load_benchmark("rsicd", source, split="validation", complete=False)
    assert len(table) == 1027
    assert "1027 pictures of the official 1094" in caplog.text


@pytest.mark.slow
def test_real_release_text_with_pictures_of_another_suffix(development_data, tmp_path):
    root = development_data / "original_formats" / "ucm"
    for number in range(81, 89):
        source = development_data / "ucm_captions" / "test" / f"agricultural{number}.jpg"
        (tmp_path / f"{number}.jpg").write_bytes(source.read_bytes())
    table = load_benchmark(
        "ucm", root / "test_caps.txt", split="test", images=tmp_path, complete=False
    )
    assert table["file_name"][:] == [f"{number}.tif" for number in range(81, 89)]


#: How the pictures of each release are called, made up in number and order.
RELEASED = {
    "ucm": [f"{number}.tif" for number in range(1, 2101)],
    "rsicd": [f"{kind}_{n}.jpg" for kind in ("airport", "beach", "river") for n in range(1, 365)]
    + ["00623.jpg"],
    "rsitmd": [
        f"{kind}_{number}.tif"
        for first, kind in ((1, "airport"), (2300, "mountain"), (4600, "viaduct"))
        for number in range(first, first + 150)
    ]
    + ["viaduct_4750.tif", "viaduct_4751.tif"],
    "sydney": [f"{number}.tif" for number in range(356, 414)],
}
RELEASED["ucm"] = RELEASED["ucm"][::10]  # the test split has a tenth of each class
USGS = [f"{kind}{number:02}.jpg" for kind in ("agricultural", "river") for number in range(90)]


def named(names):
    return datasets.Dataset.from_dict({"file_name": list(names)})


@pytest.mark.parametrize("name", RELEASED)
@pytest.mark.parametrize("other", RELEASED)
def test_data_of_one_benchmark_are_refused_under_the_name_of_another(name, other):
    table, official = named(RELEASED[other]), BENCHMARKS[other].images["test"]
    assert len(table) == official
    if name == other:
        refuse_other_data(name, table, split="test", source="d")
        refuse_other_data(name, named(RELEASED[other][::2]), split="test", source="d")  # a part
        return
    with pytest.raises(DataLayoutError, match=f"d is not {BENCHMARKS[name].title} test: it holds"):
        refuse_other_data(name, table, split="test", source="d")


def test_pictures_of_ucm_go_by_two_names_and_any_may_be_renamed_where_all_are_there():
    refuse_other_data("ucm", named(USGS), split="test", source="d")
    renamed = named(f"x{number}.png" for number in range(210))
    refuse_other_data("ucm", renamed, split="test", source="d")
    with pytest.raises(DataLayoutError, match=r"does not have, such as x0\.png"):
        refuse_other_data("ucm", renamed.take(209), split="test", source="d")
    unnamed = named(f"row {number}" for number in range(20))
    refuse_other_data("ucm", unnamed, split="test", source="d")


def test_own_pictures_are_no_benchmark():
    with pytest.raises(DataLayoutError, match=r"such as my picture 1\.jpg"):
        refuse_other_data("rsicd", named(["my picture 1.jpg"]), split="test", source="d")


@pytest.mark.parametrize(("name", "folder"), [("ucm", "ucm_captions"), ("rsicd", "rsicd_aid")])
def test_real_data_are_known_by_their_names(development_data, name, folder):
    for split in ("train", "validation"):
        table = load_captioned_folder(development_data / folder, split, verify=False)
        refuse_other_data(name, table, split=split, source=folder)
        refuse_other_data(name, table.take(30), split=split, source=folder)
        for other in set(NAMES) - {name}:
            with pytest.raises(DataLayoutError, match="Figures under its name would mislead"):
                refuse_other_data(other, table, split=split, source=folder)
