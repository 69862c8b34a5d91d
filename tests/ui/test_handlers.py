"""What the events of the page call, on tiny models."""

import json
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from rsctir_hf.files.metadata import PictureRow
from rsctir_hf.files.names import named_path
from rsctir_hf.search.confidence import Level
from rsctir_hf.search.retriever import Hit
from rsctir_hf.ui.endpoints import Endpoints
from rsctir_hf.ui.server.workbench import Phase, Status
from rsctir_hf.ui.tabs.picture_tab import PictureHandlers
from rsctir_hf.ui.tabs.region_tab import RegionHandlers
from rsctir_hf.ui.tabs.scene_tab import SceneHandlers
from rsctir_hf.ui.tabs.search_answers import (
    ANY_TYPE,
    GALLERY,
    OWN,
    PAGE,
    SearchHandlers,
    Visit,
    offered_file,
    search_message,
)
from rsctir_hf.ui.views.address import Asked
from rsctir_hf.ui.views.results import ShownHits, picture_results, without
from rsctir_hf.ui.views.samples import shown_copy
from tests.geo.rasters import picture, write
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


def search(bench, query, *, rerank="none", top_k=6, kind=ANY_TYPE, where=GALLERY, own=None):
    """Search; return message, grid, what is shown, what was asked."""
    answer = SearchHandlers(bench).search(query, rerank, top_k, kind, None, where, own)
    message, grid, _, shown, asked, _ = answer
    return message, grid, shown, asked


def test_a_search_shows_as_many_cards_as_asked(bench):
    message, grid, shown, _ = search(bench, BANK[0], top_k=8)
    assert "Best of 21 pictures" in message
    assert grid.count("data-item") == 8
    assert len(shown.hits) == 8
    assert "rs-move" not in grid


@pytest.mark.parametrize("rerank", ["smr", "mr", "match"])
def test_a_rerank_says_who_moved_and_how_far(bench, rerank):
    message, grid, shown, _ = search(bench, BANK[0], rerank=rerank)
    assert grid.count('class="rs-move ') == len(shown.hits)
    assert '<p class="rs-note">Reranking ' in message


@pytest.mark.parametrize("query", ["", "   ", "\n", None])
def test_without_words_the_gallery_is_shown_and_words_are_asked_for(bench, query):
    message, grid, shown, asked = search(bench, query, rerank="smr")
    assert "Nothing was typed" in message
    assert grid.count("rs-card") == len(shown.hits) == 21
    assert "rs-score" not in grid and "rs-rank" not in grid
    assert (asked.rerank, asked.address) == ("none", "")


@pytest.mark.parametrize("query", ["🚤🚤🚤", "pier " * 300, "Boote neben einem Steg", "{{x}} ${y}"])
def test_odd_queries_get_results(bench, query):
    message, grid, _, _ = search(bench, query)
    assert "rs-card" in grid
    assert ("About your query" in message) == ("x" not in query)


def test_a_query_of_a_page_is_refused_with_the_number_of_characters(bench):
    message, grid, _, _ = search(bench, "pier " * 401)
    assert "has 2,004 characters; at most 2,000" in message
    assert grid == ""


@pytest.mark.parametrize(
    "data", [{"item": 99}, {"item": -1}, {"item": "0"}, {"item": True}, {}, None]
)
def test_a_click_on_what_is_not_shown_is_refused_in_words(bench, data):
    handlers = SearchHandlers(bench)
    _, _, shown, asked = search(bench, "boats")
    with pytest.raises(gr.Error, match="not shown any more"):
        handlers.show(shown, asked, gr.EventData(None, data))


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
    weak = picture_results(ShownHits(tuple(hits)), label="").count("rs-weak")
    assert weak == (len(hits) if level == "nothing" else 0)
    sure = (*hits, replace(hits[0], level=Level.FITS))
    unjudged = [replace(hit, level=None) for hit in hits]
    assert search_message(None, ShownHits(sure)) == ""
    assert search_message(None, ShownHits(tuple(unjudged))) == ""


def test_the_detail_of_a_card_names_file_place_and_ranks(bench):
    *_, shown, asked = search(bench, BANK[0], rerank="smr")
    html, path, _, asked, address = SearchHandlers(bench).show(shown, asked, click(1))
    assert path == shown.hits[1].path
    assert asked.open == 2 and 'data-open="2"' in address
    picture, words = SearchHandlers(bench).result(path, shown)
    assert (picture.size, words) == ((64, 64), BANK[0])
    for words in ("block_", "EPSG:32632", "Before reranking", "test block", "64 x 64 pixels"):
        assert words in html
    with open(offered_file(path), "rb") as offered:
        assert offered.read() == Path(path).read_bytes()


