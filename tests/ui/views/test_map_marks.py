"""Lines of degrees, scale bar and basemap."""

import plotly.graph_objects as go
import pytest

from rsctir_hf.ui.views.map_marks import (
    TILE_SERVER,
    add_basemap,
    add_graticule,
    add_scale_bar,
    nice_step,
    ratio_of,
    widened,
)

BREMEN = (9.0, 53.0, 9.02, 53.01)


@pytest.mark.parametrize(
    ("most", "step"), [(1.0, 1), (1.9, 1), (2, 2), (4.99, 2), (7, 5), (0.0012, 0.001), (950, 500)]
)
def test_steps_are_one_two_and_five(most, step):
    assert nice_step(most) == pytest.approx(step)


def test_lines_stand_at_round_degrees_and_say_which():
    figure = go.Figure()
    add_graticule(figure, (-0.011, -0.006, 0.011, 0.006))
    named = {note.text: (note.x, note.y) for note in figure.layout.annotations}
    assert list(named) == [
        *("0.010° W", "0.005° W", "0.000° E", "0.005° E", "0.010° E"),
        *("0.006° S", "0.004° S", "0.002° S", "0.000° N", "0.002° N", "0.004° N", "0.006° N"),
    ]
    assert named["0.010° E"] == pytest.approx((0.01, 0.006))
    assert named["0.004° S"] == pytest.approx((0.011, -0.004))
    assert len(figure.layout.shapes) == 5 + 7
    assert figure.layout.yaxis.scaleratio == pytest.approx(1)


def test_the_scale_bar_is_as_long_on_the_ground_as_it_says():
    figure = go.Figure()
    add_scale_bar(figure, BREMEN)
    bar = figure.layout.shapes[0]
    # A degree of longitude at 53.005 degrees north is 111,320 m x cos(53.005) = 66,987 m.
    assert (bar.x1 - bar.x0) * 66_987 == pytest.approx(200, rel=1e-3)
    assert figure.layout.annotations[0].text == "200 m"
    figure = go.Figure()
    add_scale_bar(figure, (0, -1, 2, 1))
    assert figure.layout.annotations[0].text == "50 km"


def test_a_map_is_as_wide_as_the_ground():
    assert ratio_of(BREMEN) == pytest.approx(2 * 0.6018, rel=1e-3)
    assert widened((0, 0, 2, 1), 0.25) == (-0.5, -0.25, 2.5, 1.25)
    assert widened((0, -80, 2, 80), 0.25)[1::2] == (-90, 90)


def test_the_basemap_covers_the_map_with_few_tiles_and_says_whose_they_are():
    figure = go.Figure()
    add_basemap(figure, BREMEN)
    tiles = figure.layout.images
    assert 1 < len(tiles) <= 30
    assert all(
        tile.source.startswith(f"{TILE_SERVER}/") and tile.layer == "below" for tile in tiles
    )
    assert min(tile.x for tile in tiles) <= BREMEN[0]
    assert max(tile.x + tile.sizex for tile in tiles) >= BREMEN[2]
    assert max(tile.y for tile in tiles) >= BREMEN[3]
    assert min(tile.y - tile.sizey for tile in tiles) <= BREMEN[1]
    assert "OpenStreetMap contributors" in figure.layout.annotations[0].text


@pytest.mark.parametrize(
    ("zoomed", "source"), [((-179, -85, 179, 85), "/1/0/0.png"), (BREMEN, "/15/17203/10672.png")]
)
def test_tiles_are_those_of_the_web_mercator_grid(zoomed, source):
    figure = go.Figure()
    add_basemap(figure, zoomed)
    assert TILE_SERVER + source in [tile.source for tile in figure.layout.images]
