"""Hits outline the thing that was asked for, not the tile or picture that shows it."""

from dataclasses import replace

import numpy as np
import rasterio
from rasterio.warp import transform as to_other_crs

from rsctir_hf.scene import SceneIndex, hits_geojson, index_rasters, search_scene
from rsctir_hf.search.hits import Hit
from rsctir_hf.vector_index.contract import BoundingBox
from tests.geo.rasters import PLACES, picture, write
from tests.scene.conftest import CUT, fields


def test_a_hit_is_outlined_where_the_thing_is_in_its_window(tmp_path, retriever):
    crs, transform = PLACES[next(iter(PLACES))]
    file = write(tmp_path / "a.tif", picture(90, 80), crs=crs, transform=transform)
    index = SceneIndex.build(retriever, file, tile=40)
    answer = search_scene(retriever, file, text="a river", things=True, tile=40, top_k=2)
    for hit, feature in zip(answer.hits, answer.to_geojson()["features"], strict=True):
        seen = index.tiles.heat.of(index.picture_of(hit.window), "a river").box
        assert hit.thing == hit.window.part(seen)
        assert feature["properties"]["thing"] == list(hit.thing.box)
        assert feature["properties"]["pixels"] == list(hit.window.box)
        (ring,) = feature["geometry"]["coordinates"]
        east, north = to_other_crs("EPSG:4326", crs, *zip(*ring, strict=True))
        pixels = np.array([~transform @ point for point in zip(east, north, strict=True)])
        box = [*pixels.min(axis=0), *pixels.max(axis=0)]
        assert np.abs(np.array(box) - hit.thing.box).max() < 0.5
    assert all(hit.thing is None for hit in index.search(text="a river").hits)


def test_the_polygon_of_a_hit_is_that_of_the_thing_in_it(retriever, tmp_path):
    across = rasterio.Affine(1e-5, 0, 180 - 16e-5, 0, -1e-5, 10)  # 32 pixels, half of them beyond
    write(tmp_path / "a.tif", fields(1, 1), crs="EPSG:4326", transform=across)
    index_rasters(retriever, tmp_path, **CUT)
    (hit,) = retriever.search("a river")
    (feature,) = hits_geojson([replace(hit, thing=(0.75, 0.5, 1.0, 0.75))])["features"]
    (ring,) = feature["geometry"]["coordinates"]
    west, north = -180 + 8e-5, 10 - 16e-5
    expected = [(west, north), (west, north - 8e-5), (west + 8e-5, north - 8e-5)]
    for corner in expected:
        assert min(np.abs(np.array(corner) - point).max() for point in ring) < 1e-7
    assert feature["properties"]["thing"] == [0.75, 0.5, 1.0, 0.75]


def test_the_thing_in_a_picture_with_a_box_lies_in_the_box():
    box = BoundingBox(8.0, 50.0, 10.0, 54.0)
    hit = Hit(0, "a.png", None, 0.5, 1, 1, None, box=box, thing=(0.0, 0.0, 0.5, 0.25))
    (feature,) = hits_geojson([hit])["features"]
    (ring,) = feature["geometry"]["coordinates"]
    assert {tuple(point) for point in ring} == {(8, 54), (8, 53), (9, 53), (9, 54)}