def test_find_similar_leaves_the_picture_itself_out(bench):
    handlers = SearchHandlers(bench)
    *_, shown, _ = search(bench, BANK[0])
    path = shown.hits[0].path
    words, message, _grid, _, alike, asked, address = handlers.similar(
        path, shown, "none", 6, ANY_TYPE, None, GALLERY, None
    )
    name = Path(path).name
    assert words == "" and asked.like == name and f"like={name}" in address
    assert f"Most like {name}" in message
    assert path not in [hit.path for hit in alike.hits]
    assert [hit.rank for hit in alike.hits] == [1, 2, 3, 4, 5, 6]
    every = bench.retriever().search(image=path, top_k=7)
    assert [hit.path for hit in alike.hits] == [hit.path for hit in every if hit.path != path][:6]


def test_a_gap_that_is_left_closes_in_both_orders():
    hits = [Hit(n, f"{n}.png", None, 0.5, n + 1, before, 0.1) for n, before in enumerate((3, 1, 2))]
    assert [(hit.rank, hit.rank_before) for hit in without("1.png", hits)] == [(1, 2), (2, 1)]
    assert without("9.png", hits) == hits


def test_an_address_brings_the_same_answer_back(bench):
    handlers = SearchHandlers(bench)
    _, grid, shown, asked = search(bench, BANK[2], rerank="smr", top_k=8)
    *_, asked, _ = handlers.show(shown, asked, click(2))
    answer = handlers.restore(Visit(), gr.EventData(None, {"address": asked.address}))
    words, on, rerank, _, results, _, tabs, large, path, _, again, _, _, restored, kept = answer
    assert (words, on, rerank, results) == (BANK[2], True, "smr", 8)
    assert again == grid and path == shown.hits[2].path and Path(path).name in large
    assert restored == asked and 'data-open="3"' in kept
    assert tabs.selected == "search"


@pytest.mark.parametrize("address", [None, 7, "?open=99", "?page=-3&results=x", "?like=gone.png"])
def test_an_address_that_makes_no_sense_is_answered(bench, address):
    *_, message, _, _, _, asked, kept = SearchHandlers(bench).restore(
        Visit(), gr.EventData(None, {"address": address})
    )
    assert "data-open" not in kept
    assert asked.page == 1
    assert ("no picture gone.png" in message) == ("gone" in str(address))


def test_a_scene_type_filters_pictures_to_browse_and_results(bench, monkeypatch):
    rows = {
        path: replace(bench.gallery.record(path), category=f"kind_{number % 2}")
        for number, path in enumerate(map(str, bench.gallery.paths))
    }
    monkeypatch.setattr(bench, "gallery", replace(bench.gallery, records=rows))
    odd = {path for path, row in rows.items() if row.category == "kind_1"}
    for query in ("", BANK[0]):
        message, _, shown, asked = search(bench, query, top_k=48, kind="kind_1")
        assert {hit.path for hit in shown.hits} == odd
        assert asked.type == "kind_1"
    assert "Best of 10 pictures" in message


@pytest.mark.parametrize(("row", "said"), [
    (PictureRow(captions=("a pier",)), True), (PictureRow(category="pier"), False),
])  # fmt: skip
def test_whose_words_they_are_is_said_only_where_there_are_words(bench, monkeypatch, row, said):
    records = {named_path(str(path)): row for path in bench.gallery.paths}
    monkeypatch.setattr(bench, "gallery", replace(bench.gallery, records=records))
    controls = ("none", 6, ANY_TYPE, None, GALLERY, None, Visit())
    message, *_ = SearchHandlers(bench).search(BANK[0], *controls)
    assert ("quotation marks" in message) is said


def test_a_launch_offers_the_gallery_to_whom_has_asked_nothing(bench, monkeypatch):
    handlers, visit = SearchHandlers(bench), Visit()
    kinds, message, _grid, _, shown = handlers.launched(ShownHits(), visit)
    assert not kinds["visible"] and len(shown.hits) == 21 and "Browse 21" in message
    browse = handlers.browse

    def asked_meanwhile(asked):
        handlers.search(BANK[0], "none", 6, ANY_TYPE, None, GALLERY, None, visit)
        return browse(asked)

    assert handlers.launched(ShownHits(), visit, ["__theme", "q"])[1:] == (gr.skip(),) * 4
    monkeypatch.setattr(handlers, "browse", asked_meanwhile)
    assert handlers.launched(ShownHits(), visit)[1:] == (gr.skip(),) * 4
    monkeypatch.setattr(bench, "gallery", None)
    assert handlers.launched(ShownHits(), Visit()) == (gr.skip(),) * 5


