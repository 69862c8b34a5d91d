"""Rasters of every kind: their places, their bands, their holes, and what is wrong with them."""

import sys

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as to_other_crs

from rsctir_hf.errors import ImageReadError, MissingDependencyError, QueryError, RasterError
from rsctir_hf.geo.gdal import require_rasterio
from rsctir_hf.geo.map_output import overview_in_degrees, write_grid
from rsctir_hf.geo.raster import (
    PLAIN_FORMATS,
    TileReader,
    open_raster,
    overview,
)
from rsctir_hf.geo.tiling import Window, tile_windows
from rsctir_hf.ui.server.open_scenes import open_scene
from tests.geo.rasters import NORTH_UP, PLACES, picture, write

FULL = Window(0, 0, 300, 260)


def read(raster, window=FULL, size=None):
    with TileReader(raster) as reader:
        return reader.read(window, size or (window.width, window.height))


@pytest.mark.parametrize("name", PLACES)
def test_corners_lie_where_the_geotransform_says_to_half_a_pixel(tmp_path, name):
    crs, transform = PLACES[name]
    raster = open_raster(write(tmp_path / "a.tif", picture(), crs=crs, transform=transform))
    for window in tile_windows(raster.size, (120, 100), overlap=0.25):
        places = raster.to_lonlat(window.corners)
        back = to_other_crs("EPSG:4326", crs, *places.T.tolist())
        # back to pixels by the inverse of the file's own transform, in rasterio's words
        pixels = np.array([~transform @ point for point in zip(*back, strict=True)])
        assert np.abs(pixels - window.corners).max() < 0.5


@pytest.mark.parametrize("name", PLACES)
def test_metres_a_pixel_are_metres_on_the_ground(tmp_path, name):
    crs, transform = PLACES[name]
    across, down = open_raster(
        write(tmp_path / "a.tif", picture(), crs=crs, transform=transform)
    ).gsd
    # At 45 degrees a degree is 78.85 km across and 111.13 km down; a metre of the web map at its
    # latitude of 44.8 is cos(44.8 degrees) = 0.71 m; UTM shows 0.9996 of a metre at its meridian.
    expected = {"degrees": (0.2366, 0.3334), "web map": (0.2984, 0.2976)}.get(name, (0.3001,) * 2)
    assert (across, down) == pytest.approx(expected, rel=2e-3)


def test_without_a_crs_there_are_pixels_and_a_note(tmp_path):
    raster = open_raster(
        write(tmp_path / "a.tif", picture(), crs=None, transform=rasterio.Affine.identity())
    )
    assert raster.to_lonlat(FULL.corners) is None
    assert raster.gsd is None
    assert "no coordinates" in raster.notes[0]


def test_a_crs_of_its_own_counts_as_none(tmp_path):
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    raster = open_raster(write(tmp_path / "a.tif", picture(), crs=local))
    assert raster.to_lonlat(FULL.corners) is None
    assert "no coordinates" in raster.notes[0]


@pytest.mark.parametrize(("crs", "north"), [("EPSG:3857", 3e9), ("EPSG:4326", 95.0)])
def test_coordinates_outside_their_crs_count_as_none(tmp_path, crs, north):
    transform = rasterio.Affine(1e-5, 0, 9, 0, -1e-5, north)
    raster = open_raster(write(tmp_path / "a.tif", picture(), crs=crs, transform=transform))
    assert raster.gsd is None
    assert raster.to_lonlat(FULL.corners) is None
    assert raster.place.to_map(np.array([[0.0, 0.0]])).tolist() == [[9, north]]
    assert "no coordinates" in raster.notes[0]
    assert overview_in_degrees(raster, overview(raster, side=50)) is None


def test_a_raster_of_the_whole_earth_keeps_its_place(tmp_path):
    transform = rasterio.Affine(10, 0, -180, 0, -10, 90)
    values = picture(36, 18)
    raster = open_raster(write(tmp_path / "a.tif", values, crs="EPSG:4326", transform=transform))
    assert raster.to_lonlat(np.array([[0.0, 0.0]])).tolist() == [[-180, 90]]
    assert min(raster.gsd) > 900_000


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("projection", ["ortho +lat_0=50 +lon_0=10", "geos +h=35785831 +lon_0=0"])
def test_of_a_disc_seen_from_space_only_what_lies_on_earth_has_a_place(tmp_path, projection):
    transform = rasterio.Affine(200_000, 0, -8e6, 0, -200_000, 8e6)
    crs = f"+proj={projection} +datum=WGS84"
    file = write(tmp_path / "a.tif", picture(80, 80), crs=crs, transform=transform)
    raster = open_raster(file)
    assert raster.to_lonlat(np.array([[40.0, 40.0]])) is not None
    assert raster.to_lonlat(np.array([[40.0, 40.0], [0.0, 0.0]])) is None
    assert overview_in_degrees(raster, overview(raster, side=50)) is None


