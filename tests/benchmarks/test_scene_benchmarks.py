"""The scene benchmarks: mosaics know what they hold, answers are judged by the rule they state."""

import json

import numpy as np
import pytest
import rasterio
import scene_search
import scene_speed
from PIL import Image
from report import RESULTS
from scene_mosaics import CELL, Thing, drawn_mosaic, photo_mosaic, repeated_mosaic
from scene_search import (
    QUERIES,
    Task,
    asked,
    centre_shows,
    chance,
    holds_one,
    mostly_shows,
)

from rsctir_hf.geo.tiling import Window
from rsctir_hf.scene import SceneIndex
from rsctir_hf.search.retriever import Retriever

PLACES = [Thing("a", (0, 0, 100, 100)), Thing("a", (100, 0, 200, 100))]


def test_a_window_shows_a_class_when_more_than_half_of_it_does():
    # 60 of 100 rows, split over two pictures of the class
    assert mostly_shows(Window(50, 40, 100, 100), PLACES)
    assert not mostly_shows(Window(50, 50, 100, 100), PLACES)  # exactly half
    assert not mostly_shows(Window(50, 40, 100, 100), PLACES[:1])
    assert not mostly_shows(Window(0, 0, 100, 100), [])


def test_the_other_rules_ask_for_a_middle():
    assert centre_shows(Window(50, 40, 100, 100), PLACES)
    assert not centre_shows(Window(50, 60, 100, 100), PLACES)
    assert holds_one(Window(40, 40, 20, 20), PLACES)
    assert not holds_one(Window(60, 40, 20, 20), PLACES)


def test_chance_is_that_of_five_windows():
    windows = [Window(0, 0, 100, 100), Window(0, 300, 100, 100)]
    # Half of the windows show it: 1 - 0.5 ** 5 of the draws of five hold one. The other never.
    expected = 100 * (1 - 0.5**5) / 2
    assert chance(windows, {"a": PLACES, "b": []}, mostly_shows) == round(expected, 2)


def test_the_photo_mosaic_holds_each_picture_where_it_says(tmp_path):
    colours = [(10, 20, 30), (40, 50, 60), (0, 80, 90)]
    pictures = [(Image.new("RGB", (250, 256), c), str(n)) for n, c in enumerate(colours)]
    mosaic = photo_mosaic(tmp_path / "a.tif", pictures, side=600, seed=1)
    with rasterio.open(mosaic.path) as scene:
        values, nodata = scene.read(), scene.nodata
    assert (mosaic.size, nodata) == ((600, 600), 0)
    for thing, colour in zip(mosaic.things, colours, strict=True):
        left, top, right, bottom = thing.box
        cell = values[:, top:bottom, left:right]
        assert (cell == np.maximum(colour, 1)[:, None, None]).all()
    assert (values == 0).all(axis=0).sum() == 600 * 600 - 3 * CELL**2
    with pytest.raises(ValueError, match="do not fit"):
        photo_mosaic(tmp_path / "b.tif", pictures, side=300, seed=1)


def test_the_drawn_mosaic_knows_its_objects(tmp_path):
    mosaic = drawn_mosaic(
        tmp_path / "a.tif", ["tennis_courts", "airport"], across=2, first_seed=500, each=1
    )
    assert mosaic.size == (2 * CELL, CELL)
    kinds = {thing.kind: thing.box[0] >= CELL for thing in mosaic.things}
    assert kinds["tennis court"] is False  # on the left
    assert kinds["plane"] is True


def test_there_are_twenty_queries_or_more_and_each_has_its_own_class():
    assert len(QUERIES["photos"]) == 21
    for queries in QUERIES.values():
        assert len(set(queries.values())) == len(queries)


def test_a_scene_is_asked_and_judged(tmp_path, tiny_encoder):
    mosaic = drawn_mosaic(tmp_path / "a.tif", ["airport"], across=1, first_seed=500, each=1)
    index = SceneIndex.build(Retriever(tiny_encoder), mosaic.path, tile=128)
    rules = {"holds": holds_one, "centre": centre_shows}
    task = Task(mosaic, {"plane": "planes", "boat": "boats"}, rules)
    row = asked(index, task, rerank="none")
    assert (row["queries"], row["rule"]) == (2, "holds")
    assert row["hit"] in (0, 50)  # there is no boat
    assert row["rank_of_first_right"]["boat"] is None


def test_the_speed_benchmark_reports_a_ratio_and_where_the_time_goes(tmp_path, clip_folder):
    file = tmp_path / "a.tif"
    picture = tmp_path / "a.png"
    Image.new("RGB", (CELL, CELL), "green").save(picture)
    assert repeated_mosaic(file, [picture], side=600, seed=0).size == (600, 600)
    row = scene_speed.measure(clip_folder, file, tiles=4)
    assert row["tiles"] == 16  # 0, 168, 336 and 376 each way
    assert row["ratio"] > 0
    assert set(row["milliseconds_per_tile_alone"]) == {"read", "processor", "tower"}


def test_the_results_file_meets_what_it_says_of_its_target():
    found = json.loads((RESULTS / "scene_search.json").read_text())
    assert found["target"] == scene_search.TARGET
    for row in found["rows"]:
        ranks = row["rank_of_first_right"].values()
        assert row["hit"] == scene_search.percent([rank is not None for rank in ranks])
