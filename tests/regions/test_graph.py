"""The region graph's views: PyG, networkx, exports and words."""

import io
import json
import sys
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("torch_geometric")
nx = pytest.importorskip("networkx")

import importlib  # noqa: E402

from torch_geometric.nn import GCNConv, GraphConv  # noqa: E402

from rsctir_hf.errors import MissingDependencyError  # noqa: E402
from rsctir_hf.models.galr import GaLRConfig  # noqa: E402
from rsctir_hf.models.galr.graph_galr import RegionBranch  # noqa: E402
from rsctir_hf.regions import graph as region_graphs  # noqa: E402
from rsctir_hf.regions.contribution import Contributions  # noqa: E402


@pytest.fixture
def graph():
    """Two pictures of four regions; in picture 0 region 1 is padding and region 2 was dropped."""
    boxes = torch.tensor([[0, 0, 8, 8], [0, 0, 0, 0], [2, 0, 10, 8], [20, 20, 30, 26]]).float()
    adjacency = torch.zeros(4, 4)
    adjacency[0, 0] = adjacency[3, 3] = 0.75
    adjacency[0, 3] = adjacency[3, 0] = 0.25
    similarity = torch.eye(4)
    similarity[0, 2] = similarity[2, 0] = 0.971
    similarity[0, 3] = similarity[3, 0] = 0.5
    return SimpleNamespace(
        boxes=boxes.expand(2, 4, 4),
        scores=torch.tensor([[0.9, 0.0, 0.8, 0.5]]).expand(2, 4),
        labels=None,
        mask=torch.tensor([[True, False, True, True], [False] * 4]),
        kept=torch.tensor([[True, False, False, True], [False] * 4]),
        dropped_by=torch.tensor([[-1, -1, 0, -1], [-1] * 4]),
        similarity=similarity.expand(2, 4, 4),
        salience=torch.tensor([[1.0, 0.0, 0.9, 0.6]]).expand(2, 4),
        adjacency=torch.stack([adjacency, torch.zeros(4, 4)]),
    )


def test_data_holds_the_nodes_without_padding(graph):
    data = region_graphs.to_data(graph)
    assert data.num_nodes == 3
    assert data.boxes[2].tolist() == [20, 20, 30, 26]
    assert data.pos.tolist() == [[4, 4], [6, 4], [25, 23]]
    assert data.kept.tolist() == [True, False, True]
    assert data.x is None
    assert data.validate()


def test_data_renumbers_the_cause_of_a_drop_past_the_padding(graph):
    graph.dropped_by[0, 2] = 3  # region 3 is node 2 once region 1 is gone
    assert region_graphs.to_data(graph).dropped_by.tolist() == [-1, 2, -1]


def test_edges_rebuild_the_dense_adjacency(graph):
    data = region_graphs.to_data(graph)
    dense = torch.zeros(3, 3)
    dense[data.edge_index[0], data.edge_index[1]] = data.edge_attr[:, 0]
    present = [0, 2, 3]
    assert torch.equal(dense, graph.adjacency[0][present][:, present])


def test_a_pyg_layer_on_the_data_equals_the_dense_product(graph):
    # GraphConv sums weight * x over the neighbours: with an identity weight and no root, A x
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    data = region_graphs.to_data(graph, x=x)
    layer = GraphConv(5, 5, bias=False)
    torch.nn.init.eye_(layer.lin_rel.weight)
    torch.nn.init.zeros_(layer.lin_root.weight)
    out = layer(data.x, data.edge_index, data.edge_attr[:, 0])
    torch.testing.assert_close(out, (graph.adjacency[0] @ x[0])[[0, 2, 3]])


def one_way(graph, *, seed=0):
    """Give both pictures random weights that differ from those of the edge back; some are 0."""
    draw = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, 4, 4, generator=draw)
    graph.adjacency = weights * (weights > 0.3)
    graph.mask = graph.kept = torch.ones(2, 4, dtype=torch.bool)
    graph.dropped_by = torch.full((2, 4), -1)
    return graph


@pytest.mark.parametrize("seed", range(5))
def test_the_dense_graph_layers_equal_pyg_layers_along_the_edges(graph, seed):
    # On weights that are not symmetric: the direction of every edge must be right.
    torch.manual_seed(seed)
    config = GaLRConfig(
        region_source="precomputed", region_feature_dim=5, graph_dims=(7, 6, 4), max_regions=4
    )
    branch = RegionBranch(config, [4]).eval()
    x, weights = torch.randn(2, 4, 5), one_way(graph, seed=seed).adjacency
    assert not torch.allclose(weights, weights.mT)
    dense = x
    for layer in branch.layers:
        dense = layer(dense, weights)
    for index in range(2):
        data = region_graphs.to_data(graph, index=index, x=x)
        hidden = data.x
        for layer in branch.layers:
            wide, narrow = layer.linear.in_features, layer.linear.out_features
            oracle = GCNConv(wide, narrow, bias=False, normalize=False, add_self_loops=False)
            oracle.lin.weight = layer.linear.weight
            hidden = torch.relu(oracle(hidden, data.edge_index, data.edge_attr[:, 0]))
        torch.testing.assert_close(hidden, dense[index])


