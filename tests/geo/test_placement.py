"""Where rasters lie that have no transform, no reference system, or all of the earth."""

import json
import math

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.warp import transform as to_other_crs

from rsctir_hf.errors import QueryError
from rsctir_hf.geo.geojson import bounding_box, polygon
from rsctir_hf.geo.map_output import overview_in_degrees, write_grid
from rsctir_hf.geo.raster import open_raster, overview
from rsctir_hf.geo.tiling import Window
from tests.geo.rasters import picture, write

SIZE = (300, 260)
FULL = Window(0, 0, *SIZE)
CENTIMETRE = 1e-7  # degrees: 1.1 cm of latitude
CORNERS = np.array([(0, 0), (0, 260), (300, 260), (300, 0), (150, 130)], float)
UNPLACED = {"crs": None, "transform": None}


def nine_points(place):
    """Ground control points on a grid of three by three; ``place`` gives x, y of column, row."""
    grid = [(col, row) for row in (0, 130, 260) for col in (0, 150, 300)]
    return [
        GroundControlPoint(row=row, col=col, x=place(col, row)[0], y=place(col, row)[1], z=0)
        for col, row in grid
    ]


def with_points(file, points, crs="EPSG:4326"):
    write(file, picture(*SIZE), **UNPLACED)
    with rasterio.open(file, "r+") as target:
        target.gcps = points, rasterio.crs.CRS.from_user_input(crs)
    return file


def sheared(col, row):
    return 9 + 7e-6 * col + 1e-6 * row, 53.2 - 4.5e-6 * row + 5e-7 * col


def test_ground_control_points_place_a_raster_to_the_centimetre(tmp_path):
    raster = open_raster(with_points(tmp_path / "a.tif", nine_points(sheared)))
    expected = [sheared(*corner) for corner in CORNERS]
    assert np.abs(raster.to_lonlat(CORNERS) - expected).max() < CENTIMETRE
    assert "Placed by 9 ground control points: they fit to 0.01 m." in raster.notes
    # 7e-6 degrees of longitude at 53.2 degrees north are 0.468 m, with 5e-7 of latitude.
    assert raster.gsd == pytest.approx((math.hypot(0.468, 0.0557), 0.5053), rel=5e-3)


def test_points_may_be_in_metres(tmp_path):
    def place(col, row):
        return 500_000 + 0.5 * col, 5_900_000 - 0.5 * row

    raster = open_raster(with_points(tmp_path / "a.tif", nine_points(place), "EPSG:32632"))
    xs, ys = zip(*(place(*corner) for corner in CORNERS), strict=True)
    expected = np.stack(to_other_crs("EPSG:32632", "EPSG:4326", xs, ys), axis=1)
    assert np.abs(raster.to_lonlat(CORNERS) - expected).max() < CENTIMETRE


def test_points_that_no_polynomial_fits_are_all_met(tmp_path):
    def bent(col, row):
        x, y = sheared(col, row)
        return x + 2e-4 * math.sin(col / 30), y + 2e-4 * math.cos(row / 25)

    grid = [(col, row) for row in range(0, 261, 26) for col in range(0, 301, 30)]
    points = [GroundControlPoint(row=r, col=c, x=bent(c, r)[0], y=bent(c, r)[1]) for c, r in grid]
    raster = open_raster(with_points(tmp_path / "a.tif", points))
    at = np.array(grid, float)
    expected = [bent(*point) for point in grid]
    assert np.abs(raster.to_lonlat(at) - expected).max() < CENTIMETRE
    assert "thin plate spline" in raster.notes[0]
    between = np.array([(75.0, 65.0), (165.0, 143.0), (225.0, 195.0)])
    # Between points 30 pixels apart the sine turns by one radian: 1.4 of 28 pixels may be left.
    assert np.abs(raster.to_lonlat(between) - [bent(*each) for each in between]).max() < 1e-5


def test_points_on_a_line_place_nothing_and_are_named(tmp_path):
    points = [GroundControlPoint(row=n, col=n, x=9 + n * 1e-5, y=53 - n * 1e-5) for n in (0, 99, 9)]
    raster = open_raster(with_points(tmp_path / "a.tif", points))
    assert raster.to_lonlat(CORNERS) is None
    assert "3 ground control points do not place this raster" in raster.notes[0]


def rpcs(rise=0.0):
    """A camera: line and sample follow latitude and longitude, moved by ``rise`` with height."""
    zeros = [0.0] * 16
    return RPC(
        height_off=120.0, height_scale=500.0, lat_off=48.0, lat_scale=0.01, long_off=9.0,
        long_scale=0.01, line_off=130.0, line_scale=130.0, samp_off=150.0, samp_scale=150.0,
        line_num_coeff=[0.0, 0.0, -1.0, rise, *zeros], line_den_coeff=[1.0, 0.0, 0.0, 0.0, *zeros],
        samp_num_coeff=[0.0, 1.0, 0.0, 0.0, *zeros], samp_den_coeff=[1.0, 0.0, 0.0, 0.0, *zeros],
    )  # fmt: skip


