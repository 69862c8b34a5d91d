"""Rasters that a user names by address, from a server on loopback that answers range requests."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rsctir_hf.errors import RasterError
from rsctir_hf.geo.addresses import is_elsewhere_tile, read_tile, read_tile_address
from rsctir_hf.geo.gdal import address_of, name_of
from rsctir_hf.geo.raster import PLAIN_FORMATS, TileReader, open_raster
from rsctir_hf.geo.tiling import Window
from tests.geo.range_server import Ranges, served
from tests.geo.rasters import picture, write

__all__ = ["served"]  # a fixture
WINDOW = Window(300, 200, 224, 224)


@pytest.fixture
def file(tmp_path):
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    return write(tmp_path / "a town.tif", picture(800, 700), **tiled)


def test_a_raster_of_a_server_is_that_of_the_file(served, file):
    address = f"{served}/a%20town.tif?token=secret"
    there, here = open_raster(address), open_raster(file)
    assert (there.name, there.size, there.bands) == ("a%20town.tif", here.size, here.bands)
    assert np.array_equal(there.to_lonlat(WINDOW.corners), here.to_lonlat(WINDOW.corners))
    with TileReader(there) as reader:
        shown = reader.read(WINDOW, (112, 112)).picture
    with TileReader(here) as reader:
        assert np.array_equal(shown, reader.read(WINDOW, (112, 112)).picture)
    assert all(path.startswith("/a%20town.tif") for path in Ranges.asked)


def test_a_tile_is_read_by_its_address(served, file):
    tile = read_tile_address(f"{served}/a%20town.tif?x=1&y=2#window=300,200,224,224&size=60,60")
    assert read_tile(tile).size == (60, 60)
    assert is_elsewhere_tile(str(tile))
    assert not is_elsewhere_tile("/data/a.tif#window=0,0,9,9&size=9,9")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.tif", r"cannot be fetched \(.*404\).*no such file"),
        ("code/401/a.tif", r"cannot be fetched \(.*401\).*credentials"),
        ("code/403/a.tif", r"cannot be fetched \(.*403\).*credentials"),
        ("code/500/a.tif", r"cannot be fetched \(.*500\).*the network"),
        ("text.tif", "is not a raster"),
    ],
)
def test_what_a_server_refuses_is_one_line_without_the_secret(served, tmp_path, path, message):
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(RasterError, match=message) as raised:
        open_raster(f"{served}/{path}?token=secret")
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_password_in_an_address_is_not_told():
    with pytest.raises(RasterError, match=r"http://127.0.0.1:9/a.tif cannot be") as raised:
        open_raster("http://someone:secret@127.0.0.1:9/a.tif")
    assert "secret" not in str(raised.value)


def test_folders_empty_files_and_archives_are_told_as_what_they_are(tmp_path):
    with pytest.raises(RasterError, match=r"is a folder.*rsctir index --rasters"):
        open_raster(tmp_path)
    (tmp_path / "a.tif").touch()
    with pytest.raises(RasterError, match=r"a.tif is empty \(0 bytes\)"):
        open_raster(tmp_path / "a.tif")
    for name, form in (("a.zip", "zip://{}!/NAME.tif"), ("a.tif.gz", "gzip://{}")):
        file = tmp_path / name
        file.write_bytes(b"no raster")
        for given in (str(file), f"zip://{file}"):
            with pytest.raises(RasterError, match=re.escape(form.format(name))):
                open_raster(given)


def test_a_server_that_does_not_answer_is_named():
    with pytest.raises(RasterError, match=r"http://127.0.0.1:9/a.tif cannot be fetched"):
        open_raster("http://127.0.0.1:9/a.tif")


def test_a_server_that_is_busy_is_asked_again(served, file, monkeypatch):
    answers = iter([503, 503])
    usual = Ranges.do_GET

    def busy(self, body=True):
        if code := next(answers, None):
            self.path = f"/code/{code}/"
        usual(self, body)

    monkeypatch.setattr(Ranges, "do_GET", busy)
    assert open_raster(f"{served}/a%20town.tif").size == (800, 700)


@pytest.mark.parametrize("form", ["zip://{}!in/a.tif", "/vsizip/{}/in/a.tif", "file://{}"])
def test_archives_and_file_addresses_are_read(tmp_path, file, form):
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.write(file, "in/a.tif")
    if form.startswith("file"):
        place = str(file).replace(" ", "%20")
    text = form.format(place)
    for address in (text, text if text.startswith("/vsi") else Path(text)):
        raster = open_raster(address)
        assert (raster.size, raster.name) == ((800, 700), Path(raster.path).name)
        assert raster.to_lonlat(WINDOW.corners) is not None


def test_the_slash_that_a_path_loses_is_given_back():
    assert address_of(Path("https://a.org/b.tif")) == "https://a.org/b.tif"
    assert address_of(Path("s3://bucket/b.tif")) == "s3://bucket/b.tif"
    assert address_of(Path("zip:///data/a.zip!b.tif")) == "zip:///data/a.zip!b.tif"
    assert address_of("C:/data/b.tif") == "C:/data/b.tif"
    assert name_of("https://a.org/b.tif?X-Amz-Signature=1/2") == "b.tif"


@pytest.mark.parametrize("path", ["file:///etc/a.tif", "https:/a.tif", "s3:/a/b.tif"])
def test_an_upload_is_no_address_in_any_form(path):
    for form in (path, Path(path)):
        with pytest.raises(RasterError, match="not a raster file of this machine"):
            open_raster(form, formats=PLAIN_FORMATS)


def test_a_bucket_is_asked_as_s3_is(served, file, tmp_path, monkeypatch):
    (tmp_path / "bucket").mkdir()
    file.rename(tmp_path / "bucket" / "b.tif")
    for name, value in {
        "AWS_S3_ENDPOINT": served.removeprefix("http://"), "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_NO_SIGN_REQUEST": "YES",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert open_raster("s3://bucket/b.tif").size == (800, 700)
