"""The one reader of metadata.jsonl: every field, every damage, the same for all its callers."""

import json

import pytest

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import (
    CAPTION_NAMES,
    CATEGORY_NAMES,
    METADATA_FILE,
    BoxedObject,
    PictureRow,
    read_metadata,
    read_metadata_below,
)


def write(folder, *rows):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / METADATA_FILE).write_text("\n".join(lines), encoding="utf-8")
    return folder


def only_row(folder, **fields):
    (row,) = read_metadata(write(folder, {"file_name": "a.png", **fields}))
    return row


def test_every_field_of_a_line_is_read(tmp_path):
    row = only_row(
        tmp_path,
        captions=["a pier", "two boats"],
        category="pier",
        bounding_box=[8, 53, 9, 54],
        geotransform=[100, 0.5, 0, 200, 0, -0.5],
        crs=32632,
        objects={"bbox": [[1, 2, 3, 4.5]], "category": ["boat"], "id": [7]},
        year=2020,
        cloudy=False,
        tiles=[1],
        cover=float("inf"),
    )
    assert row == PictureRow(
        file_name="a.png",
        captions=("a pier", "two boats"),
        category="pier",
        bounding_box=(8.0, 53.0, 9.0, 54.0),
        geotransform=(100.0, 0.5, 0.0, 200.0, 0.0, -0.5),
        crs="EPSG:32632",
        objects=(BoxedObject((1, 2, 3, 4.5), "boat"),),
        metadata={"category": "pier", "crs": 32632, "year": 2020, "cloudy": False},
        file=tmp_path / METADATA_FILE,
        number=1,
    )
    assert row.caption == "a pier"


def test_a_line_may_say_nothing_but_the_name(tmp_path):
    row = only_row(tmp_path, captions=[], category=None, crs=None)
    assert (row.captions, row.caption, row.category, row.crs) == ((), None, None, None)
    assert (row.bounding_box, row.geotransform, row.objects) == (None, None, None)
    assert row.metadata == {}


@pytest.mark.parametrize("name", CAPTION_NAMES)
def test_captions_go_by_four_names_and_are_one_text_or_several(name, tmp_path):
    assert only_row(tmp_path, **{name: " a pier "}).captions == ("a pier",)
    row = only_row(tmp_path, **{name: ["a pier", "", " \n"], "year": 1})
    assert row.captions == ("a pier",) and row.metadata == {"year": 1}
    assert only_row(tmp_path, **{name: [" "]}).captions == ()


@pytest.mark.parametrize("name", CATEGORY_NAMES)
def test_the_category_goes_by_two_names_and_can_be_searched_by(name, tmp_path):
    row = only_row(tmp_path, **{name: 3})
    assert row.category == "3" and row.metadata == {name: 3}


def test_a_byte_order_mark_blank_lines_and_other_line_ends_are_no_matter(tmp_path):
    lines = (
        '\ufeff{"file_name": "a.png"}\r\n\r\n  \n{"file_name": "b.png", "text": "a\u2028pier"}\r\n'
    )
    (tmp_path / METADATA_FILE).write_bytes(lines.encode())
    rows = read_metadata(tmp_path)
    assert [(row.file_name, row.number) for row in rows] == [("a.png", 1), ("b.png", 4)]
    assert rows[1].caption == "a\u2028pier"  # a line ends with a line feed and nothing else


def test_names_may_be_written_on_windows(tmp_path):
    (row,) = read_metadata(write(tmp_path, {"file_name": r"north\a.png"}))
    assert row.path == tmp_path / "north" / "a.png"


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path):
    (tmp_path / METADATA_FILE).write_text(r'{"file_name": "a.png", "text": "a pier \ud83d"}')
    assert read_metadata(tmp_path)[0].captions == ("a pier ?",)


DAMAGED = {
    "no JSON": (b"{", "is not JSON"),
    "too deep": (b"[" * 50_000, "nested too deeply"),
    "another encoding": ('{"file_name": "é"}'.encode("latin-1"), "is not UTF-8 text"),
    "a list": (b"[]", "is not an object"),
    "no name": (b'{"captions": ["a"]}', "None as file_name"),
    "a blank name": (b'{"file_name": ""}', "'' as file_name"),
    "a number as name": (b'{"file_name": 3}', "3 as file_name"),
}
DAMAGED_FIELDS = {
    "captions": [3, [3], ["a", None], [["a"]], {"a": "b"}],
    "category": [["pier"], {}],
    "bounding_box": [[1], [1, 2, 3, "4"], "1234", [0, 0, 0, float("nan")], [10**400, 0, 9, 9]],
    "geotransform": [[1, 2], 3, {}],
    "objects": [
        3,
        {"bbox": []},
        {"bbox": [[1, 2, 3]], "category": [0]},
        {"bbox": [[1, 2, 3, 4]], "category": []},
        {"bbox": [[1, {}, 3, 4]], "category": [0]},
        {"bbox": [[1, 2, 3, 4]], "category": [None]},
    ],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_is_named_with_what_was_expected(damage, tmp_path):
    line, complaint = DAMAGED[damage]
    (tmp_path / METADATA_FILE).write_bytes(b'{"file_name": "a.png"}\n\n' + line)
    with pytest.raises(DataLayoutError, match=rf"Line 3 of .*{METADATA_FILE}") as caught:
        read_metadata(tmp_path)
    assert complaint in str(caught.value) and "Mend it" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in DAMAGED_FIELDS for value in DAMAGED_FIELDS[name]]
)
def test_a_damaged_field_is_named(name, value, tmp_path):
    with pytest.raises(DataLayoutError, match=rf"Line 1 of .*{name}"):
        only_row(tmp_path, **{name: value})


def test_a_folder_without_the_file_is_said(tmp_path):
    with pytest.raises(DataLayoutError, match=f"{METADATA_FILE} is missing"):
        read_metadata(tmp_path)


def test_subfolders_are_read_by_the_path_of_the_picture(tmp_path):
    (tmp_path / "north").mkdir()
    write(tmp_path, {"file_name": "a.png", "text": "here"})
    write(tmp_path / "north", {"file_name": "./a.png", "text": "there"})
    found = {path: row.caption for path, row in read_metadata_below(tmp_path).items()}
    assert found == {str(tmp_path / "a.png"): "here", str(tmp_path / "north" / "a.png"): "there"}


@pytest.mark.parametrize("name", ["../a.png", "/etc/hostname", "x/../../a.png", "..\\a.png"])
def test_a_picture_outside_of_the_folder_is_refused_where_it_is_opened(name, tmp_path):
    (tmp_path / "in").mkdir()
    (row,) = read_metadata(write(tmp_path / "in", {"file_name": name}))
    with pytest.raises(DataLayoutError, match=r"Line 1 of .*outside of it"):
        _ = row.path


def test_the_centre_follows_gdal_s_geotransform():
    row = PictureRow(geotransform=(100.0, 0.5, 0.0, 200.0, 0.0, -0.5))
    # 100 + 0.5 * 64 / 2 = 116 and 200 - 0.5 * 32 / 2 = 192
    assert row.centre((64, 32)) == (116.0, 192.0)
    assert PictureRow().centre((64, 32)) is None
