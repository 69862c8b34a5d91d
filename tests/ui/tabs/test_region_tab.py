"""What the events of the tab Region graph call, on tiny models."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.models.galr import GaLRRegionGraph
from rsctir_hf.regions.graph import NODE_COLUMNS
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.region_tab import GraphShown, RegionHandlers
from tests.ui.tiny_models import BANK, OnlyEmbeds

THRESHOLD = 0.85  # the tiny model's own


@pytest.fixture
def handlers(bench):
    return RegionHandlers(bench)


@pytest.fixture
def shown(bench, handlers):
    return handlers.find_regions(str(bench.gallery.paths[2]))[1]


def draw(handlers, shown, alike=THRESHOLD):
    names = ("figure", "sentence", "legend", "table", "panel", "as_json", "as_graphml")
    return dict(zip(names, handlers.draw(shown, alike, 20, 0.0), strict=True))


def test_the_table_has_no_column_for_labels_where_no_region_has_one(handlers, shown):
    table = draw(handlers, shown)["table"]
    assert table["headers"][:3] == ["#", "score", "salience"]
    assert {len(row) for row in table["data"]} == {len(table["headers"])}


def graph_of(count, config):
    """A picture with ``count`` regions side by side, padded to the model's number of regions."""
    size = config.max_regions
    mask = torch.arange(size) < count
    left = torch.arange(size) * 8.0
    boxes = torch.stack([left, left, left + 8, left + 8], dim=-1) * mask.unsqueeze(1)
    return GaLRRegionGraph(
        boxes=boxes[None],
        scores=mask[None].float(),
        mask=mask[None],
        kept=mask[None],
        dropped_by=torch.full((1, size), -1),
        similarity=torch.eye(size)[None],
        salience=mask[None].float(),
        adjacency=(torch.eye(size) * mask)[None],
    )


def test_a_region_graph_is_drawn_listed_and_written(bench, handlers):
    message, shown, slider, four, whole = handlers.find_regions(str(bench.gallery.paths[2]))
    drawn = draw(handlers, shown, slider["value"])
    rows = drawn["table"]["data"]
    assert slider["value"] == bench.region_retriever().encoder.model.config.denoise_similarity
    assert message == ""
    assert drawn["panel"]["visible"]
    assert four["visible"] and whole["visible"] and not four["open"] and not whole["open"]
    assert len(drawn["figure"].data[-1].text) == len(rows) >= 1
    assert drawn["table"]["headers"] == [name for name in NODE_COLUMNS if name != "label"]
    assert "The region model looks at" in drawn["sentence"]
    assert len(json.loads(Path(drawn["as_json"]).read_text())["nodes"]) == len(rows)
    assert "<graphml" in Path(drawn["as_graphml"]).read_text()


def test_another_threshold_is_said_to_be_a_variant(handlers, shown):
    drawn = draw(handlers, shown, alike=1.0)
    assert "would look at" in drawn["sentence"]
    assert all(row[-1] == "yes" for row in drawn["table"]["data"])


def test_nothing_is_drawn_without_a_picture(handlers):
    assert handlers.find_regions(None)[1] is None
    assert handlers.explain(None, "a pier") == ("", None)
    assert draw(handlers, None)["figure"] is None
    assert handlers.compare(None) == handlers.look(None) == ""


def test_words_explain_the_score_of_the_model_that_searches(bench, handlers, shown):
    message, explained = handlers.explain(shown, f"  {BANK[0]}\n")
    drawn = draw(handlers, explained)
    nothing = Regions(torch.zeros(0, 4), torch.zeros(0))
    score = bench.retriever().contributions(shown.picture, BANK[0], regions=nothing).whole[0]
    assert message == ""
    assert f"For “{BANK[0]}”, " in drawn["sentence"]
    assert f"{float(score):.2f}" in drawn["sentence"]
    assert "speaks for your words" in drawn["legend"]
    assert "contributions are of cmpagl, which searches" in drawn["legend"]
    place = drawn["table"]["headers"].index("contribution")
    assert all(row[place][0] in "+-" for row in drawn["table"]["data"])
    saved = json.loads(Path(drawn["as_json"]).read_text())
    assert saved["graph"]["words"] == BANK[0]
    assert all("contribution" in node for node in saved["nodes"])
    assert BANK[0] in Path(drawn["as_graphml"]).read_text()
    assert all("the result's score: " in text for text in drawn["figure"].data[-1].customdata)


def test_words_are_shown_where_they_are_in_the_picture(handlers, shown):
    assert handlers.where(None) == handlers.where(shown) == ""
    found = handlers.where(handlers.explain(shown, BANK[0])[1])
    assert found.count("<img") == 1 and f"Where: “{BANK[0]}”" in found


def test_the_regions_stay_while_the_words_change_or_go(handlers, shown):
    _, first = handlers.explain(shown, BANK[0])
    _, second = handlers.explain(first, BANK[1])
    assert second.found is first.found is shown.found
    assert not torch.equal(second.effect.whole, first.effect.whole)
    _, none = handlers.explain(second, "   ")
    assert none == shown
    assert "speaks for" not in draw(handlers, none)["legend"]


def test_words_of_any_kind_are_explained_and_shown_as_text(handlers, shown):
    for words in ("🚤", "{{x}} ${y} <b>", "pier\x00\x07 & boats", "pier " * 300):
        message, explained = handlers.explain(shown, words)
        drawn = draw(handlers, explained)
        assert message == "", words
        assert "<b>" not in drawn["sentence"]
        assert "\x00" not in Path(drawn["as_graphml"]).read_text()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_pictures_with_few_or_no_regions_get_a_drawing_and_a_sentence(bench, handlers, count):
    config = bench.region_retriever().encoder.model.config
    picture = Image.new("RGB", (50, 30))
    shown = GraphShown(picture, graph_of(count, config), config)
    _, explained = handlers.explain(shown, BANK[0])
    drawn = draw(handlers, explained)
    assert len(drawn["table"]["data"]) == count
    assert ("no region to leave out" in drawn["sentence"]) == (count == 0)
    assert handlers.compare(explained).count("<svg") == 4


def test_a_model_that_can_leave_nothing_out_says_so_and_the_graph_stays(
    bench, handlers, shown, monkeypatch
):
    asked = bench.retriever()
    plain = Retriever(Encoder(OnlyEmbeds(asked.encoder.model), asked.encoder.processor))
    monkeypatch.setattr(bench, "retriever", lambda: plain)
    message, explained = handlers.explain(shown, BANK[0])
    assert "No contributions" in message
    assert explained == shown


def test_with_a_region_model_that_searches_nodes_are_left_out(settings):
    bench = Workbench(replace(settings, model=settings.region_model))
    handlers = RegionHandlers(bench)
    _, shown, _, _, whole = handlers.find_regions(str(Path(settings.gallery) / "block_02.png"))
    assert not whole["visible"]  # GaLR has no global window
    assert "has no global window" in handlers.look(shown)
    _, explained = handlers.explain(shown, BANK[0])
    assert explained.effect.without_any is not None
    drawn = draw(handlers, explained)
    assert "For “" in drawn["sentence"]
    assert "which searches" not in drawn["legend"]  # one model does both


def test_four_switches_and_the_whole_picture_are_shown_on_demand(handlers, shown):
    four = handlers.compare(shown)
    assert four.count("<svg") == four.count("<figcaption>") == 4
    assert four.count("(the model&#x27;s own)") == 1
    assert "Block 1" in handlers.look(shown)
    assert "learned weight" in handlers.look(shown)
