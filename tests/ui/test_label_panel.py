"""Tick boxes of labels on the page, and their endpoint, on tiny models."""

import gradio as gr
import pytest
import torch

from rsctir_hf.labels.code_network import LabelCoder
from rsctir_hf.labels.expression import read_labels
from rsctir_hf.labels.label_head import LabelHead
from rsctir_hf.search.label_search import LabelSearch
from rsctir_hf.ui.loop_endpoints import LoopEndpoints
from rsctir_hf.ui.server.marked import Marks
from rsctir_hf.ui.tabs.label_panel import ALL_OF_THEM, ANY_OF_THEM, find, offer, ticked
from rsctir_hf.ui.tabs.loop_answers import LoopHandlers
from rsctir_hf.ui.tabs.search_answers import ANY_TYPE, GALLERY, Controls, Visit
from rsctir_hf.ui.views.address import Asked, read_address
from rsctir_hf.ui.views.results import picture_detail
from tests.ui.tiny_models import BANK

NAMES = ("bare-soil", "dock", "ship")


@pytest.fixture
def knowing(bench, monkeypatch):
    """A head of random weights, as if it lay beside the model."""
    retriever = bench.retriever()
    torch.manual_seed(0)
    dim = len(retriever.encoder.texts(["a"])[0])
    head = LabelHead(NAMES, LabelCoder(dim, len(NAMES)), retriever.encoder.made_by)
    monkeypatch.setattr(LabelSearch, "head", lambda self, named=None: head)
    return LoopHandlers(bench)


def controls(asked=None, top_k=6):
    return ["none", top_k, ANY_TYPE, None, GALLERY, None, Visit(), asked or Asked(), Marks()]


@pytest.mark.parametrize(
    ("shows", "lacks", "any_of", "expected"),
    [
        (["ship"], [], False, "ship"),
        (["ship", "dock"], ["bare-soil"], False, "ship and dock and not bare-soil"),
        (["ship", "dock"], ["bare-soil"], True, "(ship or dock) and not bare-soil"),
        ([], ["ship", "dock"], True, "not ship and not dock"),
    ],
)
def test_ticks_are_an_expression(shows, lacks, any_of, expected):
    assert str(read_labels(ticked(shows, lacks, any_of=any_of), NAMES)) == expected
    assert ticked([], [], any_of=any_of) == ""


def test_labels_are_offered_where_the_model_brings_them(bench, knowing, monkeypatch):
    said, shows, lacks = offer(knowing)
    assert said == "" and shows["choices"] == lacks["choices"]
    assert shows["choices"] == [("bare soil", "bare-soil"), ("dock", "dock"), ("ship", "ship")]
    monkeypatch.undo()
    assert "No label head" in offer(LoopHandlers(bench))[0]


def test_what_is_ticked_is_answered_and_stands_in_the_address(knowing):
    message, grid, _, shown, asked, _ = find(
        knowing, ["ship"], ALL_OF_THEM, ["bare-soil"], *controls()
    )
    assert "pictures for ship and not bare-soil" in message
    assert grid.count("<img") == len(shown.hits) == 6
    large = picture_detail(shown.hits[0], shown)
    assert "Likely" in large and "%" in large and "Similarity" not in large
    likely = [hit.score for hit in shown.hits]
    assert likely == sorted(likely, reverse=True) and all(0 <= each <= 1 for each in likely)
    again = read_address(asked.address)
    assert again.labels == asked.labels and again.link() == asked.link()
    assert knowing.answer(again, Controls(*controls()))[3].hits[:6] == shown.hits
    words = knowing.search(BANK[0], *controls(asked))
    assert words[4].labels == "" and words[4].q == BANK[0]


def test_a_contradiction_is_said_in_one_line_and_nothing_ticked_browses(knowing):
    refused = find(knowing, ["ship"], ANY_OF_THEM, ["ship"], *controls())
    assert "wanted and not wanted" in refused[0] and not refused[3].hits
    message, grid, *_ = find(knowing, [], ALL_OF_THEM, [], *controls())
    assert "Nothing is ticked" in message and "<img" in grid


def test_the_endpoint_answers_and_refuses_in_words(bench, knowing):
    answer = LoopEndpoints(bench).find_by_labels("ship or dock", top_k=3)
    assert len(answer["results"]) == 3 and 0 <= answer["results"][0]["score"] <= 1
    with pytest.raises(gr.Error, match="No label is called 'boat'"):
        LoopEndpoints(bench).find_by_labels("boat")
