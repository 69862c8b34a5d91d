"""The drawing of a region graph."""

import networkx as nx
import pytest
from PIL import Image

from rsctir_hf.ui.views.region_figures import (
    ADDS,
    KEPT,
    TAKES,
    GraphView,
    graph_sentence,
    region_figure,
)


@pytest.fixture
def graph():
    made = nx.Graph()
    for node, salience in enumerate((0.4, 1.0, 0.7)):
        corner = 8.0 * node
        box = {"x1": corner, "y1": corner, "x2": corner + 8, "y2": corner + 8}
        made.add_node(node, number=node + 1, score=0.5, salience=salience, kept=True, **box)
    made.nodes[0].update(kept=False, dropped="0.97 alike and overlapping #2")
    made.add_edge(1, 2, weight=0.2)
    made.add_edge(0, 1, weight=0.8)
    return made


def test_the_most_salient_regions_come_first(graph):
    assert GraphView(2).nodes(graph) == [1, 2]


def test_edges_of_dropped_regions_are_not_drawn_and_weights_are_shares(graph):
    assert GraphView(3).edges(graph) == [(1, 2, 1.0)]
    assert GraphView(1).edges(graph) == []


def test_boxes_are_scaled_from_the_model_input_to_the_picture(graph):
    picture = Image.new("RGB", (128, 64))
    figure = region_figure(picture, graph, GraphView(3), input_side=32)
    box = figure.data[1]  # after the one edge: node 1, corners 8 and 16 of 32
    assert (min(box.x), max(box.x)) == (32, 64)  # times 128 / 32
    assert (min(box.y), max(box.y)) == (16, 32)  # times 64 / 32
    assert tuple(figure.layout.yaxis.range) == (64, 0)


def test_a_dropped_region_looks_different_and_says_why(graph):
    figure = region_figure(Image.new("RGB", (32, 32)), graph, GraphView(3), input_side=32)
    centres = figure.data[-1]
    assert list(centres.marker.symbol) == ["circle", "circle", "square"]
    assert "left out: 0.97 alike and overlapping #2" in centres.customdata[2]
    assert figure.data[3].line.dash == "dot"


def test_the_sentence_counts_regions_and_names_the_strongest_tie(graph):
    sentence = graph_sentence(graph, GraphView(3))
    assert "looks at 2 regions" in sentence
    assert "leaves 1 out" in sentence
    assert "between #2 and #3" in sentence


def test_contributions_are_drawn_with_sign_and_colour(graph):
    graph.nodes[1]["contribution"], graph.nodes[2]["contribution"] = 0.062, -0.02
    figure = region_figure(Image.new("RGB", (32, 32)), graph, GraphView(3), input_side=32)
    centres = figure.data[-1]
    assert list(centres.marker.color)[:2] == [ADDS, TAKES]
    assert [note.text for note in figure.layout.annotations] == ["<b>+0.06</b>", "<b>−0.02</b>"]  # noqa: RUF001
    assert "adds to the result's score: +0.062" in centres.customdata[0]
    assert "takes from the result's score: −0.020" in centres.customdata[1]  # noqa: RUF001


def test_a_contribution_too_small_to_read_is_not_coloured_but_told_on_hover(graph):
    graph.nodes[1]["contribution"] = 0.0012
    figure = region_figure(Image.new("RGB", (32, 32)), graph, GraphView(3), input_side=32)
    assert figure.layout.annotations == ()
    assert figure.data[-1].marker.color[0] == KEPT
    assert "+0.001" in figure.data[-1].customdata[0]


def test_a_left_out_region_that_moves_the_score_shows_it(graph):
    graph.nodes[0]["contribution"] = 0.2  # of a model that uses the boxes alone
    picture = Image.new("RGB", (48, 24))
    drawn = region_figure(picture, graph, GraphView(3), input_side=24)
    assert ADDS in [trace.line.color for trace in drawn.data if trace.mode == "lines"]
    assert {trace.line.dash for trace in drawn.data if trace.line.color == ADDS} == {"dot"}
