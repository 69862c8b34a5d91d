"""One scene, many questions: the right place is found, merged, placed and written."""

import json

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform as to_other_crs

from rsctir_hf.errors import QueryError, RasterError, UnsupportedError
from rsctir_hf.geo.tiling import Window
from rsctir_hf.scene import SceneIndex, search_scene
from rsctir_hf.search.confidence import WORDS, ScoreScale
from tests.geo.rasters import PLACES, picture, write
from tests.scene.conftest import BANK, FIELD, fields

CUT = {"tile": FIELD, "overlap": 0.25}


def test_a_piece_of_the_scene_is_found_where_it_lies(retriever, scene_file):
    index = SceneIndex.build(retriever, scene_file, **CUT)
    for wanted in (index.windows[0], index.windows[10], index.windows[-1]):
        answer = index.search(image=index.picture_of(wanted), top_k=3)
        assert answer.hits[0].window == wanted
        assert answer.hits[0].score == pytest.approx(1, abs=1e-5)


def test_hits_are_ranked_and_stand_for_their_neighbours(retriever, scene_file):
    answer = search_scene(retriever, scene_file, text="a river", top_k=4, **CUT)
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4]
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(answer.scores.max())
    assert answer.hits[0].merged > 1
    assert len({hit.window for hit in answer.hits}) == 4


@pytest.mark.parametrize("name", PLACES)
def test_hits_have_the_corners_of_their_window_to_half_a_pixel(tmp_path, retriever, name):
    crs, transform = PLACES[name]
    file = write(tmp_path / "a.tif", picture(90, 80), crs=crs, transform=transform)
    hit = search_scene(retriever, file, text="a river", tile=40, top_k=1).hits[0]
    east, north = to_other_crs("EPSG:4326", crs, *zip(*hit.corners, hit.centre, strict=True))
    pixels = [~transform @ point for point in zip(east, north, strict=True)]
    left, top, right, bottom = hit.window.box
    corners = [(left, top), (left, bottom), (right, bottom), (right, top), hit.window.centre]
    assert np.abs(np.array(pixels) - np.array(corners)).max() < 0.5


def test_without_coordinates_hits_are_given_in_pixels(tmp_path, retriever):
    file = write(tmp_path / "a.tif", fields(), crs=None, transform=rasterio.Affine.identity())
    answer = search_scene(retriever, file, text="a river", **CUT)
    assert answer.hits[0].corners is None
    assert "pixels" in answer.warnings[0]
    whole = answer.to_geojson()
    assert whole["type"] == "FeatureCollection"
    assert whole["warnings"] == list(answer.warnings)
    first = whole["features"][0]
    assert first["type"] == "Feature"
    assert first["geometry"] is None
    assert first["properties"]["pixels"] == list(answer.hits[0].window.box)


def test_windows_without_data_are_left_out_and_counted(tmp_path, retriever):
    values = fields()
    values[:, :, : 3 * FIELD] = 0
    file = write(tmp_path / "a.tif", values, nodata=0)
    index = SceneIndex.build(retriever, file, tile=FIELD, overlap=0)
    assert (len(index.windows), index.skipped) == (15, 15)
    assert min(window.col for window in index.windows) == 3 * FIELD
    heat = index.search(text="a river").heat
    assert np.isnan(heat[:, :12]).all()
    assert np.isfinite(heat[:, 12:]).all()


def test_a_window_with_little_data_is_left_out(tmp_path, retriever):
    values = fields(1, 1).astype(np.float32)
    values[:, :, :16] = np.nan
    file = write(tmp_path / "a.tif", values)
    assert len(SceneIndex.build(retriever, file, tile=FIELD, least_valid=0.5).windows) == 1
    with pytest.raises(RasterError, match="has data in 60% of its pixels"):
        SceneIndex.build(retriever, file, tile=FIELD, least_valid=0.6)


def test_a_scene_without_any_data_is_refused(tmp_path, retriever):
    file = write(tmp_path / "a.tif", np.zeros((3, 100, 100), np.uint8), nodata=0)
    with pytest.raises(RasterError, match="nothing to search"):
        SceneIndex.build(retriever, file, **CUT)


def test_a_truncated_scene_is_refused(tmp_path, retriever):
    noise = np.random.default_rng(0).integers(0, 256, (3, 400, 400), dtype=np.uint8)
    file = write(tmp_path / "a.tif", noise, tiled=True, blockxsize=64, blockysize=64)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(RasterError, match="damaged or cut short"):
        SceneIndex.build(retriever, file, tile=64)


@pytest.mark.parametrize(
    ("bands", "dtype"), [(1, np.uint8), (12, np.uint8), (3, np.uint16), (3, np.float32)]
)
def test_every_kind_of_raster_is_searched(tmp_path, retriever, bands, dtype):
    values = (fields(bands=bands) * 3.0).astype(dtype)
    file = write(tmp_path / "a.tif", values, photometric="minisblack")
    chosen = (4, 3, 2) if bands == 12 else None
    assert search_scene(retriever, file, text="a river", bands=chosen, **CUT).hits


