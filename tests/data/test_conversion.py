"""What is converted loads again as the same data, and a broken run leaves nothing behind."""

import datasets
import numpy as np
import pytest

from rsctir_hf.data.benchmarks import load_benchmark
from rsctir_hf.data.conversion import FORMATS, convert
from rsctir_hf.data.reading import CaptionedSource, read_captioned
from rsctir_hf.errors import DataLayoutError, OutputExistsError
from tests.miniature import hub_table, write_imagefolder, write_karpathy, write_precomp


@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
@pytest.mark.parametrize("write", [write_karpathy, write_precomp, write_imagefolder])
def test_converted_data_load_as_the_same_data(tmp_path, kind, write):
    source = write(tmp_path / "source")
    counts = convert("ucm", source, tmp_path / "out", format=kind, complete=False)
    assert counts == {"train": 6, "validation": 3, "test": 3}
    for split in counts:
        before = load_benchmark("ucm", source, split=split, complete=False)
        after = load_benchmark("ucm", tmp_path / "out", split=split)
        assert after.column_names == before.column_names
        assert after["captions"][:] == before["captions"][:]
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(np.asarray(old["image"]), np.asarray(new["image"]))


def test_output_is_what_datasets_itself_reads(tmp_path):
    convert("ucm", write_karpathy(tmp_path / "source"), tmp_path / "out", complete=False)
    table = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache")
    )
    assert {split: len(rows) for split, rows in table.items()} == {
        "train": 6,
        "validation": 3,
        "test": 3,
    }
    assert len(table["test"][0]["captions"]) == 5


def test_pictures_are_copied_byte_for_byte_under_a_fitting_suffix(tmp_path):
    source = write_karpathy(tmp_path / "source", suffix=".jpg")
    convert("ucm", source, tmp_path / "out", complete=False)
    copy = tmp_path / "out" / "train" / "1.jpg"
    assert copy.read_bytes() == (source / "images" / "1.jpg").read_bytes()


def test_parquet_holds_the_pictures_themselves(tmp_path):
    source = write_karpathy(tmp_path / "source")
    convert("ucm", source, tmp_path / "out", format="parquet", complete=False)
    files = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*"))
    assert [file.as_posix() for file in files] == [
        "data",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
    ]
    for file in (source / "images").iterdir():
        file.unlink()
    assert load_benchmark("ucm", tmp_path / "out", split="test")[0]["image"].size == (32, 32)


def test_hub_set_is_converted_to_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *_, **__: ["valid"])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: hub_table(3))
    written = convert("rsicd", "arampacha/rsicd", tmp_path / "out", complete=False)
    assert written == {"validation": 3}
    names = sorted(path.name for path in (tmp_path / "out" / "validation").iterdir())
    # The miniature holds PNG pictures under .jpg names: the copy says what they are.
    assert names == ["metadata.jsonl", "scene_0.png", "scene_1.png", "scene_2.png"]


def test_existing_output_is_refused_and_left_alone(tmp_path):
    source = write_karpathy(tmp_path / "source")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="not an empty folder"):
        convert("ucm", source, tmp_path / "out", complete=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_empty_output_folder_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    convert("ucm", write_karpathy(tmp_path / "source"), tmp_path / "out", complete=False)
    assert (tmp_path / "out" / "train" / "metadata.jsonl").is_file()


def test_broken_run_leaves_nothing_behind(tmp_path):
    source = write_karpathy(tmp_path / "source")
    (source / "images" / "12.tif").write_bytes(b"junk")  # in the last split
    with pytest.raises(DataLayoutError, match=r"broken pictures.*12\.tif"):
        convert("ucm", source, tmp_path / "out", complete=False)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="imagefolder or parquet"):
        convert("ucm", tmp_path, tmp_path / "out", format="zip")


def test_missing_source_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DataLayoutError, match="does not exist"):
        convert("ucm", tmp_path / "absent", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_two_pictures_of_one_name_are_refused(tmp_path):
    source = write_imagefolder(tmp_path / "source", {"test": 2})
    (source / "test" / "other").mkdir()
    (source / "test" / "scene01.png").rename(source / "test" / "other" / "scene00.png")
    metadata = source / "test" / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("scene01", "other/scene00"))
    with pytest.raises(DataLayoutError, match=r"two pictures named scene00\.png"):
        convert("ucm", source, tmp_path / "out")


def test_own_captions_are_converted_without_a_benchmark(tmp_path):
    source = CaptionedSource(write_imagefolder(tmp_path / "own"))
    for kind in FORMATS:
        assert convert("", source, tmp_path / kind, format=kind) == {
            "train": 6,
            "validation": 3,
            "test": 3,
        }
        again = read_captioned(tmp_path / kind).splits
        assert {split: len(table) for split, table in again.items()} == {
            "train": 6,
            "validation": 3,
            "test": 3,
        }
