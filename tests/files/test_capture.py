"""When and with what a picture was taken, by its own word."""

import pytest
from PIL import ExifTags, Image

from rsctir_hf.files.capture import capture_of_tags, read_capture


def picture(file, *, taken=None, changed=None, model=None):
    exif = Image.Exif()
    if taken is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    for tag, said in ((ExifTags.Base.DateTime, changed), (ExifTags.Base.Model, model)):
        if said is not None:
            exif[tag] = said
    Image.new("RGB", (8, 8)).save(file, exif=exif)
    return file


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp"])
def test_a_file_says_date_and_camera(tmp_path, suffix):
    file = picture(tmp_path / f"a.{suffix}", changed="2024:05:31 10:30:00", model="FC330\0 ")
    assert read_capture(file) == {"date": "2024-05-31T10:30:00", "sensor": "FC330"}


def test_when_it_was_taken_counts_before_when_it_was_changed(tmp_path):
    file = picture(tmp_path / "a.JPG", taken="2020:01:02 03:04:05", changed="2024:05:31 10:30:00")
    assert read_capture(file) == {"date": "2020-01-02T03:04:05"}


@pytest.mark.parametrize("said", ["0000:00:00 00:00:00", "    :  :     :  :  ", "soon", "2024", ""])
def test_a_date_that_is_none_is_none(tmp_path, said):
    assert read_capture(picture(tmp_path / "a.jpg", changed=said)) == {}


def test_what_cannot_be_read_says_nothing(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    for name in ("a.jpg", "absent.jpg", "a.txt"):
        assert read_capture(tmp_path / name) == {}


def test_tags_of_a_raster_are_read_as_they_are_written():
    tags = {"TIFFTAG_DATETIME": "2024:05:31 10:30:00", "AREA_OR_POINT": "Area"}
    assert capture_of_tags(tags) == {"date": "2024-05-31T10:30:00"}
    tags |= {"ACQUISITIONDATETIME": "2023-04-05T06:07:08Z", "SATELLITEID": "WV03"}
    assert capture_of_tags(tags) == {"date": "2023-04-05T06:07:08", "sensor": "WV03"}
    assert capture_of_tags({"ACQUISITIONDATETIME": "2023-04-05"}) == {"date": "2023-04-05"}
