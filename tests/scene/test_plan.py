"""How a raster is cut: ground sample distances decide how much of it a tile covers."""

from types import SimpleNamespace

import pytest
from rasterio import Affine

from rsctir_hf.errors import QueryError
from rsctir_hf.geo.raster import open_raster
from rsctir_hf.scene.plan import plan_tiles, window_box, window_places
from tests.geo.rasters import PLACES, picture, write

UCM = SimpleNamespace(training_images="UCM-Captions train, 1,680 pictures")
UNKNOWN = SimpleNamespace()


def raster_of(tmp_path, *, metres=0.3, crs="EPSG:32632"):
    transform = Affine(metres, 0, 500_000, 0, -metres, 5_000_000)
    return open_raster(write(tmp_path / "a.tif", picture(600, 500), crs=crs, transform=transform))


def test_a_tile_covers_as_much_ground_as_in_training(tmp_path):
    plan = plan_tiles(raster_of(tmp_path, metres=0.15), UCM, tile=100, overlap=0)
    assert plan.gsd == 0.3
    assert plan.side == (200, 200)  # 100 pixels of 0.3 m
    assert plan.size_of(plan.windows[0]) == (100, 100)
    assert len(plan.windows) == 3 * 3
    assert "read at 0.3 m" in plan.warnings[0]


def test_the_rasters_own_resolution_is_kept_where_the_model_knows_it(tmp_path):
    plan = plan_tiles(raster_of(tmp_path), UCM, tile=100)
    assert plan.side == (100, 100)
    assert plan.warnings == ()


def test_a_coarse_raster_is_searched_with_a_warning(tmp_path):
    plan = plan_tiles(raster_of(tmp_path, metres=10), UCM, tile=448)
    assert plan.side == (13, 13)  # 448 pixels of 0.3 m are 134 m
    assert "A pixel of this raster is 10 m wide" in plan.warnings[0]


@pytest.mark.parametrize(("metres", "ground"), [(10, "80 m, 1.2 times"), (100, "800 m, 12 times")])
def test_tiles_over_pixels_too_coarse_for_them_are_enlarged_with_a_warning(
    tmp_path, metres, ground
):
    plan = plan_tiles(raster_of(tmp_path, metres=metres), UCM)
    assert plan.side == (8, 8)
    assert plan.gsd == pytest.approx(8 * metres / 224, rel=1e-3)
    assert plan.size_of(plan.windows[0]) == (224, 224)
    assert f"{metres} m wide" in plan.warnings[0]
    assert f"covers {ground} as much as in training" in plan.warnings[0]


def test_a_given_distance_overrides_the_rasters_word(tmp_path):
    plan = plan_tiles(raster_of(tmp_path, metres=10), UCM, tile=100, gsd=0.3)
    assert plan.side == (100, 100)
    assert plan.warnings == ()


def test_without_a_crs_a_given_distance_sets_the_scale(tmp_path):
    raster = raster_of(tmp_path, crs=None)
    blind = plan_tiles(raster, UCM, tile=100)
    assert (blind.side, blind.gsd) == ((100, 100), None)
    assert "in which reference system" in blind.warnings[0]
    assert "Give the ground sample distance" in blind.warnings[1]
    told = plan_tiles(raster, UCM, tile=100, gsd=0.1)
    assert (told.side, told.gsd) == ((300, 300), 0.3)
    assert "in which reference system" in told.warnings[0]
    assert "read at 0.3 m" in told.warnings[1]


def test_pixels_that_are_not_square_on_the_ground_give_square_tiles(tmp_path):
    crs, transform = PLACES["degrees"]
    file = write(tmp_path / "a.tif", picture(600, 500), crs=crs, transform=transform)
    plan = plan_tiles(open_raster(file), UNKNOWN, tile=100)
    # A pixel is 0.2366 m across and 0.3334 m down, 0.2809 m in the (geometric) mean.
    assert plan.side == (119, 84)


@pytest.mark.parametrize("options", [{"tile": 8}, {"overlap": 1.0}, {"gsd": -1}])
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    with pytest.raises(QueryError):
        plan_tiles(raster_of(tmp_path), UCM, **options)


def test_a_window_lies_on_the_map_or_nowhere(tmp_path):
    raster = raster_of(tmp_path)
    plan = plan_tiles(raster, UCM, tile=100)
    corners = window_places(raster, plan.windows[0])
    west, south, east, north = window_box(raster, plan.windows[0])
    assert west == min(x for x, _ in corners) < east
    assert south < north == max(y for _, y in corners)
    nowhere = raster_of(tmp_path, crs=None)
    assert window_places(nowhere, plan.windows[0]) is None
    assert window_box(nowhere, plan.windows[0]) is None
