"""A tile's address says all that is needed to read it again."""

import numpy as np
import pytest

from rsctir_hf.errors import RasterError
from rsctir_hf.geo.addresses import TileAddress, read_tile, read_tile_address
from rsctir_hf.geo.raster import TileReader, open_raster
from rsctir_hf.geo.tiling import Window
from tests.geo.rasters import picture, write

WINDOW = Window(30, 20, 90, 80)


ODD_NAMES = [
    "line\nbreak.tif",
    "a#b.tif",
    "a?b=c&d.tif",
    "a%20b.tif",
    "a!b.tif",
    "\u00e9\u6d77.tif",
]
PATHS = ["/data/a town.tif", "a#b=c.tif", "/x.tif#window=1,2,3,4&size=1,1", *ODD_NAMES]
PATHS += ["https://a.org/b.tif?c=d&e=f", "zip:///a.zip!b#c.tif", "caf\udce9.tif"]


@pytest.mark.parametrize("nodata", [None, -9999.0, 1e20, "none"])
@pytest.mark.parametrize("bands", [None, (4, 3, 2), (1,)])
@pytest.mark.parametrize("path", PATHS)
def test_an_address_is_read_back(path, bands, nodata):
    tile = TileAddress(path, WINDOW, (45, 40), bands, nodata)
    assert read_tile_address(str(tile)) == tile


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_tile_of_a_raster_of_any_name_is_read(tmp_path, name):
    file = write(tmp_path / name, picture())
    tile = read_tile_address(str(TileAddress(str(file), WINDOW, (90, 80))))
    assert np.array_equal(read_tile(tile), np.moveaxis(picture(), 0, 2)[20:100, 30:120])


def test_a_tile_is_read_with_the_nodata_it_was_indexed_with(tmp_path):
    values = picture().astype(np.uint16) * 9
    values[:, :, :75] = 7  # 45 of the 90 columns, too near the others to be found out
    file = write(tmp_path / "a.tif", values)
    tile = TileAddress(str(file), WINDOW, (90, 80), nodata=7.0)
    assert read_tile(tile, least_valid=0.5).size == (90, 80)
    with pytest.raises(RasterError, match="holds no data in 50%"):
        read_tile(tile, least_valid=0.6)


@pytest.mark.parametrize("text", ["/data/a.tif", "a#b.jpg", "a.tif#window=1,2,3&size=1,1"])
def test_other_paths_are_no_addresses(text):
    assert read_tile_address(text) is None


def test_a_tile_read_by_its_address_is_that_of_the_raster(tmp_path):
    values = picture(bands=5).astype(np.uint16) * 9
    file = write(tmp_path / "a.tif", values, photometric="minisblack")
    with TileReader(open_raster(file, bands=(4, 3, 2))) as reader:
        expected = reader.read(WINDOW, (45, 40)).picture
    shown = read_tile(TileAddress(str(file), WINDOW, (45, 40), (4, 3, 2)))
    assert np.array_equal(np.asarray(shown), np.asarray(expected))


def test_a_raster_that_changed_is_opened_anew(tmp_path):
    tile = TileAddress(str(write(tmp_path / "a.tif", picture(seed=0))), WINDOW, (45, 40))
    before = np.asarray(read_tile(tile))
    (tmp_path / "a.tif").unlink()
    with pytest.raises(RasterError, match="does not exist"):
        read_tile(tile)
    write(tmp_path / "a.tif", picture(seed=1).astype(np.uint16))
    assert not np.array_equal(before, np.asarray(read_tile(tile)))


def test_a_tile_without_data_is_refused(tmp_path):
    values = np.zeros((3, 150, 150), np.uint8)
    file = write(tmp_path / "a.tif", values, nodata=0)
    with pytest.raises(RasterError, match="holds no data in 100%"):
        read_tile(TileAddress(str(file), WINDOW, (45, 40)))
    values[:, :, :75] = 9  # 45 of the 90 columns
    half = TileAddress(str(write(tmp_path / "b.tif", values, nodata=0)), WINDOW, (90, 80))
    assert read_tile(half, least_valid=0.5).size == (90, 80)
    with pytest.raises(RasterError, match="holds no data in 50%"):
        read_tile(half, least_valid=0.6)
