"""The page with a CLIP, a SigLIP or a Siglip2 behind it, which have no regions and no figures."""

from pathlib import Path

import gradio as gr
import pytest

from rsctir_hf.ui.endpoints import Endpoints
from rsctir_hf.ui.layout import build_app
from rsctir_hf.ui.server.settings import parse_settings
from rsctir_hf.ui.server.workbench import Phase, Workbench
from rsctir_hf.ui.tabs.about_tab import figures_table
from rsctir_hf.ui.tabs.picture_tab import PictureHandlers
from rsctir_hf.ui.tabs.region_tab import RegionHandlers
from rsctir_hf.ui.tabs.search_answers import SearchHandlers
from rsctir_hf.ui.views.header import header
from rsctir_hf.ui.views.results import ShownHits
from tests.foreign_encoders import FOREIGN, save_foreign
from tests.ui.conftest import wait_until_over
from tests.ui.tiny_models import BANK


@pytest.fixture(scope="module", params=list(FOREIGN))
def foreign(request, launch_flags, tmp_path_factory):
    """A ready launch on a model of transformers, and one with a GaLR beside it."""
    folder = save_foreign(request.param, tmp_path_factory.mktemp("foreign") / request.param)
    flags = [*launch_flags, "--model", str(folder)]
    benches = []
    for region_model in ([], ["--region-model", ""]):
        bench = Workbench(parse_settings([*flags, *region_model], {}, root=Path()))
        bench.retriever()
        wait_until_over(bench)
        assert bench.status.phase is Phase.READY, bench.status.message
        benches.append(bench)
    return benches[1], benches[0]


@pytest.fixture
def alone(foreign):
    return foreign[0]


@pytest.fixture
def with_galr(foreign):
    return foreign[1]


def test_badge_and_facts_say_name_and_size_and_that_nothing_was_measured(alone):
    name = Path(alone.settings.model).name
    shown = header(alone)
    assert f"<strong>{name}</strong>: not evaluated" in shown
    table = figures_table(alone.facts)
    assert name in table and "was not evaluated" in table
    assert not alone.facts.can_match
    assert build_app(alone).blocks


@pytest.mark.parametrize("rerank", ["none", "smr", "mr"])
def test_search_and_picture_tabs_answer(alone, rerank):
    message, grid, _, shown, *_ = SearchHandlers(alone).search(BANK[0], rerank, 6)
    assert "alert" not in message
    assert len(shown.hits) == 6 and grid.count("rs-card") >= 6
    picture = str(alone.gallery.paths[2])
    message, sentences, _ = PictureHandlers(alone).describe(picture, rerank)
    assert "alert" not in message and any(sentence in sentences for sentence in BANK)
    found, similar = PictureHandlers(alone).similar(picture, rerank)
    assert "rs-card" in found and similar.hits


def test_without_a_region_model_the_region_tab_names_the_remedy(alone):
    picture = str(alone.gallery.paths[2])
    message, shown, *_ = RegionHandlers(alone).find_regions(picture)
    assert "--region-model" in message and shown is None
    assert "<img" in SearchHandlers(alone).why(picture, ShownHits(words="a pier"))
    with pytest.raises(gr.Error, match="--region-model"):
        Endpoints(alone).region_graph(picture)


def test_with_a_region_model_regions_are_shown_and_nothing_is_said_of_their_effect(with_galr):
    handlers = RegionHandlers(with_galr)
    message, shown, _, _, whole = handlers.find_regions(str(with_galr.gallery.paths[2]))
    assert message == "" and shown is not None
    assert whole["visible"] is False  # no global window to look through
    refusal, unexplained = handlers.explain(shown, BANK[0])
    assert "No contributions" in refusal and unexplained.effect is None


def test_clients_get_answers(alone):
    calls = Endpoints(alone)
    picture = str(alone.gallery.paths[2])
    assert len(calls.find_pictures(BANK[0], "smr", 3)["results"]) == 3
    assert len(calls.find_sentences(picture, "none", 3)["results"]) == 3
    assert len(calls.find_similar_pictures(picture, "mr", 3)["results"]) == 3
    with pytest.raises(gr.Error, match="no match"):
        calls.find_pictures(BANK[0], "match", 3)
