"""Table files as spreadsheets, pandas and `datasets` write them hold the rows that they mean."""

import json
from datetime import date, datetime

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import (
    METADATA_FILES,
    metadata_file,
    read_metadata,
    read_metadata_below,
)
from rsctir_hf.files.rows import decode, read_rows

ROWS = [
    {"file_name": "north\\a.png", "text": "a pier, and two boats", "year": 2020, "cloudy": False},
    {"file_name": "b.png", "text": 'a "square"', "year": 2021, "cloudy": True},
]
EXPECTED = [
    ("north/a.png", ("a pier, and two boats",), {"year": 2020, "cloudy": False}),
    ("b.png", ('a "square"',), {"year": 2021, "cloudy": True}),
]


def rows_of(file, text, *, encoding="utf-8", **options):
    file.write_bytes(text.encode(encoding))
    return [row for _, row in read_rows(file, **options)]


def write(folder, name):
    frame = pandas.DataFrame(ROWS)
    file = folder / name
    if file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    elif file.suffix == ".parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    return file


@pytest.mark.parametrize("name", METADATA_FILES)
def test_every_kind_of_metadata_file_says_the_same(name, tmp_path):
    file = write(tmp_path, name)
    rows = read_metadata(tmp_path)
    assert [(row.file_name, row.captions, dict(row.metadata)) for row in rows] == EXPECTED
    below = read_metadata_below(tmp_path)
    assert list(below) == [str(tmp_path / "north" / "a.png"), str(tmp_path / "b.png")]
    assert {row.file for row in rows} == {file}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", METADATA_FILES[:3])
def test_byte_order_marks_and_line_ends_are_no_matter(name, end, encoding, tmp_path):
    file = write(tmp_path, name)
    file.write_bytes(file.read_text().replace("\n", end).encode(encoding))
    rows = read_metadata(tmp_path)
    assert [(row.file_name, row.captions, dict(row.metadata)) for row in rows] == EXPECTED


def test_of_two_files_the_first_is_read_and_said(tmp_path, caplog):
    write(tmp_path, "metadata.jsonl")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,another\n")
    assert metadata_file(tmp_path) == tmp_path / "metadata.jsonl"
    assert read_metadata(tmp_path)[1].caption == 'a "square"'
    (line,) = caplog.messages
    assert "metadata.jsonl is read; metadata.csv beside it is not" in line


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_separate(separator, tmp_path):
    text = separator.join(["a", "b", "c"]) + "\n" + separator.join(["1", "2.5", "x y"])
    assert rows_of(tmp_path / "a.csv", text) == [{"a": 1, "b": 2.5, "c": "x y"}]


def test_a_column_is_numbers_only_where_all_of_it_is(tmp_path):
    text = "a,b,c,d,e\n1,007,true,1,\n-2e3,8,FALSE,x,\n,9,,,\n"
    assert rows_of(tmp_path / "a.csv", text) == [
        {"a": 1, "b": "007", "c": True, "d": "1"},
        {"a": -2000.0, "b": "8", "c": False, "d": "x"},
        {"b": "9"},
    ]
    assert rows_of(tmp_path / "a.csv", "a\n1\n2\n", texts=["a"]) == [{"a": "1"}, {"a": "2"}]


@pytest.mark.parametrize(
    "cell",
    ['["a pier", "it\'s \\"wide\\""]', "['a pier', 'it\\'s \"wide\"']", "('a pier',)"],
)
def test_a_list_may_stand_in_a_cell_as_json_or_as_pandas_writes_it(cell, tmp_path):
    pandas.DataFrame({"file_name": ["a.png"], "captions": [cell]}).to_csv(tmp_path / "metadata.csv")
    (row,) = read_metadata(tmp_path)
    expected = (cell,) if cell[0] == "(" else ("a pier", 'it\'s "wide"')
    assert row.captions == expected
    pandas.DataFrame({"file_name": ["a.png"], "captions": [["x", "y"]]}).to_csv(
        tmp_path / "metadata.csv"
    )
    assert read_metadata(tmp_path)[0].captions == ("x", "y")


