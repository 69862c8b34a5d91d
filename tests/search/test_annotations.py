"""What a metadata.jsonl beside the pictures says of them, good and damaged."""

import json

import pytest
from PIL import ExifTags, Image

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.search.annotations import read_annotations


def test_caption_metadata_and_box_are_read_for_the_pictures_that_are_named(tmp_path):
    row = {"file_name": "a.png", "captions": ["a\u2028pier"], "year": 2020, "made": [1]}
    row["bounding_box"] = [8, 53, 9, 54]
    text = json.dumps(row, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(text + "\n\n", encoding="utf-8")
    known = read_annotations(tmp_path, [tmp_path / "a.png", tmp_path / "b.png"])
    assert known.captions == ["a\u2028pier", None]  # a line ends with a line feed and nothing else
    assert known.metadata == [{"year": 2020}, {}]
    assert known.boxes[0].corners == (8, 53, 9, 54)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "captions": "a field"}')
    assert read_annotations(tmp_path, [tmp_path / "a.png"]).captions == ["a field"]


@pytest.mark.parametrize(
    "line",
    [
        b"\xcf{}",
        b"{",
        b"[]",
        b'{"file_name": 3}',
        b"[" * 50_000,
        b'{"file_name": "a.png", "captions": [3]}',
        b'{"file_name": "a.png", "captions": {}, "caption": 3}',
        b'{"file_name": "a.png", "bounding_box": [%s, 0, 9, 9]}' % (b"9" * 999),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, line):
    (tmp_path / "metadata.jsonl").write_bytes(line)
    with pytest.raises(DataLayoutError, match=r"metadata\.jsonl"):
        read_annotations(tmp_path, [])


def test_a_box_over_the_antimeridian_is_its_wider_part(tmp_path):
    row = {"file_name": "a.png", "bounding_box": [179, -17, -177, -16]}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    (box,) = read_annotations(tmp_path, [tmp_path / "a.png"]).boxes
    assert box.corners == (-180, -17, -177, -16)


def test_rows_of_pictures_that_are_not_there_have_a_line(tmp_path, caplog):
    (tmp_path / "a.png").touch()
    (tmp_path / "metadata.csv").write_text("file_name,year\nA.PNG,2020\nC:\\b.png,2021\n")
    assert read_annotations(tmp_path, [tmp_path / "a.png"]).metadata == [{}]
    (line,) = caplog.messages
    assert line.startswith("2 rows of") and "'A.PNG'" in line


def test_a_file_says_itself_when_it_was_taken_where_no_column_does(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime], exif[ExifTags.Base.Model] = "2024:05:31 10:30:00", "FC330"
    pictures = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for file in pictures:
        Image.new("RGB", (8, 8)).save(file, exif=exif)
    own = {"date": "2024-05-31T10:30:00", "sensor": "FC330"}
    assert read_annotations(tmp_path, pictures).metadata == [own, own]
    (tmp_path / "metadata.csv").write_text("file_name,Acquired\na.jpg,2020-01-01\n")
    found = read_annotations(tmp_path, pictures).metadata
    assert found == [{"Acquired": "2020-01-01", "sensor": "FC330"}, {"sensor": "FC330"}]
    (tmp_path / "metadata.csv").write_text("file_name,camera,time\na.jpg,x,y\n")
    assert read_annotations(tmp_path, pictures).metadata == [{"camera": "x", "time": "y"}, {}]