def test_a_scene_smaller_than_a_tile_is_one_window(tmp_path, retriever):
    file = write(tmp_path / "a.tif", fields(2, 1))
    index = SceneIndex.build(retriever, file, tile=100)
    assert index.windows == (Window(0, 0, 64, 32),)
    assert index.picture_of(index.windows[0]).size == (64, 32)
    assert index.picture_of(index.windows[0], scale=2).size == (128, 64)


@pytest.mark.parametrize("rerank", ["smr", "mr"])
@pytest.mark.parametrize("query", ["text", "image"])
def test_a_rerank_orders_by_its_own_score_and_keeps_the_cosine(
    retriever, scene_file, rerank, query
):
    index = SceneIndex.build(retriever, scene_file, **CUT)
    asked = (
        {"text": "a river"}
        if query == "text"
        else {"image": index.picture_of(Window(9, 9, 32, 32))}
    )
    plain = index.search(**asked, top_k=20)
    hits = index.search(**asked, top_k=20, rerank=rerank).hits
    order = [hit.rerank_score for hit in hits]
    assert order == sorted(order, reverse=True)
    cosines = dict(zip(plain.windows, plain.scores.tolist(), strict=True))
    assert all(hit.score == pytest.approx(cosines[hit.window]) for hit in hits)


def test_match_needs_a_model_that_judges_pairs_and_a_text(retriever, scene_file):
    index = SceneIndex.build(retriever, scene_file, **CUT)
    with pytest.raises(UnsupportedError, match="match"):
        index.search(text="a river", rerank="match")
    with pytest.raises(QueryError, match="no text"):
        index.search(image=index.picture_of(index.windows[0]), rerank="match")


@pytest.mark.parametrize("asked", [{}, {"text": " "}, {"text": "x", "top_k": 0}])
def test_a_query_without_an_answer_is_refused_before_the_work(retriever, asked):
    with pytest.raises(QueryError):
        search_scene(retriever, "there is no such file.tif", **asked)


def test_progress_counts_what_is_embedded_and_ends_at_all_windows(retriever, tmp_path):
    values = fields(6, 4)
    values[:, :FIELD] = values[:, -FIELD:] = 0  # the first and the last row of windows
    file = write(tmp_path / "a.tif", values, nodata=0)
    told = []
    SceneIndex.build(
        retriever, file, tile=FIELD, overlap=0, batch_size=5, progress=lambda *at: told.append(at)
    )
    # 12 windows hold data, behind 6 that do not: 5, 10 and 12 of them, then the rest.
    assert told == [(11, 24), (16, 24), (18, 24), (24, 24)]


def test_text_and_picture_together_ask_for_the_mean(retriever, scene_file):
    index = SceneIndex.build(retriever, scene_file, **CUT)
    piece = index.picture_of(index.windows[0])
    both = index.search(text="a river", image=piece).scores
    apart = index.search(text="a river").scores + index.search(image=piece).scores
    assert np.corrcoef(both, apart)[0, 1] == pytest.approx(1, abs=1e-5)


def test_places_are_judged_by_the_scale_of_their_scene(retriever, scene_file, monkeypatch):
    index = SceneIndex.build(retriever, scene_file, **CUT)
    for low, level in ((-9.0, "fits"), (1.1, "nothing")):
        scale = ScoreScale(low, low + 1, WORDS)
        monkeypatch.setattr("rsctir_hf.search.session.score_scale", lambda *_, is_=scale: is_)
        answer = index.search(text="a river")
        assert answer.confidence == level
        assert {hit.level for hit in answer.hits} == {level}
        assert answer.fits_from == pytest.approx(low + WORDS.fits_from)
        written = answer.to_geojson()
        assert written["confidence"] == level
        assert written["features"][0]["properties"]["level"] == level


def test_geojson_and_heat_map_lie_on_the_scene(tmp_path, retriever, scene_file):
    answer = search_scene(retriever, scene_file, text=BANK[0], top_k=2, **CUT)
    answer.write_geojson(tmp_path / "hits.geojson")
    answer.write_heat_map(tmp_path / "heat.tif")
    hits = json.loads((tmp_path / "hits.geojson").read_text())["features"]
    assert [hit["properties"]["rank"] for hit in hits] == [1, 2]
    assert hits[0]["properties"]["text"] == "a river"
    assert hits[0]["properties"]["file"] == "fields.tif"
    assert hits[0]["geometry"]["type"] == "Polygon"
    with rasterio.open(tmp_path / "heat.tif") as heat, rasterio.open(scene_file) as scene:
        assert heat.crs == scene.crs
        assert heat.bounds == scene.bounds
        assert heat.read(1).max() == pytest.approx(answer.heat.max())