@pytest.mark.parametrize(
    "text",
    [
        "file_name,caption\na.png,one\nb.png,other\n./a.png,two\n",
        "file_name,caption_1,caption_2\na.png,one,two\nb.png,other,\n",
        "filename,caption,caption\na.png,one,two\nb.png,other,\n",
        "filepath\ttitle\na.png\tone\nb.png\tother\na.png\ttwo\n",
        "image_name;raw;raw_1;\na.png;one;two;\nb.png;other;;\n\n;;;\n",
    ],
)
def test_several_captions_of_a_picture_are_read_however_they_stand(text, tmp_path):
    (tmp_path / "metadata.csv").write_text(text)
    rows = read_metadata(tmp_path)
    assert [(row.file_name, row.captions) for row in rows] == [
        ("a.png", ("one", "two")),
        ("b.png", ("other",)),
    ]


def test_sentences_may_be_objects_as_in_karpathy_s_files(tmp_path):
    said = {"file_name": "a.png", "sentences": [{"tokens": ["a"], "raw": "a pier"}, {"raw": "b"}]}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(said))
    assert read_metadata(tmp_path)[0].captions == ("a pier", "b")


def test_places_and_boxes_may_stand_in_cells(tmp_path):
    (tmp_path / "metadata.csv").write_text(
        "file_name,bounding_box,objects\n"
        'a.png,"8, 53, 9, 54.5","{""bbox"": [[1, 2, 3, 4]], ""category"": [""boat""]}"\n'
    )
    (row,) = read_metadata(tmp_path)
    assert row.bounding_box == (8.0, 53.0, 9.0, 54.5)
    assert row.objects is not None and row.objects[0].box == (1, 2, 3, 4)


DAMAGED = {
    "too many cells": ("a,b\n1,2\na pier, with boats, two\n", "Line 3 of .*3 cells .*2 columns"),
    "an open quote": ('file_name,b\na.png,"x\n' + "y" * 9, None),
    "another encoding": ("a,b\n1,caf\xe9\n", "Line 2 of .*not UTF-8.*save the file as UTF-8"),
    "no name": ("place,text\na.png,b\n", "Line 2 of .*None as file_name.*place, text"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_row_of_csv_is_named(damage, tmp_path):
    text, expected = DAMAGED[damage]
    (tmp_path / "metadata.csv").write_bytes(text.encode("latin-1"))
    if expected is None:
        assert read_metadata(tmp_path)[0].file_name == "a.png"
        return
    with pytest.raises(DataLayoutError, match=expected) as caught:
        read_metadata(tmp_path)
    assert "one object" not in str(caught.value)  # which is how a line of JSON looks


@pytest.mark.parametrize("line", ['{"file_name": "a.png"},', "[", "]"])
def test_json_with_commas_or_brackets_around_is_told_what_is_wrong(line, tmp_path):
    (tmp_path / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(DataLayoutError, match=r"Line 1 of .*no comma stands behind a line"):
        read_metadata(tmp_path)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataLayoutError, match=r"metadata\.parquet cannot be read as Parquet"):
        read_metadata(tmp_path)


def test_text_is_decoded_by_its_mark():
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
        content = "a pié".encode(encoding)
        if encoding == "utf-16-le":
            content = b"\xff\xfe" + content
        assert decode(content) == "a pié"
    with pytest.raises(UnicodeDecodeError):
        decode(b"caf\xe9")


def test_a_heading_without_rows_says_nothing(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name,text\n")
    assert read_metadata(tmp_path) == []


def test_files_of_a_like_name_that_are_not_read_have_a_line(tmp_path, caplog):
    (tmp_path / "Metadata.csv").touch()
    assert read_metadata_below(tmp_path) == {}
    assert "Metadata.csv is not read" in caplog.text


def test_dates_of_parquet_are_texts_as_in_the_other_files(tmp_path):
    days = {"day": [date(2026, 5, 1)], "time": [datetime(2026, 5, 1, 9)]}
    pq.write_table(pa.table({"file_name": ["a.png"], **days}), tmp_path / "metadata.parquet")
    (row,) = read_metadata(tmp_path)
    assert row.metadata == {"day": "2026-05-01", "time": "2026-05-01T09:00:00"}