def test_rpcs_place_a_raster_at_their_height_and_say_how_far_off(tmp_path):
    file = write(tmp_path / "a b.tif", picture(*SIZE), **UNPLACED, rpcs=rpcs(rise=0.2))
    raster = open_raster(file)
    # RPCs count from the middle of a pixel: sample 150 is column 150.5.
    at = CORNERS[:, 0] - 0.5, CORNERS[:, 1] - 0.5
    expected = np.stack([9 + 0.01 * (at[0] - 150) / 150, 48 - 0.01 * (at[1] - 130) / 130], axis=1)
    assert np.abs(raster.to_lonlat(CORNERS) - expected).max() < CENTIMETRE
    # 100 m are 0.2 of the height's scale, so 0.04 of the line's and 0.0004 degrees: 44.5 m.
    assert "at a height of 120 m: places are off by 44 m for every 100 m" in raster.notes[0]
    assert "gdalwarp -rpc -to RPC_DEM=HEIGHTS.tif 'a b.tif' OUT.tif" in raster.notes[0]


def test_a_transform_comes_before_rpcs(tmp_path):
    raster = open_raster(write(tmp_path / "a.tif", picture(*SIZE), rpcs=rpcs()))
    assert (raster.place.rpcs, raster.notes) == (None, ())


def test_a_transform_without_a_system_keeps_its_numbers_until_it_is_named(tmp_path):
    transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_900_000)
    file = write(tmp_path / "a.tif", picture(*SIZE), crs=None, transform=transform)
    raster = open_raster(file)
    assert raster.place.to_map(CORNERS).tolist() == [list(transform @ each) for each in CORNERS]
    assert (raster.to_lonlat(CORNERS), raster.gsd) == (None, None)
    assert "--crs EPSG:32632" in raster.notes[0]
    named, known = (
        open_raster(file, crs="EPSG:32632"),
        open_raster(write(tmp_path / "b.tif", picture(*SIZE), transform=transform)),
    )
    assert np.array_equal(named.to_lonlat(CORNERS), known.to_lonlat(CORNERS))
    assert (named.gsd, named.notes) == (known.gsd, ())
    with pytest.raises(QueryError, match="'EPSG:0'"):
        open_raster(file, crs="EPSG:0")


def test_a_world_file_counts(tmp_path):
    write(tmp_path / "a.png", picture(*SIZE), **UNPLACED, driver="PNG")
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5899999.75\n")
    place = open_raster(tmp_path / "a.png").place
    assert place.to_map(CORNERS[:1]).tolist() == [[500_000, 5_900_000]]
    (tmp_path / "a.prj").write_text("no reference system")
    assert open_raster(tmp_path / "a.png").place == place
    utm = rasterio.crs.CRS.from_epsg(32632)
    (tmp_path / "a.prj").write_text(utm.to_wkt(version="WKT1_ESRI"))
    named = open_raster(tmp_path / "a.png")
    assert str((tmp_path / "a.prj").resolve()) in named.files
    known = open_raster(tmp_path / "a.png", crs="EPSG:32632")
    assert np.abs(named.to_lonlat(CORNERS) - known.to_lonlat(CORNERS)).max() < CENTIMETRE


def test_an_engineering_grid_has_a_scale(tmp_path):
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    raster = open_raster(write(tmp_path / "a.tif", picture(*SIZE), crs=local))
    assert raster.gsd == pytest.approx((0.3, 0.3))


TRANSFORMS = {
    "north up": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_900_000),
    "south up": rasterio.Affine(0.5, 0, 500_000, 0, 0.5, 5_900_000),
    "turned": rasterio.Affine.translation(5e5, 5.9e6)
    @ rasterio.Affine.rotation(30)
    @ rasterio.Affine.scale(0.5, -0.5),
    "sheared": rasterio.Affine(0.5, 0.1, 500_000, 0.05, -0.5, 5_900_000),
}


@pytest.mark.parametrize("crs", ["EPSG:32632", None, 'LOCAL_CS["site grid",UNIT["metre",1]]'])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_heat_map_lies_on_its_raster(tmp_path, name, crs):
    file = write(tmp_path / "a.tif", picture(*SIZE), crs=crs, transform=TRANSFORMS[name])
    write_grid(tmp_path / "heat.tif", np.ones((5, 6), np.float32), open_raster(file), cell=(50, 52))
    with rasterio.open(tmp_path / "heat.tif") as heat, rasterio.open(file) as scene:
        assert heat.crs == scene.crs
        for col, row in ((0, 0), (6, 5), (3, 1)):
            assert heat.transform @ (col, row) == pytest.approx(
                scene.transform @ (50 * col, 52 * row), abs=1e-6
            )


def test_a_heat_map_has_points_of_no_system(tmp_path):
    file = with_points(tmp_path / "a.tif", nine_points(sheared), crs=rasterio.crs.CRS())
    write_grid(tmp_path / "heat.tif", np.ones((5, 6), np.float32), open_raster(file), cell=(50, 52))
    heat = open_raster(tmp_path / "heat.tif").place
    expected = [sheared(col, row) for col, row in CORNERS]
    assert np.abs(heat.to_map(CORNERS / [50, 52]) - expected).max() < CENTIMETRE


