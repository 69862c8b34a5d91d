"""At how many metres a pixel a model sees, and when a raster lies outside of that."""

from types import SimpleNamespace

import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.geo.resolution import check_gsd, gsd_warning, training_gsd, working_gsd

BOTH = "UCM-Captions train, 1,680 pictures; RSICD train, 7,957 pictures; drawn scenes, 400 pictures"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"training_images": BOTH}, (0.3, 8.0)),
        ({"training_images": "UCM-Captions train, 1,680 pictures"}, (0.3, 0.3)),
        ({"training_images": "drawn scenes, 400 pictures"}, (0.24, 5.0)),
        ({"training_images": BOTH, "training_gsd": [1, 2]}, (1.0, 2.0)),
        ({"training_images": ""}, None),
        ({}, None),
    ],
)
def test_the_range_is_read_from_the_config(config, expected):
    assert training_gsd(SimpleNamespace(**config)) == expected


def test_a_raster_within_the_range_keeps_its_own_resolution():
    assert working_gsd(1.5, (0.3, 8.0)) == 1.5
    assert working_gsd(0.05, (0.3, 8.0)) == 0.3
    assert working_gsd(10, (0.3, 8.0)) == 8.0
    assert working_gsd(10, None) == 10


def test_a_coarse_raster_is_warned_of():
    assert "10 m wide; the model was trained on 0.3 m" in gsd_warning(10, (0.3, 0.3))
    assert "mean nothing" in gsd_warning(10, (0.3, 8.0))  # Sentinel-2


def test_a_finer_raster_is_read_coarser_and_says_so():
    assert "read at 0.3 m" in gsd_warning(0.05, (0.3, 8.0))


@pytest.mark.parametrize(("gsd", "trained"), [(0.3, (0.3, 0.3)), (8.5, (0.5, 8)), (10, None)])
def test_within_the_range_nothing_is_said(gsd, trained):
    assert gsd_warning(gsd, trained) is None


@pytest.mark.parametrize("gsd", [0, -1, float("nan")])
def test_an_impossible_distance_is_refused(gsd):
    with pytest.raises(QueryError, match="metres a pixel"):
        check_gsd(gsd)