def test_edges_lead_from_source_to_target(graph):
    data = region_graphs.to_data(one_way(graph))
    for (source, target), weight in zip(data.edge_index.T, data.edge_attr[:, 0], strict=True):
        assert weight == graph.adjacency[0, target, source]


def test_weights_that_differ_by_direction_give_a_directed_graph(graph):
    data = region_graphs.to_data(one_way(graph))
    drawn = region_graphs.to_networkx(data)
    assert drawn.is_directed()
    read = nx.read_graphml(io.BytesIO(region_graphs.to_graphml(data).encode()), node_type=int)
    for found in (
        drawn,
        read,
        as_json(region_graphs.to_node_link_json(data)),
    ):
        torch.testing.assert_close(weights_of(found), graph.adjacency[0])


def as_json(text):
    return nx.node_link_graph(json.loads(text), edges="edges")


def weights_of(drawn):
    """The dense adjacency A (target, source) that a networkx graph says."""
    dense = torch.zeros(len(drawn), len(drawn))
    for node, loop in drawn.nodes(data="self_weight", default=0.0):
        dense[node, node] = loop
    for source, target, weight in drawn.edges(data="weight"):
        dense[target, source] = weight
        if not drawn.is_directed():
            dense[source, target] = weight
    return dense


def test_exported_files_hold_the_whole_adjacency_self_loops_included(graph):
    data = region_graphs.to_data(graph)
    present = [0, 2, 3]
    expected = graph.adjacency[0][present][:, present]
    read = nx.read_graphml(io.BytesIO(region_graphs.to_graphml(data).encode()), node_type=int)
    for drawn in (read, as_json(region_graphs.to_node_link_json(data))):
        assert not drawn.is_directed()
        assert torch.equal(weights_of(drawn), expected)


def test_data_says_what_was_dropped_and_why(graph):
    graph.labels = torch.tensor([[0, -1, 1, 7]]).expand(2, 4)
    data = region_graphs.to_data(graph, label_names=["plane", "ship"])
    assert data.numbers.tolist() == [1, 3, 4]
    assert data.reasons == ["", "0.97 alike and overlapping #1", ""]
    assert data.names == ["plane", "ship", "7"]


@pytest.mark.parametrize("name", ["boxes", "scores", "salience", "similarity", "adjacency"])
def test_values_that_are_not_finite_are_refused_by_name(graph, name):
    broken = getattr(graph, name).clone()
    broken[0, 0] = float("nan")
    setattr(graph, name, broken)
    with pytest.raises(ValueError, match="values that are not finite"):
        region_graphs.to_data(graph)


def test_networkx_has_no_self_loops_and_names_the_drop(graph):
    drawn = region_graphs.to_networkx(region_graphs.to_data(graph))
    assert list(drawn.edges) == [(0, 2)]
    assert drawn.edges[0, 2] == {"weight": 0.25, "similarity": 0.5}
    assert drawn.nodes[1]["dropped"] == "0.97 alike and overlapping #1"
    assert drawn.nodes[1]["number"] == 3
    assert drawn.nodes[1]["score"] == pytest.approx(0.8)
    assert "dropped" not in drawn.nodes[0]


def test_exports_read_back_as_the_same_graph(graph):
    data = region_graphs.to_data(graph)
    drawn = region_graphs.to_networkx(data)
    from_json = nx.node_link_graph(json.loads(region_graphs.to_node_link_json(data)), edges="edges")
    text = region_graphs.to_graphml(data).encode()
    from_graphml = nx.read_graphml(io.BytesIO(text), node_type=int)
    for read in (from_json, from_graphml):
        assert dict(read.nodes(data=True)) == dict(drawn.nodes(data=True))
        assert list(read.edges(data=True)) == list(drawn.edges(data=True))


def test_a_drop_by_its_centre_alone_is_called_close(graph):
    graph.boxes = graph.boxes.clone()
    # 5 x 8 of 11 x 8 pixels: IoU 40 / 88 is below 0.5, the centres are 3 < 8 / 2 apart
    graph.boxes[0, 2] = torch.tensor([3.0, 0.0, 11.0, 8.0])
    assert region_graphs.describe_drop(graph, 2) == "0.97 alike and close to #1"
    lower = region_graphs.describe_drop(graph, 2, min_iou=0.4)
    assert lower == "0.97 alike and overlapping #1"
    assert region_graphs.describe_drop(graph, 0) == ""


