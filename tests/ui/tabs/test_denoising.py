"""The region graph under another threshold."""

from dataclasses import dataclass

import torch

from rsctir_hf.models.galr import GaLRConfig, GaLRRegionGraph
from rsctir_hf.ui.tabs.denoising import own_threshold, with_threshold


@dataclass
class Plain:
    """A configuration without denoising."""

    drea: str = "plain"
    denoise_similarity: float = 0.85


def found(bench):
    retriever = bench.region_retriever()
    graph = retriever.dense_region_graph(bench.gallery.paths[2])
    return graph, retriever.encoder.model.config


def test_almost_the_own_threshold_gives_the_model_s_own_graph(bench):
    graph, config = found(bench)
    again = with_threshold(graph, config, min_similarity=config.denoise_similarity + 1e-9)
    assert again is not graph
    for name in ("kept", "dropped_by", "adjacency"):
        torch.testing.assert_close(again[name], graph[name])


def test_a_threshold_of_one_keeps_every_region_and_leaves_the_model_alone(bench):
    graph, config = found(bench)
    before = config.denoise_similarity
    assert torch.equal(with_threshold(graph, config, min_similarity=1.0).kept, graph.mask)
    assert config.denoise_similarity == before
    retriever = bench.region_retriever()
    assert torch.equal(retriever.dense_region_graph(bench.gallery.paths[2]).kept, graph.kept)


def test_a_lower_threshold_drops_what_looks_alike_at_the_same_place():
    boxes = torch.tensor([[[0.0, 0, 16, 16], [2, 2, 18, 18], [40, 40, 60, 60]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    alike = torch.tensor([[[1.0, 0.7, 0.7], [0.7, 1.0, 0.7], [0.7, 0.7, 1.0]]])
    graph = GaLRRegionGraph(
        boxes=boxes, scores=torch.ones(1, 3), mask=mask, kept=mask, similarity=alike,
        salience=torch.ones(1, 3),
    )  # fmt: skip
    fewer = with_threshold(graph, GaLRConfig(image_size=64), min_similarity=0.6)
    # Regions 1 and 2 are 2 pixels apart and 0.7 alike; region 3 is as alike but far away.
    assert fewer.kept.tolist() == [[True, False, True]]
    assert fewer.dropped_by.tolist() == [[-1, 0, -1]]
    assert fewer.adjacency[0, 1].abs().sum() == 0


def test_a_model_that_drops_nothing_has_no_threshold(bench):
    graph, _ = found(bench)
    assert own_threshold(Plain()) is None
    assert own_threshold(object()) is None
    assert with_threshold(graph, Plain(), min_similarity=0.1) is graph