def test_8_bit_rgb_comes_as_it_is(tmp_path):
    values = picture()
    raster = open_raster(write(tmp_path / "a.tif", values))
    assert raster.bands == (1, 2, 3)
    assert np.array_equal(np.asarray(read(raster).picture), np.moveaxis(values, 0, 2))


def test_one_band_becomes_grey(tmp_path):
    values = picture(bands=1)
    shown = np.asarray(read(open_raster(write(tmp_path / "a.tif", values))).picture)
    assert np.array_equal(shown, np.repeat(values[0][..., None], 3, axis=2))


def test_twelve_bands_give_the_three_asked_for(tmp_path):
    values = picture(bands=12)
    file = write(tmp_path / "a.tif", values, photometric="minisblack")
    shown = np.asarray(read(open_raster(file, bands=(4, 3, 2))).picture)
    assert np.array_equal(shown, np.moveaxis(values[[3, 2, 1]], 0, 2))
    first_three = open_raster(file)
    assert first_three.bands == (1, 2, 3)
    assert "12 bands" in first_three.notes[0]


def test_colours_are_found_by_the_files_own_word(tmp_path):
    file = write(tmp_path / "a.tif", picture(bands=4), photometric="minisblack")
    kinds = rasterio.enums.ColorInterp
    with rasterio.open(file, "r+") as target:
        target.colorinterp = [kinds.undefined, kinds.blue, kinds.green, kinds.red]
    assert open_raster(file).bands == (4, 3, 2)


@pytest.mark.parametrize("bands", [(1, 2), (0, 1, 2), (1, 2, 4)])
def test_bands_that_are_not_there_are_refused(tmp_path, bands):
    with pytest.raises(QueryError, match="one or three from 1 to 3"):
        open_raster(write(tmp_path / "a.tif", picture()), bands=bands)


def test_16_bit_values_are_stretched_alike_in_every_window(tmp_path):
    ramp = np.linspace(0, 10_000, 300 * 260).reshape(1, 260, 300)
    values = np.concatenate([ramp, ramp * 2, ramp / 2]).astype(np.uint16)
    raster = open_raster(write(tmp_path / "a.tif", values))
    whole = np.asarray(read(raster).picture).astype(int)
    # The three ramps up to 10,000, 20,000 and 5,000 share one scale, so that hues keep.
    low, high = np.percentile(values, (2, 98))
    expected = np.clip((np.moveaxis(values, 0, 2) - low) / (high - low), 0, 1) * 255
    assert np.abs(whole - expected).max() <= 1
    assert (whole.min(), whole.max()) == (0, 255)
    part = np.asarray(read(raster, Window(50, 60, 40, 30)).picture)
    assert np.array_equal(part, whole[60:90, 50:90])


def test_floats_that_are_not_numbers_are_filled_with_the_mean(tmp_path):
    values = picture().astype(np.float32) / 1000
    values[:, :130] = np.nan
    raster = open_raster(write(tmp_path / "a.tif", values))
    tile = read(raster)
    shown = np.asarray(tile.picture)
    assert tile.valid == 0.5
    assert np.abs(shown[0, 0] - shown[130:].mean(axis=(0, 1))).max() <= 1
    assert read(raster, Window(0, 0, 100, 100)).picture is None


