"""Windows cover a raster, map to its corners, are merged, and make a heat map."""

import numpy as np
import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.geo.tiling import Window, heat_map, map_points, merge_windows, tile_windows


@pytest.mark.parametrize("size", [(500, 333), (224, 224), (225, 1000), (60, 400), (10, 10)])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.6])
def test_every_pixel_is_covered_and_no_window_leaves_the_raster(size, overlap):
    covered = np.zeros(size[::-1], int)
    windows = tile_windows(size, (224, 200), overlap=overlap)
    for window in windows:
        left, top, right, bottom = window.box
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        assert (window.width, window.height) == (min(size[0], 224), min(size[1], 200))
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    assert len({window.box for window in windows}) == len(windows)


def test_windows_overlap_by_the_share_asked_for():
    columns = sorted({window.col for window in tile_windows((1000, 100), (100, 100), overlap=0.25)})
    assert columns == [*range(0, 900, 75), 900]


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_out_of_range_is_refused(overlap):
    with pytest.raises(QueryError, match="below 1"):
        tile_windows((10, 10), (5, 5), overlap=overlap)


def test_a_window_without_pixels_is_refused():
    with pytest.raises(QueryError, match="cannot be cut"):
        tile_windows((10, 10), (0, 5), overlap=0)


def test_an_overlap_that_makes_millions_of_windows_is_refused():
    with pytest.raises(QueryError, match=r"391,129,729; .*smaller overlap or larger tiles"):
        tile_windows((20_000, 20_000), (224, 224), overlap=0.999)


def test_corners_go_round_the_window_from_the_upper_left():
    corners = map_points(Window(10, 20, 4, 6).corners, (0.5, 0, 100, 0, -0.5, 200))
    # x = 100 + column / 2, y = 200 - row / 2
    assert corners.tolist() == [[105, 190], [105, 187], [107, 187], [107, 190]]


def test_a_turned_raster_moves_both_coordinates_with_each_column():
    point = map_points(np.array([[3.0, 5.0]]), (2, 7, 100, 11, -2, 200))
    assert point.tolist() == [[100 + 2 * 3 + 7 * 5, 200 + 11 * 3 - 2 * 5]]


def test_neighbours_at_the_sides_are_merged_into_the_better_window():
    windows = tile_windows((250, 250), (100, 100), overlap=0.25)  # 3 x 3, 75 px apart
    scores = np.array([0, 1, 0, 2, 9, 3, 0, 4, 0], np.float32)  # the middle is best
    merged = merge_windows(windows, scores, top_k=3)
    # Sides share 25 % of their area with the middle, corners 6 %: those stay.
    assert (merged[0][0], set(merged[0])) == (4, {1, 3, 4, 5, 7})
    assert [hit[0] for hit in merged[1:]] == [0, 2]
    assert merged[1] == (0,)


def test_windows_that_only_touch_are_two_hits():
    windows = tile_windows((200, 100), (100, 100), overlap=0)
    scores = np.array([1, 2], np.float32)
    assert [hit[0] for hit in merge_windows(windows, scores, top_k=5, share=0)] == [1, 0]


def test_no_window_gives_no_hit():
    assert merge_windows([], np.zeros(0, np.float32), top_k=5) == []


def test_the_heat_map_is_the_mean_of_the_windows_over_a_cell():
    windows = [Window(0, 0, 4, 4), Window(2, 0, 4, 4)]
    heat = heat_map(windows, np.array([1, 3], np.float32), (10, 5), cell=(2, 2))
    expected = [[1, 2, 3, np.nan, np.nan]] * 2 + [[np.nan] * 5]
    assert np.array_equal(heat, np.array(expected, np.float32), equal_nan=True)


def test_a_raster_without_pixels_is_refused_and_one_of_a_pixel_is_not():
    with pytest.raises(QueryError, match="cannot be cut"):
        tile_windows((0, 10), (5, 5), overlap=0)
    assert tile_windows((1, 1), (1, 1), overlap=0) == [Window(0, 0, 1, 1)]


def test_as_many_windows_as_the_limit_are_made_and_one_more_is_not(monkeypatch):
    monkeypatch.setattr("rsctir_hf.geo.tiling.MOST_WINDOWS", 6)
    assert len(tile_windows((30, 20), (10, 10), overlap=0)) == 6
    with pytest.raises(QueryError, match="would be 7; at most 6"):
        tile_windows((70, 10), (10, 10), overlap=0)


def test_a_window_covered_by_just_the_share_is_merged():
    # Half of the second lies in the first.
    windows = [Window(0, 0, 10, 10), Window(5, 0, 10, 10)]
    scores = np.array([2, 1], np.float32)
    assert merge_windows(windows, scores, top_k=5, share=0.5) == [(0, 1)]
    assert len(merge_windows(windows, scores, top_k=5, share=0.51)) == 2


def test_a_shared_pixel_is_enough_where_no_share_is_asked_for():
    windows = [Window(0, 0, 10, 10), Window(9, 9, 10, 10)]
    scores = np.array([2, 1], np.float32)
    assert merge_windows(windows, scores, top_k=5, share=0) == [(0, 1)]


def test_windows_are_merged_by_their_overlap_in_both_directions():
    # The same columns, but a row of its own: nothing shared.
    windows = [Window(0, 0, 10, 10), Window(0, 20, 10, 10), Window(0, 5, 10, 10)]
    scores = np.array([3, 2, 1], np.float32)
    found = merge_windows(windows, scores, top_k=5, share=0.4)
    assert found == [(0, 2), (1,)]


def test_a_merged_window_is_no_hit_later():
    # 0 takes 1 in, 2 takes nothing: what 0 took must not come back after 2.
    windows = [Window(0, 0, 10, 10), Window(5, 0, 10, 10), Window(50, 0, 10, 10)]
    found = merge_windows(windows, np.array([3, 1, 2], np.float32), top_k=5, share=0.4)
    assert found == [(0, 1), (2,)]


def test_of_many_equal_scores_the_first_window_leads():
    windows = tile_windows((4000, 10), (10, 10), overlap=0)
    found = merge_windows(windows, np.zeros(len(windows), np.float32), top_k=400)
    assert [hit[0] for hit in found] == list(range(400))


def test_the_heat_map_follows_oblong_cells():
    # Cells 4 px wide and 2 px high over 12 x 6 px: the window takes columns 1..2 and rows 1..2.
    heat = heat_map([Window(4, 2, 5, 3)], np.array([2], np.float32), (12, 6), cell=(4, 2))
    expected = np.full((3, 3), np.nan, np.float32)
    expected[1:, 1:] = 2
    assert np.array_equal(heat, expected, equal_nan=True)
    assert heat.dtype == np.float32
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        heat_map([Window(0, 0, 1, 1)] * 2, np.ones(1, np.float32), (2, 2), cell=(1, 1))