def test_the_gallery_has_pages(bench, monkeypatch):
    paths = tuple(bench.gallery.paths[1:2] * (2 * PAGE + 1))
    monkeypatch.setattr(bench, "gallery", replace(bench.gallery, paths=paths))
    handlers = SearchHandlers(bench)
    _message, _grid, pages, shown, asked, address = handlers.turn(Asked(), GALLERY, None, click(3))
    assert "Page 3 of 3" in pages and len(shown.hits) == 1 and "page=3" in address
    assert handlers.turn(asked, GALLERY, None, click(9))[4].page == 3
    with pytest.raises(gr.Error):
        handlers.turn(asked, GALLERY, None, click(-1))


def test_below_a_result_stands_where_the_words_are_in_it(bench, bad_uploads):
    handlers, asked = SearchHandlers(bench), ShownHits(words="a <pier>")
    path = str(bench.gallery.paths[2])
    shown = handlers.why(path, asked)
    assert shown.count("<img") == 1 and "Where: “a &lt;pier&gt;”" in shown
    assert shown != handlers.why(path, ShownHits(words="many planes"))
    assert handlers.why(str(bad_uploads[0]), asked) == handlers.why(None, asked) == ""
    assert handlers.why(path, ShownHits()) == ""  # a picture was asked for, or nothing


def test_own_pictures_are_searched_only_when_chosen(bench):
    handlers = SearchHandlers(bench)
    own, message, where = handlers.add_pictures([str(path) for path in bench.gallery.paths[1:4]])
    assert "3 pictures of yours" in message
    assert where["value"] == OWN
    *_, shown, _ = search(bench, BANK[0], where=OWN, own=own)
    assert len(shown.hits) == 3
    assert shown.gallery is own.gallery
    assert len(search(bench, "", where=OWN, own=own)[2].hits) == 3
    *_, shown, _ = search(bench, BANK[0], where=GALLERY, own=own)
    assert len(shown.hits) == 6


def test_taking_own_pictures_away_goes_back_to_the_gallery(bench):
    own, _, where = SearchHandlers(bench).add_pictures(None)
    assert own is None
    assert where["value"] == GALLERY


@pytest.mark.parametrize("rerank", ["none", "smr", "mr", "match"])
def test_a_picture_gets_sentences_and_similar_pictures(bench, rerank):
    handlers, path = PictureHandlers(bench), str(bench.gallery.paths[1])
    _, sentences, to_scene = handlers.describe(path, rerank)
    assert not to_scene["visible"]
    grid, shown = handlers.similar(path, rerank)
    assert len(shown.hits) == 12 and path not in [hit.path for hit in shown.hits]
    assert sentences.count("rs-sentence-body") == 5
    assert "Similar pictures" in grid
    large, opened = handlers.show(shown, click(0))
    assert Path(opened).name in large
    picture, source = handlers.take_result(opened)
    assert (picture.size, source) == ((64, 64), opened)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_geotiff_is_searched_shown_and_sent_to_the_scenes(bench, tmp_path, dtype):
    values = picture(300, 200) if dtype == "uint8" else picture(300, 200).astype(dtype) * 40
    file = str(write(tmp_path / "a.tif", values))
    shown, source = shown_copy(file)
    assert (shown.size, shown.mode, source) == ((300, 200), "RGB", file)
    message, sentences, to_scene = PictureHandlers(bench).describe(file, "none")
    assert "open it in Scene" in message and to_scene["visible"]
    assert sentences.count("rs-sentence-body") == 5
    assert len(PictureHandlers(bench).similar(file, "none")[1].hits) == 12


def test_what_browsers_draw_or_nobody_can_stays_as_it_is(bench, tmp_path):
    damaged = tmp_path / "a.tif"
    damaged.write_bytes(b"II*\0 cut short")
    for path in (str(bench.gallery.paths[1]), str(damaged), None):
        assert shown_copy(path) == (gr.skip(), path)


def test_uploads_of_unusual_kinds_are_answered(bench, good_uploads):
    for path in good_uploads:
        assert "rs-sentence" in PictureHandlers(bench).describe(str(path), "none")[1], path.name
        assert RegionHandlers(bench).find_regions(str(path))[1] is not None, path.name


def test_uploads_that_are_no_pictures_are_refused_with_a_reason(bench, bad_uploads):
    assert len(bad_uploads) == 5
    for path in bad_uploads:
        message, sentences, _ = PictureHandlers(bench).describe(str(path), "none")
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