@pytest.mark.parametrize("hidden", ["nodata", "alpha", "mask"])
def test_pixels_without_data_are_known_by_nodata_alpha_and_mask(tmp_path, hidden):
    values = picture(bands=4 if hidden == "alpha" else 3)
    left = (slice(None), slice(None), slice(0, 150))
    options = {"nodata": 0} if hidden == "nodata" else {}
    if hidden == "alpha":
        values[3], options = 255, {"photometric": "rgb", "alpha": "yes"}
        values[3, :, :150] = 0
    elif hidden == "nodata":
        values[left] = 0
    file = write(tmp_path / "a.tif", values, **options)
    if hidden == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(file, "r+") as target:
            target.write_mask(np.repeat(np.arange(300)[None] >= 150, 260, axis=0))
    raster = open_raster(file)
    assert raster.bands == (1, 2, 3)
    assert read(raster).valid == 0.5
    assert read(raster, Window(0, 0, 100, 100)).picture is None


def test_a_palette_gives_its_colours(tmp_path):
    values = np.array([[[0, 1], [2, 1]]], np.uint8)
    file = write(tmp_path / "a.tif", values, photometric="palette")
    with rasterio.open(file, "r+") as target:
        target.write_colormap(1, {0: (9, 8, 7), 1: (1, 2, 3), 2: (0, 255, 0)})
    shown = np.asarray(read(open_raster(file), Window(0, 0, 2, 2)).picture)
    assert shown.tolist() == [[[9, 8, 7], [1, 2, 3]], [[0, 255, 0], [1, 2, 3]]]


def test_a_window_read_smaller_is_averaged(tmp_path):
    fine = np.zeros((3, 8, 8), np.uint8)
    fine[:, :, ::2] = 200
    tile = read(open_raster(write(tmp_path / "a.tif", fine)), Window(0, 0, 8, 8), (4, 4))
    assert np.unique(np.asarray(tile.picture)).tolist() == [100]


def test_the_overview_shows_the_whole_raster(tmp_path):
    assert overview(open_raster(write(tmp_path / "a.tif", picture())), side=150).size == (150, 130)


def test_a_raster_without_any_data_is_refused(tmp_path):
    values = np.full((3, 50, 50), np.nan, np.float32)
    with pytest.raises(RasterError, match="holds no data"):
        open_raster(write(tmp_path / "a.tif", values))
    blank = open_raster(write(tmp_path / "b.tif", np.zeros((3, 50, 50), np.uint8), nodata=0))
    with pytest.raises(RasterError, match="holds no data"):
        overview(blank, side=20)


def test_a_truncated_file_is_named_as_such(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 260, 300), dtype=np.uint8)
    file = write(tmp_path / "a.tif", noise, tiled=True, blockxsize=64, blockysize=64)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(RasterError, match=r"a\.tif.*damaged"):
        read(open_raster(file))


def test_what_is_no_raster_is_refused(tmp_path):
    text = tmp_path / "a.tif"
    text.write_text("no raster")
    with pytest.raises(ImageReadError, match="not a raster"):
        open_raster(text)
    with pytest.raises(RasterError, match="does not exist"):
        open_raster(tmp_path / "b.tif")


def test_an_upload_cannot_reach_other_files_through_a_vrt(tmp_path):
    file = write(tmp_path / "a.tif", picture())
    with rasterio.open(file) as source, WarpedVRT(source) as view:
        rasterio.shutil.copy(view, tmp_path / "a.vrt", driver="VRT")
    assert open_raster(tmp_path / "a.vrt").size == (300, 260)
    with pytest.raises(RasterError, match="not a raster"):
        open_raster(tmp_path / "a.vrt", formats=PLAIN_FORMATS)


def test_a_file_with_colons_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.tif", picture(bands=1))
    file = write(tmp_path / "GTIFF_DIR:1:a.tif", picture())
    for formats in (None, PLAIN_FORMATS):
        assert open_raster(file.name, formats=formats).bands == (1, 2, 3)
    (tmp_path / "a:b:c.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    with pytest.raises(RasterError, match="not a raster"):
        open_raster("a:b:c.tif", formats=["PNG"])


@pytest.mark.parametrize("address", ["/vsizip/a.zip/a.tif", "https://a.tif", "GTIFF_DIR:1:a.tif"])
def test_an_upload_cannot_be_an_address(address):
    with pytest.raises(RasterError, match="not a raster file of this machine"):
        open_raster(address, formats=PLAIN_FORMATS)


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(RasterError, match="complex"):
        open_raster(write(tmp_path / "a.tif", np.zeros((1, 9, 9), np.complex64)))


def test_a_grid_is_written_over_its_raster(tmp_path):
    raster = open_raster(write(tmp_path / "a.tif", picture()))
    grid = np.array([[1, np.nan], [3, 4]], np.float32)
    write_grid(tmp_path / "heat.tif", grid, raster, cell=(150, 130))
    with rasterio.open(tmp_path / "heat.tif") as written:
        assert np.array_equal(written.read(1), grid, equal_nan=True)
        assert written.crs == "EPSG:32632"
        assert written.transform == NORTH_UP @ rasterio.Affine.scale(150, 130)
        assert np.isnan(written.nodata)


def test_a_missing_rasterio_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingDependencyError, match=r"rsctir_hf\[geo\]"):
        open_raster(tmp_path / "a.tif")
    with pytest.raises(MissingDependencyError, match=r"rsctir_hf\[geo\]"):
        require_rasterio("warp")


