"""Tables of other people's column names become ours; broken pictures are found."""

import datasets
import pytest

from rsctir_hf.data import tables
from rsctir_hf.data.formats import CaptionRecord
from rsctir_hf.data.tables import (
    check_pictures,
    hub_address,
    hub_splits,
    standardise,
    table_from_hub,
    table_from_records,
)
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import CAPTION_NAMES
from tests.miniature import hub_table, sentences, write_pictures


def test_hub_columns_become_ours():
    table = standardise(hub_table(3), source="hub")
    assert set(table.column_names) == {"image", "captions", "file_name"}
    assert table["file_name"][0] == "scene_0.jpg"
    assert list(table["captions"][1]) == sentences(1)
    assert table[0]["image"].size == (32, 32)


def test_class_labels_become_category_names():
    named = hub_table(3).add_column("label", [1, 0, 1])
    named = named.cast_column("label", datasets.ClassLabel(names=["port", "river"]))
    assert standardise(named, source="hub")["category"][:] == ["river", "port", "river"]


def test_blank_captions_are_taken_out(caplog):
    table = hub_table(3).remove_columns("captions")
    table = table.add_column("captions", [["a ", " "], [" ", None], ["b"]])
    kept = standardise(table, source="hub")
    assert [list(captions) for captions in kept["captions"]] == [["a"], ["b"]]
    assert kept["file_name"][:] == ["scene_0.jpg", "scene_2.jpg"]
    assert "scene_1.jpg" in caplog.text


@pytest.mark.parametrize("column", ["captions", "image"])
def test_missing_column_is_an_error_that_names_the_expected_ones(column):
    with pytest.raises(DataLayoutError, match=r"Expected image \(Image\), captions"):
        standardise(hub_table(2).remove_columns(column), source="hub")


def test_pictures_without_a_name_have_that_of_their_row():
    assert standardise(hub_table(2).remove_columns("filename"), source="hub")["file_name"][:] == [
        "row 0",
        "row 1",
    ]


@pytest.mark.parametrize("column", CAPTION_NAMES)
def test_rows_with_one_caption_each_are_joined_by_their_picture(column):
    first = hub_table(2).remove_columns("captions").add_column(column, ["a", " "])
    again = hub_table(3, first=1).remove_columns("captions").add_column(column, ["b", "c", None])
    same_name = again.map(lambda row: {"filename": "scene_1.jpg"})
    table = standardise(datasets.concatenate_datasets([first, same_name]), source="hub")
    assert [list(captions) for captions in table["captions"]] == [["a"], ["b"], ["c"]]
    assert [row["image"].tobytes() for row in table] == [
        row["image"].tobytes() for row in hub_table(3)
    ]


def test_sentences_may_be_objects_as_in_karpathy_s_files():
    said = [[{"raw": "a pier", "sentid": 3}, {"raw": "two boats", "sentid": 4}]]
    table = hub_table(1).remove_columns("captions").add_column("sentences", said)
    assert list(standardise(table, source="hub")["captions"][0]) == ["a pier", "two boats"]


def test_a_cell_that_holds_no_captions_is_named_by_its_row():
    table = hub_table(2).remove_columns("captions").add_column("captions", [[1], [2]])
    with pytest.raises(DataLayoutError, match=r"Row 1 of hub .*that are no texts: \[1\]"):
        standardise(table, source="hub")


def test_names_written_on_windows_lose_their_folders_too():
    table = hub_table(2).remove_columns("filename").add_column("filename", [r"a\x.jpg", r"b\y.jpg"])
    assert standardise(table, source="hub")["file_name"][:] == ["x.jpg", "y.jpg"]


def test_a_revision_stands_behind_the_name_unless_it_is_a_folder(tmp_path):
    assert hub_address("owner/name") == ("owner/name", None)
    assert hub_address("owner/name@v1") == ("owner/name", "v1")
    (tmp_path / "a@b").mkdir()
    assert hub_address(str(tmp_path / "a@b")) == (str(tmp_path / "a@b"), None)


def test_hub_split_names_are_mapped(monkeypatch):
    monkeypatch.setattr(
        datasets, "get_dataset_split_names", lambda *_, **__: ["train", "valid", "test"]
    )
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, split, **__: hub_table(3) if split == "valid" else None
    )
    assert hub_splits("a/b") == {"train": "train", "validation": "valid", "test": "test"}
    assert len(table_from_hub("a/b", "validation")) == 3


def test_hub_set_without_the_split_says_what_it_has(monkeypatch):
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *_, **__: ["train"])
    with pytest.raises(DataLayoutError, match=r"no split 'test', only train"):
        table_from_hub("a/b", "test")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (ConnectionError("offline"), "download the data set and give its folder"),
        (datasets.exceptions.DatasetNotFoundError("absent"), "no data set of that name that you"),
        (datasets.exceptions.DatasetNotFoundError("a gated one"), "It is gated.*hf auth login"),
    ],
)
def test_hub_out_of_reach_is_one_clear_error(monkeypatch, trouble, said):
    def fail(*_, **__):
        raise trouble

    monkeypatch.setattr(tables.datasets, "get_dataset_split_names", fail)
    with pytest.raises(DataLayoutError, match=f"a/b is no folder here.*{said}"):
        table_from_hub("a/b", "test")


def test_pictures_without_captions_are_left_out_with_a_warning(tmp_path, caplog):
    write_pictures(tmp_path, ["1.png", "2.png"])
    records = [CaptionRecord("1.png", ("a",)), CaptionRecord("2.png", ())]
    table = table_from_records(records, [tmp_path / "1.png", tmp_path / "2.png"])
    assert table["file_name"][:] == ["1.png"]
    assert "2.png" in caplog.text
    assert "category" not in table.column_names


def test_broken_pictures_are_all_named(tmp_path):
    write_pictures(tmp_path, ["1.png", "2.png", "3.png"])
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    names = ["1.png", "2.png", "3.png"]
    table = table_from_records(
        [CaptionRecord(name, ("a",)) for name in names], [tmp_path / name for name in names]
    )
    with pytest.raises(DataLayoutError, match=r"2 broken pictures of 3: 1\.png, 3\.png") as error:
        check_pictures(table, source=str(tmp_path))
    assert str(tmp_path) in str(error.value)
    assert "0 bytes" in str(error.value)
    assert "Copy them again" in str(error.value)
