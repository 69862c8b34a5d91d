"""DREA's four graphs of one picture beside one another."""

import pytest
import torch

pytest.importorskip("torch_geometric")

from rsctir_hf.regions.drea import DREA_SWITCHES, drea_graphs
from rsctir_hf.regions.graph import to_data
from tests.models.test_modeling_galr import model_of, pictures_of

PARTS = ("boxes", "scores", "mask", "kept", "dropped_by", "similarity", "salience", "adjacency")


@pytest.mark.parametrize("own", DREA_SWITCHES)
def test_each_graph_is_what_a_model_with_that_switch_would_build(own):
    # 64 x 96 pixels: the reach of an edge hangs on both sides
    settings = {"denoise_similarity": 0.2, "proposal_iou": 0.9, "max_regions": 12}
    pictures = pictures_of(2, size=(64, 96))
    model = model_of(drea=own, **settings)
    found = drea_graphs(model.get_region_graph(pictures), model.config, image_size=(64, 96))
    assert tuple(found) == DREA_SWITCHES
    for drea, graph in found.items():
        expected = model_of(drea=drea, **settings).get_region_graph(pictures)
        for name in PARTS:
            torch.testing.assert_close(
                graph[name], expected[name], msg=lambda m, n=name: f"{n} {m}"
            )


def test_the_four_graphs_differ_where_their_switches_do():
    settings = {"denoise_similarity": 0.2, "proposal_iou": 0.9, "max_regions": 12}
    model = model_of(**settings)
    graphs = drea_graphs(model.get_region_graph(pictures_of(1)), model.config)
    nodes = {name: int(graph.kept.sum()) for name, graph in graphs.items()}
    assert nodes["plain"] == nodes["enhanced"] > nodes["denoise"] == nodes["both"] > 0
    weights = {name: graph.adjacency for name, graph in graphs.items()}
    assert not torch.allclose(weights["plain"], weights["enhanced"])
    assert not torch.allclose(weights["denoise"], weights["both"])


def test_a_square_of_the_models_size_is_taken_unless_said_otherwise():
    model = model_of()
    found = model.get_region_graph(pictures_of(1))
    own, larger = (drea_graphs(found, model.config, **size)["both"].adjacency
                   for size in ({}, {"image_size": (128, 128)}))  # fmt: skip
    torch.testing.assert_close(own, found.adjacency)
    assert not torch.allclose(larger, found.adjacency)


@pytest.mark.parametrize("count", [0, 1])
def test_no_region_and_one_region_give_four_graphs(count):
    model = model_of()
    boxes = torch.tensor([[[4.0, 4, 30, 40]]])[:, :count]
    found = model.get_region_graph(pictures_of(1), region_boxes=boxes)
    for graph in drea_graphs(found, model.config).values():
        data = to_data(graph)
        assert data.num_nodes == count and data.edge_index.shape == (2, count)
