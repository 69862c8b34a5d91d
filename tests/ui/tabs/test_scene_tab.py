"""What the events of the Scene tab call, on tiny models."""

import json
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import rasterio
from PIL import Image

from rsctir_hf.search.confidence import WORDS, ScoreScale
from rsctir_hf.ui.server import open_scenes
from rsctir_hf.ui.server.open_scenes import Cut, open_scene, sample_scene, timed
from rsctir_hf.ui.tabs.scene_tab import MOST_SAVED, SceneHandlers, files
from rsctir_hf.ui.views.scene_figures import heated
from rsctir_hf.ui.views.scene_results import hit_table, place_in_words
from tests.geo.rasters import picture, write
from tests.ui.tiny_models import BANK

CUT = (96, None, "")  # tile, ground sample distance, bands


def quiet(share, words):
    """Stand in for gradio's progress bar."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(open_scenes, "HF_HOME", tmp_path_factory.getbasetemp() / "hf")


@pytest.fixture
def handlers(bench):
    return SceneHandlers(bench)


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "mine.tif", picture(400, 320))


def searched(handlers, scene, query=BANK[0], *, rerank="none", cut=CUT):
    return handlers.search_scene(scene, query, rerank, 3, quiet, *cut)


def click(item):
    return gr.EventData(None, {"item": item})


def test_the_sample_scene_is_drawn_once_lies_on_the_map_and_says_what_it_is(handlers):
    message, scene, panel, upload = handlers.open_sample()
    assert "drawn by this project" in message
    assert "made-up place" in message
    assert scene.raster.size == (1280, 1024)
    assert scene.raster.gsd == pytest.approx((0.3, 0.3), rel=1e-3)
    assert panel["visible"]
    assert upload is None
    made = sample_scene().stat().st_mtime_ns
    handlers.open_sample()
    assert sample_scene().stat().st_mtime_ns == made


def test_a_query_marks_hits_on_scene_map_and_in_the_table(handlers, file):
    _, scene, _ = handlers.open_upload(str(file))
    message, answered = searched(handlers, scene)
    assert f"{len(answered.index.windows)} tiles searched" in message
    figure, size, cards, table, geojson, heat, hits = handlers.draw(answered, True, False)
    assert list(figure.data[-1].text) == ["1", "2", "3"]
    assert len(figure.data) == 4  # three outlines and the numbers
    assert len(figure.layout.images) == 1  # the scene, once
    assert "--rs-ratio:" in size
    assert cards.count("data-item") == 3
    assert table["headers"][2:] == ["longitude", "latitude"]
    assert [row[0] for row in table["data"]] == [1, 2, 3]
    assert len(json.loads(Path(geojson).read_text())["features"]) == 3
    with rasterio.open(heat) as written:
        assert written.crs == "EPSG:32632"
    assert hits["visible"]
    plain = handlers.draw(answered, False, False)[0]
    assert plain.layout.images[0].source != figure.layout.images[0].source


def test_what_is_no_confident_match_is_said_and_stays_pale(handlers, file, monkeypatch):
    _, scene, _ = handlers.open_upload(str(file))
    _, sure = searched(handlers, scene)
    plain = np.asarray(sure.picture, dtype=float)

    def glow(scene):
        return np.abs(np.asarray(heated(scene.picture, scene.answer, scene.raster.size)) - plain)

    scale = ScoreScale(1.9, 2.15, WORDS)  # a cosine of 2 fits
    monkeypatch.setattr("rsctir_hf.search.session.score_scale", lambda *_: scale)
    message, unsure = searched(handlers, sure)
    assert "Nothing in this scene fits well" in message
    assert handlers.draw(unsure, True, False)[2].count("rs-card rs-weak") == len(unsure.hits)
    assert glow(unsure).max() < glow(sure).max()


def test_a_second_query_embeds_nothing_again_but_another_cut_does(handlers, file):
    _, scene, _ = handlers.open_upload(str(file))
    _, first = searched(handlers, scene)
    _, second = searched(handlers, first, BANK[1])
    assert second.index is first.index
    _, third = searched(handlers, second, cut=(128, None, ""))
    assert third.index is not first.index


@pytest.mark.parametrize("rerank", ["smr", "mr", "match"])
def test_every_rerank_orders_the_tiles(handlers, file, rerank):
    _, scene, _ = handlers.open_upload(str(file))
    _, answered = searched(handlers, scene, rerank=rerank)
    order = [hit.rerank_score for hit in answered.answer.hits]
    assert order == sorted(order, reverse=True)


def test_bands_and_resolution_are_taken_from_the_controls(handlers, tmp_path):
    file = write(tmp_path / "b.tif", picture(200, 160, bands=5), photometric="minisblack")
    message, scene, _ = handlers.open_upload(str(file))
    assert "5 bands" in message
    _, answered = searched(handlers, scene, cut=(96, 0.2, "4,3,2"))
    assert answered.raster.bands == (4, 3, 2)
    assert answered.index.plan.gsd == pytest.approx(0.2)
    assert np.asarray(answered.picture).shape == (160, 200, 3)


def test_a_hit_opens_large_and_stands_out(handlers, file):
    _, scene, _ = handlers.open_upload(str(file))
    _, answered = searched(handlers, scene)
    content, rank, figure, _ = handlers.show(answered, False, False, click(1))
    assert "Hit 2" in content
    assert rank == 2
    with open(handlers.file(answered, 2), "rb") as offered:
        assert Image.open(offered).size == (96, 96)
    assert [trace.line.width for trace in figure.data[:3]] == [2, 4, 2]


def test_the_open_hit_goes_to_the_region_graph_with_its_words(handlers, file):
    _, scene, _ = handlers.open_upload(str(file))
    assert handlers.result(scene, 1) == (None, "")
    _, answered = searched(handlers, scene)
    shown, words = handlers.result(answered, 1)
    assert (shown.size, words) == ((96, 96), BANK[0])
    assert handlers.result(answered, 99) == (None, "")


def test_find_similar_asks_with_the_picture_of_the_hit(handlers, file):
    _, scene, _ = handlers.open_upload(str(file))
    _, answered = searched(handlers, scene)
    wanted = answered.answer.hits[1].window
    message, similar = handlers.similar(answered, 2, 3)
    assert "tiles searched" in message
    assert similar.answer.hits[0].window == wanted
    assert similar.answer.text is None


def test_a_scene_without_coordinates_is_searched_in_pixels_and_says_so(handlers, tmp_path):
    file = write(tmp_path / "a.tif", picture(), crs=None, transform=rasterio.Affine.identity())
    message, scene, _ = handlers.open_upload(str(file))
    assert "no coordinates" in message
    message, answered = searched(handlers, scene)
    assert "Give the ground sample distance" in message
    figure = handlers.draw(answered, True, True)[0]
    assert figure.layout.xaxis.range == (0, 300)
    assert [image.source[:5] for image in figure.layout.images] == ["data:"]  # no map to lay below
    assert hit_table(answered.answer)["headers"][2:] == ["column", "row"]
    assert place_in_words(answered.answer.hits[0]).startswith("column ")


def test_what_is_no_scene_is_refused_and_taken_off_the_page(handlers, tmp_path):
    text = tmp_path / "a.tif"
    text.write_text("no raster")
    blank = write(tmp_path / "blank.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    for file, reason in ((text, "not a raster"), (blank, "holds no data")):
        message, scene, panel = handlers.open_upload(str(file))
        assert "This scene cannot be used" in message
        assert reason in message
        assert str(tmp_path) not in message
        assert scene is None
        assert not panel["visible"]
    assert handlers.draw(None, True, False)[0] is None


@pytest.mark.parametrize(
    ("query", "cut", "reason"),
    [
        (" ", CUT, "The query is empty"),
        ("planes", (96, None, "red"), "numbers with commas"),
        ("planes", (96, None, "9"), "expected one or three"),
        ("planes", (8, None, ""), "expected 32 or more"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_and_the_scene_stays(
    handlers, file, query, cut, reason
):
    _, scene, _ = handlers.open_upload(str(file))
    message, kept = searched(handlers, scene, query, cut=cut)
    assert reason in message
    assert kept.raster == scene.raster


def test_a_search_without_a_scene_asks_for_one(handlers):
    assert "No scene is open" in searched(handlers, None)[0]


def test_a_scene_of_too_many_tiles_is_sent_to_the_command_line(handlers, file, monkeypatch):
    monkeypatch.setattr(open_scenes, "MOST_TILES", 5)
    _, scene, _ = handlers.open_upload(str(file))
    assert "rsctir scene" in searched(handlers, scene)[0]


def test_a_file_that_is_gone_is_said_in_words(handlers, file):
    _, scene, _ = handlers.open_upload(str(file))
    _, answered = searched(handlers, scene)
    file.unlink()
    with pytest.raises(gr.Error, match="does not exist"):
        handlers.draw(answered, True, False)


def test_saved_queries_are_kept_once_and_escaped(handlers):
    saved, shown = handlers.save("  planes <b> ", ())
    assert saved == ("planes <b>",)
    assert "planes &lt;b&gt;" in shown
    assert handlers.save("planes <b>", saved)[0] == saved
    assert handlers.save(" ", saved)[0] == saved
    for number in range(20):
        saved, _ = handlers.save(f"query {number}", saved)
    assert len(saved) == MOST_SAVED


def test_progress_tells_count_and_time_left():
    told = []
    timed(lambda share, words: told.append((share, words)))(5, 10)
    share, words = told[0]
    assert share == 0.5
    assert words == "5 of 10 tiles"  # one report is no pace


def test_empty_controls_mean_the_defaults():
    assert Cut.read(None, 0, "") == Cut()


def test_files_are_named_for_a_person(handlers, file):
    scene = open_scene(file).indexed(handlers.bench.retriever(), Cut(tile=96), quiet)
    names = [path.rsplit("/", 1)[-1] for path in files(scene.asked(text="planes").answer)]
    assert names == ["hits.geojson", "heat_map.tif"]


def test_a_scene_that_was_not_uploaded_is_refused(handlers):
    message, scene, panel = handlers.open_upload("/etc/hostname")
    assert "hostname is no upload" in message
    assert (scene, panel["visible"]) == (None, False)
