"""What the events of the page call, on tiny models."""

import json
from dataclasses import replace

import gradio as gr
import pytest

from rsctir_hf.search.confidence import Level
from rsctir_hf.ui.endpoints import Endpoints
from rsctir_hf.ui.server.workbench import Phase, Status, Workbench
from rsctir_hf.ui.tabs.picture_tab import PictureHandlers
from rsctir_hf.ui.tabs.region_tab import RegionHandlers
from rsctir_hf.ui.tabs.scene_tab import SceneHandlers
from rsctir_hf.ui.tabs.search_tab import GALLERY, OWN, SearchHandlers, search_message
from rsctir_hf.ui.views.results import ShownHits
from tests.ui.bad_uploads import write_bad, write_good
from tests.ui.tiny_models import BANK


@pytest.fixture(scope="module")
def good_uploads(tmp_path_factory):
    return write_good(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def bad_uploads(tmp_path_factory):
    return write_bad(tmp_path_factory.mktemp("bad"))


def click(item):
    return gr.EventData(None, {"item": item})


def search(bench, query, *, rerank="none", top_k=6, where=GALLERY, own=None):
    return SearchHandlers(bench).search(query, rerank, top_k, None, where, own)


def test_a_search_shows_as_many_cards_as_asked(bench):
    message, grid, shown, _ = search(bench, BANK[0], top_k=8)
    assert message == ""
    assert grid.count("rs-card") >= 8
    assert len(shown.hits) == 8
    assert "rs-move" not in grid


@pytest.mark.parametrize("rerank", ["smr", "mr", "match"])
def test_a_rerank_says_who_moved_and_how_far(bench, rerank):
    message, grid, shown, _ = search(bench, BANK[0], rerank=rerank)
    assert grid.count('class="rs-move ') == len(shown.hits)
    assert message.startswith('<p class="rs-note">Reranking ')


@pytest.mark.parametrize("query", ["", "   ", "\n"])
def test_an_empty_query_is_answered_with_a_request_for_words(bench, query):
    message, grid, shown, _ = search(bench, query)
    assert 'role="alert"' in message
    assert "The query is empty" in message
    assert (grid, shown) == ("", ShownHits())


@pytest.mark.parametrize("query", ["🚤🚤🚤", "pier " * 300, "Boote neben einem Steg", "{{x}} ${y}"])
def test_odd_queries_get_results(bench, query):
    message, grid, _, _ = search(bench, query)
    assert "rs-card" in grid
    assert ("About your query" in message) == ("x" not in query)


def test_a_query_of_a_page_is_refused_with_the_number_of_characters(bench):
    message, grid, _, _ = search(bench, "pier " * 401)
    assert "has 2,005 characters; at most 2,000" in message
    assert grid == ""


@pytest.mark.parametrize(
    "data", [{"item": 99}, {"item": -1}, {"item": "0"}, {"item": True}, {}, None]
)
def test_a_click_on_what_is_not_shown_is_refused_in_words(bench, data):
    handlers = SearchHandlers(bench)
    _, _, shown, _ = search(bench, "boats")
    with pytest.raises(gr.Error, match="not shown any more"):
        handlers.show(shown, gr.EventData(None, data))


def test_a_search_while_indexing_says_how_much_it_saw(bench, monkeypatch):
    monkeypatch.setattr(bench, "status", Status(Phase.INDEXING, done=16, total=200))
    message, *_ = search(bench, BANK[0])
    assert "16 of 200 pictures were ready" in message


@pytest.mark.parametrize(
    ("level", "said"),
    [("nothing", "No confident match"), ("perhaps", "not clearly what you asked for")],
)
def test_doubts_are_said_once_hits_are_judged(bench, level, said):
    hits = [replace(hit, level=Level(level)) for hit in bench.retriever().search(BANK[0])]
    assert said in search_message(None, ShownHits(tuple(hits)))
    sure = (*hits, replace(hits[0], level=Level.FITS))
    unjudged = [replace(hit, level=None) for hit in hits]
    assert search_message(None, ShownHits(sure)) == ""
    assert search_message(None, ShownHits(tuple(unjudged))) == ""


def test_the_detail_of_a_card_names_file_place_and_ranks(bench):
    *_, shown, _ = search(bench, BANK[0], rerank="smr")
    html, panel, path, _ = SearchHandlers(bench).show(shown, click(1))
    assert panel["visible"]
    assert path == shown.hits[1].path
    picture, words = SearchHandlers(bench).result(path, shown)
    assert (picture.size, words) == ((64, 64), BANK[0])
    for words in ("block_", "EPSG:32632", "Before reranking", "test block", "64 x 64 pixels"):
        assert words in html


def test_below_a_result_stand_the_regions_the_region_model_looks_at(bench, bad_uploads):
    handlers = SearchHandlers(bench)
    shown = handlers.why(str(bench.gallery.paths[2]))
    assert 1 <= shown.count("<i style=") <= 6
    assert "do not depend on what you searched for" in shown
    assert handlers.why(str(bad_uploads[0])) == handlers.why(None) == ""
    alone = Workbench(replace(bench.settings, region_model=None))
    alone.retriever = bench.retriever
    assert SearchHandlers(alone).why(str(bench.gallery.paths[2])) == ""


def test_own_pictures_are_searched_only_when_chosen(bench):
    handlers = SearchHandlers(bench)
    own, message, where = handlers.add_pictures([str(path) for path in bench.gallery.paths[1:4]])
    assert "3 pictures of yours" in message
    assert where["value"] == OWN
    *_, shown, _ = search(bench, BANK[0], where=OWN, own=own)
    assert len(shown.hits) == 3
    assert shown.gallery is None
    *_, shown, _ = search(bench, BANK[0], where=GALLERY, own=own)
    assert len(shown.hits) == 6


def test_taking_own_pictures_away_goes_back_to_the_gallery(bench):
    own, _, where = SearchHandlers(bench).add_pictures(None)
    assert own is None
    assert where["value"] == GALLERY


@pytest.mark.parametrize("rerank", ["none", "smr", "mr", "match"])
def test_a_picture_gets_sentences_and_similar_pictures(bench, rerank):
    handlers, path = PictureHandlers(bench), str(bench.gallery.paths[1])
    _, sentences = handlers.describe(path, rerank)
    grid, shown = handlers.similar(path, rerank)
    assert sentences.count("rs-sentence-body") == 5
    assert "Similar pictures" in grid
    assert handlers.take_result(shown, click(0)).size == (64, 64)


def test_uploads_of_unusual_kinds_are_answered(bench, good_uploads):
    for path in good_uploads:
        assert "rs-sentence" in PictureHandlers(bench).describe(str(path), "none")[1], path.name
        assert RegionHandlers(bench).find_regions(str(path))[1] is not None, path.name


def test_uploads_that_are_no_pictures_are_refused_with_a_reason(bench, bad_uploads):
    assert len(bad_uploads) == 5
    for path in bad_uploads:
        message, sentences = PictureHandlers(bench).describe(str(path), "none")
        assert "This picture cannot be used" in message, path.name
        assert path.name in message
        assert str(path.parent) not in message
        assert sentences == ""
        assert PictureHandlers(bench).similar(str(path), "none") == ("", ShownHits())
        message, shown, *_ = RegionHandlers(bench).find_regions(str(path))
        assert "cannot be used" in message
        assert shown is None


def test_endpoints_answer_with_json_and_no_folders(bench):
    calls = Endpoints(bench)
    answers = [
        calls.find_pictures(BANK[0], rerank="smr", top_k=3, with_images=True),
        calls.find_sentences(str(bench.gallery.paths[1]), top_k=3),
        calls.find_similar_pictures(str(bench.gallery.paths[1]), top_k=3),
        calls.region_graph(str(bench.gallery.paths[1])),
    ]
    for answer in answers:
        assert str(bench.gallery.paths[1].parent) not in json.dumps(answer)
    first = answers[0]["results"][0]
    assert {"rank", "score", "caption", "file", "rank_before", "rerank_score", "image"} <= set(
        first
    )
    assert len(answers[1]["results"]) == 3


def test_endpoints_refuse_with_the_reason(bench, bad_uploads):
    calls = Endpoints(bench)
    with pytest.raises(gr.Error, match="query is empty"):
        calls.find_pictures("")
    with pytest.raises(gr.Error, match="rerank"):
        calls.find_pictures("a pier", rerank="best")
    for call in (calls.find_sentences, calls.find_similar_pictures, calls.region_graph):
        with pytest.raises(gr.Error, match=bad_uploads[0].name):
            call(str(bad_uploads[0]))
        with pytest.raises(gr.Error):
            call(None)


@pytest.mark.parametrize("top_k", [float("nan"), "7", None, [], {}])
def test_endpoints_refuse_a_number_that_is_none(bench, top_k):
    with pytest.raises(gr.Error, match="top_k"):
        Endpoints(bench).find_pictures("a pier", top_k=top_k)


@pytest.mark.parametrize(("top_k", "found"), [(-5, 1), (10**30, 20), (float("inf"), 20)])
def test_endpoints_bring_any_number_into_bounds(bench, top_k, found):
    assert len(Endpoints(bench).find_pictures("a pier", top_k=top_k)["results"]) == found


def test_events_that_come_with_nothing_are_answered(bench):
    assert RegionHandlers(bench).explain(None, None) == ("", None)
    message, scene = SceneHandlers(bench).similar(None, 1, 5)
    assert "No scene is open" in message and scene is None
    assert SceneHandlers(bench).save(None, ())[0] == ()