@pytest.mark.parametrize("kind", ["points", "RPCs"])
def test_a_heat_map_lies_where_points_and_rpcs_place_it(tmp_path, kind):
    if kind == "points":
        file = with_points(tmp_path / "a.tif", nine_points(sheared))
    else:
        file = write(tmp_path / "a.tif", picture(*SIZE), **UNPLACED, rpcs=rpcs())
    raster = open_raster(file)
    write_grid(tmp_path / "heat.tif", np.ones((5, 6), np.float32), raster, cell=(50, 52))
    heat = open_raster(tmp_path / "heat.tif")
    found = heat.to_lonlat(CORNERS / [50, 52])
    assert np.abs(found - raster.to_lonlat(CORNERS)).max() < CENTIMETRE
    shown, (west, south, east, north) = overview_in_degrees(raster, overview(raster, side=200))
    places = raster.to_lonlat(CORNERS)
    assert (west, south) == pytest.approx(places.min(axis=0))
    assert (east, north) == pytest.approx(places.max(axis=0))
    assert shown.getpixel((shown.width // 2, shown.height // 2))[3] == 255


def area(geometry):
    """Square degrees of a geometry, all of whose rings must be anticlockwise and on the map."""
    single = geometry["type"] == "Polygon"
    rings = [geometry["coordinates"]] if single else geometry["coordinates"]
    total = 0.0
    for (ring,) in rings:
        points = np.array(ring)
        assert np.abs(points[:, 0]).max() <= 180 and np.abs(points[:, 1]).max() <= 90
        (x1, y1), (x2, y2) = points[:-1].T, points[1:].T
        one = float((x1 * y2 - x2 * y1).sum() / 2)
        assert one > 0
        total += one
    json.dumps(geometry)
    return total


def placed(tmp_path, crs, transform, size):
    file = write(tmp_path / "a.tif", picture(*size, bands=1), crs=crs, transform=transform)
    ring = open_raster(file).place.ring(Window(0, 0, *size))
    return polygon(ring), bounding_box(ring)


@pytest.mark.parametrize(
    ("west", "width", "box", "parts"),
    [
        (-180, 360, (-180, -90, 180, 90), 1),
        (0, 360, (-180, -90, 180, 90), 2),
        (-170, 320, (-170, -90, 150, 90), 1),
        (100, 240, (100, -90, -20, 90), 2),
        (170, 200, (170, -90, 10, 90), 2),
        (-190, 190, (170, -90, 0, 90), 2),
        (180, 180, (-180, -90, 0, 90), 1),
        (0, 180, (0, -90, 180, 90), 1),
    ],
)
def test_wide_windows_cover_what_they_cover(tmp_path, west, width, box, parts):
    transform = rasterio.Affine(width / 100, 0, west, 0, -1.8, 90)
    geometry, found = placed(tmp_path, "EPSG:4326", transform, (100, 100))
    assert found == pytest.approx(box)
    assert area(geometry) == pytest.approx(width * 180)
    assert len(geometry["coordinates"]) == parts


def test_rows_beyond_a_pole_end_at_it(tmp_path):
    # Pixels whose middles lie on whole and half degrees, from -90 to 90 and from -180 to 179.5.
    transform = rasterio.Affine(0.5, 0, -180.25, 0, -0.5, 90.25)
    geometry, box = placed(tmp_path, "EPSG:4326", transform, (720, 361))
    assert (box[1], box[3]) == (-90, 90)
    assert area(geometry) == pytest.approx(360 * 180)
    raster = open_raster(tmp_path / "a.tif")
    assert raster.to_lonlat(np.array([[100.0, 0.0]])).tolist() == [[-130.25, 90]]


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
@pytest.mark.parametrize("left", [-500_000, -310_000, 0])
@pytest.mark.parametrize("top", [500_000, 1_000_000])
def test_windows_at_a_pole_reach_it(tmp_path, crs, pole, left, top):
    transform = rasterio.Affine(10_000, 0, left, 0, -10_000, top)
    geometry, box = placed(tmp_path, crs, transform, (100, 100))
    assert (box[3] if pole > 0 else box[1]) == pole
    covered = {(-500_000, 500_000): 360, (-310_000, 500_000): 360, (0, 1_000_000): 90}
    degrees = covered.get((left, top), 180)
    assert (box[2] - box[0]) % 360 == pytest.approx(degrees % 360, abs=1e-6)
    # The mean height of the area is the mean way to its edge: 4.5 to 13 degrees of latitude.
    assert 4.5 * degrees < area(geometry) < 13 * degrees


def test_a_tile_that_ends_at_the_antimeridian_is_one(tmp_path):
    transform = rasterio.Affine(400_750.166855785, 0, -20_037_508.3427892, 0, -4e5, 2e7)
    geometry, box = placed(tmp_path, "EPSG:3857", transform, (100, 100))
    assert geometry["type"] == "Polygon"
    assert (box[0], box[2]) == pytest.approx((-180, 180))