@pytest.mark.parametrize("name", PLACES)
def test_the_overview_moved_to_degrees_lies_under_the_corners(tmp_path, name):
    crs, transform = PLACES[name]
    raster = open_raster(write(tmp_path / "a.tif", picture(), crs=crs, transform=transform))
    shown, (west, south, east, north) = overview_in_degrees(raster, overview(raster, side=200))
    places = raster.to_lonlat(FULL.corners)
    assert (west, north) == (places[:, 0].min(), places[:, 1].max())
    assert (east, south) == (places[:, 0].max(), places[:, 1].min())
    # The middle of the raster has the same colour in both, and only a turned one has clear corners.
    assert shown.getpixel((shown.width // 2, shown.height // 2))[3] == 255
    assert (shown.getpixel((1, 1))[3] == 0) == (name == "turned")


def test_without_a_place_there_is_no_map(tmp_path):
    raster = open_raster(write(tmp_path / "a.tif", picture(), crs=None))
    assert overview_in_degrees(raster, overview(raster, side=200)) is None


def test_a_file_of_a_few_kilobytes_cannot_claim_any_size(tmp_path):
    options = {"width": 100_000, "height": 100_000, "count": 1, "dtype": "uint16"}
    sparse = {"sparse_ok": True, "tiled": True, "compress": "deflate", "bigtiff": "yes"}
    file = tmp_path / "bomb.tif"
    profile = {"driver": "GTiff", "blockxsize": 4096, "blockysize": 4096, **options, **sparse}
    with rasterio.open(file, "w", **profile):
        pass
    assert file.stat().st_size < 20_000
    with pytest.raises(RasterError, match=r"100,000 x 100,000 pixels; at most 1,000 million"):
        open_scene(file)


def test_a_path_longer_than_any_is_no_raster():
    with pytest.raises(RasterError, match="does not exist"):
        open_raster("x" * 5_000, formats=PLAIN_FORMATS)


def with_gap(dtype, fill):
    """A ramp of 200 to 3000 whose left half is filled."""
    ramp = np.linspace(200, 3000, 300 * 260).reshape(1, 260, 300)
    values = np.repeat(ramp, 3, axis=0).astype(dtype)
    values[:, :, :150] = fill
    return values


@pytest.mark.parametrize(
    ("dtype", "fill"), [(np.float32, -9999), (np.uint16, 65535), (np.int16, -32768)]
)
@pytest.mark.parametrize("said", [False, True])
def test_fill_values_stay_out_of_the_stretch_declared_or_not(tmp_path, dtype, fill, said):
    values = with_gap(dtype, fill)
    file = write(tmp_path / "a.tif", values, **({"nodata": fill} if said else {}))
    raster = open_raster(file)
    low, high = np.percentile(values[:, :, 150:], (2, 98))
    assert raster.stretch == pytest.approx((low, high), rel=1e-5)
    assert any(f"hold {fill:g}, far from all others" in note for note in raster.notes) != said
    tile = read(raster)
    shown = np.asarray(tile.picture)[..., 0].astype(float)
    expected = np.clip((values[0, :, 150:] - low) / (high - low), 0, 1) * 255
    assert tile.valid == 0.5
    assert np.abs(shown[:, 150:] - expected).max() <= 1
    assert np.abs(shown[:, :150] - expected.mean()).max() <= 1
    halved = np.asarray(read(raster, FULL, (150, 130)).picture)[..., 0].astype(float)
    means = expected.reshape(130, 2, 75, 2).mean(axis=(1, 3))
    assert np.abs(halved[:, 75:] - means).max() <= 2


def test_a_user_says_what_is_no_data(tmp_path):
    file = write(tmp_path / "a.tif", with_gap(np.uint16, 65535))
    kept = open_raster(file, nodata="none")
    assert (kept.fill, kept.notes, kept.stretch[1]) == (None, (), 65535)
    assert read(kept).valid == 1
    near = write(tmp_path / "b.tif", with_gap(np.uint16, 100))
    assert read(open_raster(near)).valid == 1
    assert read(open_raster(near, nodata=100)).valid == 0.5
    eight = write(tmp_path / "c.tif", with_gap(np.uint8, 0), nodata=0)
    assert read(open_raster(eight)).valid < 0.51
    assert read(open_raster(eight, nodata="none")).valid == 1
    with pytest.raises(QueryError, match="'sea'; expected a number"):
        open_raster(file, nodata="sea")


def test_declared_values_of_one_band_stay_out_of_the_stretch(tmp_path):
    values = with_gap(np.float32, 500)
    values[0, :, :150] = -9999
    raster = open_raster(write(tmp_path / "a.tif", values, nodata=-9999))
    assert raster.stretch[0] >= 200
    assert read(raster).valid == 1


def test_what_is_least_may_be_white(tmp_path):
    values = picture(bands=1)
    raster = open_raster(write(tmp_path / "a.tif", values, photometric="MINISWHITE"))
    assert np.array_equal(np.asarray(read(raster).picture)[..., 0], 255 - values[0])
    wide = write(tmp_path / "b.tif", values.astype(np.uint16) * 9, photometric="MINISWHITE")
    shown = np.asarray(read(open_raster(wide)).picture)[..., 0]
    assert np.corrcoef(shown.ravel(), values.ravel())[0, 1] < -0.98


def test_a_palette_may_have_16_bits(tmp_path):
    values = np.array([[[0, 300], [40_000, 300]]], np.uint16)
    file = write(tmp_path / "a.tif", values, photometric="palette")
    with rasterio.open(file, "r+") as target:
        target.write_colormap(1, {0: (9, 8, 7), 300: (1, 2, 3), 40_000: (0, 255, 0)})
    shown = np.asarray(read(open_raster(file), Window(0, 0, 2, 2)).picture)
    assert shown.tolist() == [[[9, 8, 7], [1, 2, 3]], [[0, 255, 0], [1, 2, 3]]]


@pytest.mark.parametrize("bits", [1, 4])
def test_fewer_bits_reach_from_black_to_white(tmp_path, bits):
    values = (picture(bands=1) % 2**bits).astype(np.uint8)
    raster = open_raster(write(tmp_path / "a.tif", values, nbits=bits))
    expected = np.round(values[0] * 255.0 / (2**bits - 1))
    assert np.array_equal(np.asarray(read(raster).picture)[..., 0], expected)


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "uint32", "int32", "int64", "uint64", "float64"]
)
def test_numbers_of_any_type_are_stretched(tmp_path, dtype):
    values = (picture().astype(float) - (128 if dtype[0] != "u" else 0)) / 2
    raster = open_raster(write(tmp_path / "a.tif", values.astype(dtype)))
    shown = np.asarray(read(raster).picture)
    assert (shown.min(), shown.max()) == (0, 255)
    assert np.corrcoef(np.moveaxis(shown, 2, 0).ravel(), values.ravel())[0, 1] > 0.98


def test_bands_of_several_types_are_read_together(tmp_path):
    for name, dtype in (("a", np.uint8), ("b", np.uint16), ("c", np.float32)):
        write(tmp_path / f"{name}.tif", picture(bands=1, seed=ord(name)).astype(dtype))
    kinds = {"a": "Byte", "b": "UInt16", "c": "Float32"}
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{n}"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{name}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for n, (name, kind) in enumerate(kinds.items(), start=1)
    )
    file = tmp_path / "mixed.vrt"
    file.write_text(f'<VRTDataset rasterXSize="300" rasterYSize="260">{bands}</VRTDataset>')
    shown = np.asarray(read(open_raster(file)).picture)
    for band, name in enumerate("abc"):
        layer = picture(bands=1, seed=ord(name))[0]
        assert np.corrcoef(shown[..., band].ravel(), layer.ravel())[0, 1] > 0.98
