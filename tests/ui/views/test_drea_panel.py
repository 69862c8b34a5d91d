"""The four DREA switches side by side."""

import networkx as nx
import torch
from PIL import Image

from rsctir_hf.models.galr import GaLRConfig, GaLRRegionGraph
from rsctir_hf.ui.views.drea_panel import compare_switches, in_words


def two_alike_and_one_apart():
    boxes = torch.tensor([[[0.0, 0, 16, 16], [2, 2, 18, 18], [40, 40, 60, 60]]])
    alike = torch.full((1, 3, 3), 0.9)
    mask = torch.ones(1, 3, dtype=torch.bool)
    return GaLRRegionGraph(boxes=boxes, scores=torch.ones(1, 3), mask=mask, similarity=alike)


def test_each_switch_has_a_drawing_and_says_what_it_leaves_out():
    config = GaLRConfig(image_size=64, drea="both", denoise_similarity=0.85)
    html = compare_switches(Image.new("RGB", (128, 64)), two_alike_and_one_apart(), config)
    parts = html.split("<figcaption>")[1:]
    # Region 2 repeats region 1: two pixels apart and 0.9 alike.
    kept = ["3 regions;", "2 regions, 1 left out;", "3 regions;", "2 regions, 1 left out;"]
    names = ["Plain", "Denoise", "Enhanced", "Both (the model&#x27;s own)"]
    for part, name, words in zip(parts, names, kept, strict=True):
        assert part.startswith(f"<strong>{name}</strong> {words}")
        assert part.count("<rect") == 3
        assert ("stroke-dasharray" in part) == ("left out" in words)
    assert 'viewBox="0 0 128 64"' in html
    assert '<rect x="80.0" y="40.0" width="40.0" height="20.0"' in html  # twice as wide


def test_words_for_graphs_of_any_size():
    graph = nx.Graph()
    assert in_words(graph) == "0 regions; no ties"
    graph.add_node(0, number=1, kept=True, salience=1.0)
    assert in_words(graph) == "1 region; no ties"
    graph.add_node(1, number=4, kept=True, salience=0.5)
    graph.add_node(2, number=5, kept=False, salience=0.4)
    graph.add_edge(0, 1, weight=0.2)
    assert in_words(graph) == "2 regions, 1 left out; 1 tie, strongest #1–#4"  # noqa: RUF001