def test_node_table_has_a_row_for_each_region(graph):
    rows = region_graphs.node_table(region_graphs.to_data(graph))
    assert rows == [
        [1, "", 0.9, 1.0, 0, 0, 8, 8, "yes"],
        [3, "", 0.8, 0.9, 2, 0, 8, 8, "0.97 alike and overlapping #1"],
        [4, "", 0.5, 0.6, 20, 20, 10, 6, "yes"],
    ]
    assert all(len(row) == len(region_graphs.NODE_COLUMNS) for row in rows)


def contributions_of(**changed):
    """Contributions of regions 1 and 4 to one query; region 3 was not used by the model."""
    found = {
        "boxes": torch.zeros(3, 4),
        "scores": torch.ones(3),
        "numbers": torch.tensor([1, 3, 4]),
        "kept": torch.tensor([True, False, True]),
        "whole": torch.tensor([0.5]),
        "masked": torch.tensor([[0.375], [0.5], [0.75]]),
    }
    return Contributions(**(found | changed))


def test_an_explained_graph_says_what_each_region_contributes(graph):
    data = region_graphs.to_data(graph)
    found = region_graphs.explained(data, contributions_of(), words="a pier")
    assert "contributions" not in data
    rows = region_graphs.node_table(found)
    place = region_graphs.node_columns(found).index("contribution")
    # 0.5 - 0.375 and 0.5 - 0.75
    assert [row[place] for row in rows] == ["+0.125", "-", "-0.250"]
    plain = [row[:place] + row[place + 1 :] for row in rows]
    assert plain == region_graphs.node_table(region_graphs.to_data(graph))
    assert region_graphs.node_columns(data) == list(region_graphs.NODE_COLUMNS)


def test_the_exports_of_an_explained_graph_hold_the_query_and_the_contributions(graph):
    found = contributions_of(without_any=torch.tensor([0.25]))
    data = region_graphs.explained(region_graphs.to_data(graph), found, words="a <pier> & more")
    drawn = region_graphs.to_networkx(data)
    assert drawn.graph == {"words": "a <pier> & more", "whole": 0.5, "without_any": 0.25}
    assert drawn.nodes[0]["contribution"] == 0.125
    assert "contribution" not in drawn.nodes[1]
    from_json = json.loads(region_graphs.to_node_link_json(data))
    assert from_json["graph"]["words"] == "a <pier> & more"
    assert [node.get("contribution") for node in from_json["nodes"]] == [0.125, None, -0.25]
    text = region_graphs.to_graphml(data).encode()
    assert nx.read_graphml(io.BytesIO(text), node_type=int).graph["without_any"] == 0.25


def test_boxes_for_another_model_keep_their_numbers_and_fit_the_picture(graph):
    found = region_graphs.to_regions(graph, input_side=32, picture_size=(64, 16))
    assert len(found.boxes) == graph.mask.shape[1]  # padding stays, so that row k is number k + 1
    scale = torch.tensor([2.0, 0.5, 2.0, 0.5])
    torch.testing.assert_close(found.boxes, graph.boxes[0] * scale)
    torch.testing.assert_close(found.scores, graph.scores[0])


def test_labels_are_named_where_names_are_known(graph):
    graph.labels = torch.tensor([[0, -1, 1, 7]]).expand(2, 4)
    data = region_graphs.to_data(graph, label_names=["plane", "ship"])
    assert [row[1] for row in region_graphs.node_table(data)] == ["plane", "ship", "7"]
    assert region_graphs.to_networkx(data).nodes[0]["label"] == "plane"
    assert region_graphs.to_data(graph).labels.tolist() == [0, 1, 7]


def test_a_picture_without_regions_is_an_empty_graph(graph):
    data = region_graphs.to_data(graph, index=1)
    assert data.num_nodes == 0
    assert len(region_graphs.to_networkx(data)) == 0
    assert region_graphs.node_table(data) == []
    assert "graphml" in region_graphs.to_graphml(data)


def test_half_precision_graphs_are_read(graph):
    graph.adjacency, graph.boxes = graph.adjacency.half(), graph.boxes.half()
    assert region_graphs.to_data(graph).edge_attr.dtype == torch.float32


def test_bad_picture_region_and_features_are_named(graph):
    with pytest.raises(ValueError, match="index is 2"):
        region_graphs.to_data(graph, index=2)
    with pytest.raises(ValueError, match="region 1 of picture 0 is padding"):
        region_graphs.describe_drop(graph, 1)
    with pytest.raises(ValueError, match=r"x is \(1, 4, 5\)"):
        region_graphs.to_data(graph, x=torch.zeros(1, 4, 5))


@pytest.mark.parametrize("package", ["networkx", "torch_geometric"])
def test_a_missing_package_names_the_pip_line(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "rsctir_hf.regions.graph")
    with pytest.raises(MissingDependencyError, match=r"pip install 'rsctir_hf\[app\]'"):
        importlib.import_module("rsctir_hf.regions.graph")
