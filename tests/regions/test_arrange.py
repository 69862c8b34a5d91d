"""A picture's graph under each of DREA's switches, and under another threshold."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("torch_geometric")

from rsctir_hf.models.galr import GaLRConfig, GaLRRegionGraph
from rsctir_hf.regions.arrange import DREA_SWITCHES, own_threshold, rearranged
from rsctir_hf.regions.graph import to_data
from tests.models.test_modeling_galr import model_of, pictures_of

PARTS = ("boxes", "scores", "mask", "kept", "dropped_by", "similarity", "salience", "adjacency")


@pytest.mark.parametrize("own", DREA_SWITCHES)
def test_each_graph_is_what_a_model_with_that_switch_would_build(own):
    # 64 x 96 pixels: the reach of an edge hangs on both sides
    settings = {"denoise_similarity": 0.2, "proposal_iou": 0.9, "max_regions": 12}
    pictures = pictures_of(2, size=(64, 96))
    model = model_of(drea=own, **settings)
    found = model.get_region_graph(pictures)
    for drea in DREA_SWITCHES:
        graph = rearranged(found, model.config, image_size=(64, 96), drea=drea)
        expected = model_of(drea=drea, **settings).get_region_graph(pictures)
        for name in PARTS:
            torch.testing.assert_close(
                graph[name], expected[name], msg=lambda m, n=name: f"{n} {m}"
            )


def test_the_four_graphs_differ_where_their_switches_do():
    settings = {"denoise_similarity": 0.2, "proposal_iou": 0.9, "max_regions": 12}
    model = model_of(**settings)
    found = model.get_region_graph(pictures_of(1))
    graphs = {drea: rearranged(found, model.config, drea=drea) for drea in DREA_SWITCHES}
    nodes = {name: int(graph.kept.sum()) for name, graph in graphs.items()}
    assert nodes["plain"] == nodes["enhanced"] > nodes["denoise"] == nodes["both"] > 0
    weights = {name: graph.adjacency for name, graph in graphs.items()}
    assert not torch.allclose(weights["plain"], weights["enhanced"])
    assert not torch.allclose(weights["denoise"], weights["both"])


def test_a_square_of_the_models_size_is_taken_unless_said_otherwise():
    model = model_of()
    found = model.get_region_graph(pictures_of(1))
    own, larger = (rearranged(found, model.config, **size).adjacency
                   for size in ({}, {"image_size": (128, 128)}))  # fmt: skip
    torch.testing.assert_close(own, found.adjacency)
    assert not torch.allclose(larger, found.adjacency)


@pytest.mark.parametrize("count", [0, 1])
def test_no_region_and_one_region_give_four_graphs(count):
    model = model_of()
    boxes = torch.tensor([[[4.0, 4, 30, 40]]])[:, :count]
    found = model.get_region_graph(pictures_of(1), region_boxes=boxes)
    for drea in DREA_SWITCHES:
        data = to_data(rearranged(found, model.config, drea=drea))
        assert data.num_nodes == count and data.edge_index.shape == (2, count)


@dataclass
class Plain:
    """A configuration without denoising."""

    drea: str = "plain"
    denoise_similarity: float = 0.85


def test_the_own_threshold_gives_the_model_s_own_graph():
    model = model_of()
    graph = model.get_region_graph(pictures_of(1))
    again = rearranged(graph, model.config, min_similarity=own_threshold(model.config))
    for name in PARTS:
        torch.testing.assert_close(again[name], graph[name])


def test_a_threshold_of_one_keeps_every_region_and_leaves_the_model_alone():
    model = model_of(denoise_similarity=0.2, proposal_iou=0.9, max_regions=12)
    graph = model.get_region_graph(pictures_of(1))
    assert not torch.equal(graph.kept, graph.mask)
    assert torch.equal(rearranged(graph, model.config, min_similarity=1.0).kept, graph.mask)
    assert model.config.denoise_similarity == 0.2
    assert torch.equal(model.get_region_graph(pictures_of(1)).kept, graph.kept)


def test_a_lower_threshold_drops_what_looks_alike_at_the_same_place():
    boxes = torch.tensor([[[0.0, 0, 16, 16], [2, 2, 18, 18], [40, 40, 60, 60]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    alike = torch.tensor([[[1.0, 0.7, 0.7], [0.7, 1.0, 0.7], [0.7, 0.7, 1.0]]])
    graph = GaLRRegionGraph(
        boxes=boxes, scores=torch.ones(1, 3), mask=mask, kept=mask, similarity=alike,
        salience=torch.ones(1, 3),
    )  # fmt: skip
    fewer = rearranged(graph, GaLRConfig(image_size=64), min_similarity=0.6)
    # Regions 1 and 2 are 2 pixels apart and 0.7 alike; region 3 is as alike but far away.
    assert fewer.kept.tolist() == [[True, False, True]]
    assert fewer.dropped_by.tolist() == [[-1, 0, -1]]
    assert fewer.adjacency[0, 1].abs().sum() == 0


def test_a_model_that_drops_nothing_has_no_threshold():
    assert own_threshold(Plain()) is None
    assert own_threshold(object()) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"denoise_similarity": 0.4}, None),
        ({"drea": "both"}, None),
        ({"drea": "both", "denoise_similarity": 0.4}, 0.4),
        ({"drea": "denoise", "denoise_similarity": 0.4}, 0.4),
        ({"drea": "enhanced", "denoise_similarity": 0.4}, None),
    ],
)
def test_a_configuration_of_any_model_is_asked_for_its_threshold(fields, expected):
    assert own_threshold(SimpleNamespace(**fields)) == expected
