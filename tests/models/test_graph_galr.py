"""Regions, DREA and graph layers of GaLR against closed forms, slow oracles and PyG."""

import pytest
import torch
import torchvision
from torch_geometric.nn import DenseGCNConv, GCNConv

from rsctir_hf.models.galr.configuration_galr import GaLRConfig
from rsctir_hf.models.galr.graph_galr import (
    GraphLayer,
    RegionBranch,
    normalise_adjacency,
    region_adjacency,
    weigh_edges,
)
from rsctir_hf.models.galr.regions_galr import (
    RegionSet,
    arrange_regions,
    pairwise_iou,
    propose_regions,
    roi_features,
)

SIZE = (64, 96)


def random_boxes(batch=3, count=8, *, seed=0):
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, count, 2, generator=draw) * torch.tensor([60.0, 40.0])
    return torch.cat((corner, corner + 4 + 20 * torch.rand(batch, count, 2, generator=draw)), -1)


def regions_of(boxes, *, labels=None, mask=None):
    scores = torch.linspace(1, 0.1, boxes.shape[1]).expand(boxes.shape[:2])
    mask = torch.ones(boxes.shape[:2], dtype=torch.bool) if mask is None else mask
    return RegionSet(boxes, scores * mask, labels, mask)


def random_similarity(batch=3, count=8):
    vectors = torch.nn.functional.normalize(torch.rand(batch, count, 4), dim=-1)
    return vectors @ vectors.transpose(1, 2)


def branch_of(**settings):
    small = {"region_dim": 8, "graph_dims": (8, 6), "fusion_dim": 16, "max_regions": 5}
    torch.manual_seed(0)
    return RegionBranch(GaLRConfig(**{**small, **settings}), [4, 4, 6, 6]).eval()


def maps_of(batch=2, size=SIZE):
    torch.manual_seed(1)
    channels = ((4, 4), (4, 8), (6, 16), (6, 32))
    return [torch.randn(batch, wide, size[0] // s, size[1] // s) for wide, s in channels]


def test_pairwise_iou_equals_torchvision():
    boxes = random_boxes()
    expected = torch.stack([torchvision.ops.box_iou(each, each) for each in boxes])
    torch.testing.assert_close(pairwise_iou(boxes), expected)


def test_roi_features_of_a_constant_map_are_that_constant():
    level = torch.full((1, 3, 4, 6), 2.5)
    features = roi_features([level], random_boxes(1), SIZE)
    torch.testing.assert_close(features, torch.full((1, 8, 3), 2.5))


def test_roi_features_of_a_ramp_are_its_value_at_the_box_centre():
    # Cell i of an 8 px stride map holds its centre's x = 8 i + 4, and bilinear reading is exact on
    # a linear map away from the rim, so the mean under a box is the centre's x.
    ramp = (torch.arange(12.0) * 8 + 4).expand(1, 1, 8, 12)
    boxes = torch.tensor([[[20.0, 16, 44, 40], [33, 21, 51, 47]]])
    features = roi_features([ramp], boxes, SIZE)
    torch.testing.assert_close(features[..., 0], torch.tensor([[32.0, 42.0]]))


def test_a_lone_bright_cell_is_proposed_first_at_its_place():
    level = torch.zeros(1, 2, 8, 12)
    level[0, :, 4, 7] = 3.0  # its centre lies at x = 7.5 * 8 = 60, y = 4.5 * 8 = 36
    found = propose_regions([level], image_size=SIZE, count=4, cells=3, max_iou=0.3)
    assert found.boxes[0, 0].tolist() == [48, 24, 72, 48]
    assert found.scores[0, 0] == pytest.approx(1, abs=1e-4)


def test_proposals_are_sorted_inside_the_picture_and_suppressed():
    found = propose_regions(maps_of(4)[2:], image_size=SIZE, count=6, cells=3, max_iou=0.3)
    height, width = SIZE
    assert found.boxes.min() >= 0
    assert found.boxes[..., 0::2].max() <= width and found.boxes[..., 1::2].max() <= height
    assert (found.scores.diff(dim=1) <= 0).all()
    both = found.mask.unsqueeze(1) & found.mask.unsqueeze(2) & ~torch.eye(6, dtype=torch.bool)
    assert pairwise_iou(found.boxes)[both].max() <= 0.3


def test_proposals_of_a_picture_do_not_hang_on_its_batch():
    maps = [level.clone() for level in maps_of(3)[2:]]
    for level in maps:
        level[1] = 0.0  # all cells equal: every one is a peak, and order decides
    together = propose_regions(maps, image_size=SIZE, count=6, cells=3, max_iou=0.3)
    for row in range(3):
        alone = propose_regions(
            [level[row : row + 1] for level in maps],
            image_size=SIZE,
            count=6,
            cells=3,
            max_iou=0.3,
        )
        assert torch.equal(alone.boxes[0], together.boxes[row])
        assert torch.equal(alone.mask[0], together.mask[row])


def test_more_boxes_than_nodes_keep_the_strongest():
    boxes = random_boxes(1, 5)
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7, 0.3]])
    found = arrange_regions(boxes, scores, None, None, image_size=SIZE, count=3)
    assert torch.equal(found.boxes[0], boxes[0, [1, 3, 2]])


def test_unsound_boxes_are_masked_and_others_clipped():
    boxes = torch.tensor(
        [
            [
                [-10.0, -10, 20, 20],  # clipped
                [200, 200, 220, 220],  # outside
                [30, 30, 20, 20],  # reversed
                [float("nan"), 0, 5, 5],
                [0, 0, float("inf"), 5],
                [5, 5, 5.2, 9],  # thinner than a pixel
            ]
        ]
    )
    found = arrange_regions(boxes, None, None, None, image_size=SIZE, count=6)
    assert found.mask[0].tolist() == [True] + [False] * 5
    assert found.boxes[0, 0].tolist() == [0, 0, 20, 20]
    assert not found.boxes[0, 1:].any()


def test_scores_that_are_not_numbers_count_as_zero():
    scores = torch.tensor([[float("nan"), 0.4, float("inf")]])
    found = arrange_regions(random_boxes(1, 3), scores, None, None, image_size=SIZE, count=3)
    assert found.scores[0].tolist() == pytest.approx([0.4, 0, 0])


def test_labels_travel_with_their_boxes():
    labels = torch.tensor([[7, 8, 9]])
    scores = torch.tensor([[0.1, 0.3, 0.2]])
    found = arrange_regions(random_boxes(1, 3), scores, labels, None, image_size=SIZE, count=4)
    assert found.labels[0].tolist() == [8, 9, 7, -1]


def test_graph_layer_equals_gcn_conv_without_normalisation():
    nodes, adjacency = torch.randn(5, 6), torch.rand(5, 5)
    layer = GraphLayer(6, 4)
    oracle = GCNConv(6, 4, bias=False, normalize=False, add_self_loops=False)
    oracle.lin.weight = layer.linear.weight
    source, target = adjacency.t().nonzero().t()  # an edge i <- j carries A_ij
    edges = torch.stack((source, target))
    expected = torch.relu(oracle(nodes, edges, adjacency[target, source]))
    torch.testing.assert_close(layer(nodes[None], adjacency[None])[0], expected)


def test_normalised_graph_layer_equals_dense_gcn_conv():
    boxes, kept = random_boxes(3, 8), torch.ones(3, 8, dtype=torch.bool)
    adjacency = region_adjacency(boxes, random_similarity(), reach=20)
    layer, nodes = GraphLayer(6, 4), torch.randn(3, 8, 6)
    oracle = DenseGCNConv(6, 4, bias=False)
    oracle.lin.weight = layer.linear.weight
    expected = torch.relu(oracle(nodes, adjacency, add_loop=False))
    torch.testing.assert_close(layer(nodes, normalise_adjacency(adjacency, kept)), expected)


@pytest.mark.parametrize(
    ("drea", "drops", "differs"),
    [
        ("plain", False, False),
        ("denoise", True, False),
        ("enhanced", False, True),
        ("both", True, True),
    ],
)
def test_drea_switch_turns_on_its_halves(drea, drops, differs):
    boxes = torch.tensor([[[0.0, 0, 30, 30], [2, 2, 32, 32], [50, 20, 80, 50]]])
    graphs = {}
    for name in ("plain", drea):
        branch = branch_of(drea=name, denoise_similarity=-1.0)
        regions = branch.find_regions(maps_of(1), SIZE, boxes, torch.tensor([[0.9, 0.8, 0.3]]))
        graphs[name], _ = branch.build_graph(maps_of(1), SIZE, regions)
    graph = graphs[drea]
    assert (not graph.kept[0, 1]) == drops
    assert graph.dropped_by[0, 1] == (0 if drops else -1)
    alone = (graph.adjacency - graphs["plain"].adjacency)[0, [0, 2]][:, [0, 2]].abs().max()
    assert (alone > 1e-4) == (differs or drops)


def test_pooling_by_mean_ignores_the_order_of_nodes():
    branch = branch_of()
    nodes, kept = torch.randn(1, 5, 13), torch.tensor([[True, True, True, False, True]])
    nodes = nodes * kept.unsqueeze(-1)
    adjacency = normalise_adjacency(torch.ones(1, 5, 5), kept)
    order = torch.tensor([4, 0, 3, 1, 2])
    turned = adjacency[:, order][:, :, order]
    first, _ = branch(nodes, adjacency, kept)
    second, _ = branch(nodes[:, order], turned, kept[:, order])
    torch.testing.assert_close(first, second)


def test_labels_of_the_vocabulary_are_one_hot_and_others_empty():
    branch = branch_of(region_labels=("plane", "ship"), max_regions=3)
    boxes, labels = random_boxes(1, 3), torch.tensor([[1, -1, 5]])
    scores = torch.tensor([[0.9, 0.8, 0.7]])
    regions = branch.find_regions(maps_of(1), SIZE, boxes, scores, labels)
    _, nodes = branch.build_graph(maps_of(1), SIZE, regions)
    assert nodes[0, :, -2:].tolist() == [[0, 1], [0, 0], [0, 0]]


def test_a_picture_without_labels_has_none_of_the_vocabulary():
    branch = branch_of(region_labels=("plane", "ship"), max_regions=3)
    boxes = random_boxes(1, 3)
    _, nodes = branch.find_graph(maps_of(1), SIZE, boxes, torch.tensor([[0.9, 0.8, 0.7]]))
    assert not nodes[0, :, -2:].any() and nodes[0, :, :-2].any()
    first = branch.find_graph(maps_of(1), SIZE, boxes, None, torch.tensor([[0, 2, 1]]))[1]
    assert first[0, :, -2:].tolist() == [[1, 0], [0, 0], [0, 1]]


def test_a_node_ends_with_its_centre_size_and_score():
    # Of a picture 96 px wide and 64 px high: x 24..48 and y 16..48.
    branch = branch_of(drea="plain", max_regions=2)
    boxes = torch.tensor([[[24.0, 16, 48, 48], [0, 0, 96, 64]]])
    scores = torch.tensor([[0.75, 0.5]])
    _, nodes = branch.find_graph(maps_of(1), SIZE, boxes, scores)
    expected = torch.tensor([[0.375, 0.5, 0.25, 0.5, 0.75], [0.5, 0.5, 1, 1, 0.5]])
    torch.testing.assert_close(nodes[0, :, 8:], expected)
    assert nodes.shape == (1, 2, branch.layers[0].linear.in_features)


def test_what_was_handed_in_reaches_the_graph():
    branch = branch_of(drea="plain", max_regions=4)
    boxes, mask = random_boxes(1, 4), torch.tensor([[True, True, False, True]])
    scores, labels = torch.tensor([[0.2, 0.9, 0.8, 0.4]]), torch.tensor([[5, 6, 7, 8]])
    graph, _ = branch.find_graph(maps_of(1), SIZE, boxes, scores, labels, mask)
    assert graph.scores[0].tolist() == pytest.approx([0.9, 0.4, 0.2, 0])
    assert graph.labels[0].tolist() == [6, 8, 5, -1]
    assert graph.mask[0].tolist() == [True, True, True, False]


def test_regions_are_compared_by_what_they_show_not_by_how_much_of_it():
    # The second region's features are twice the first's: cosine 1. The third is at right angles.
    branch = branch_of(drea="plain", max_regions=3, region_levels=(0,))
    level = torch.zeros(1, 4, 16, 24)
    level[0, 0, :, :8], level[0, 0, :, 8:16], level[0, 1, :, 16:] = 1.0, 2.0, 3.0
    boxes = torch.tensor([[[4.0, 8, 28, 56], [36, 8, 60, 56], [68, 8, 92, 56]]])
    graph, _ = branch.find_graph([level], SIZE, boxes, torch.tensor([[0.9, 0.8, 0.7]]))
    expected = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(graph.similarity[0], expected)


@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_the_local_vector_is_the_projection_of_the_pooled_nodes(pooling):
    branch = branch_of(region_pooling=pooling, region_dropout=0.0).train()
    kept = torch.tensor([[True, False, True, False, False], [False] * 5])
    nodes = torch.randn(2, 5, 13) * kept.unsqueeze(-1)
    adjacency = torch.rand(2, 5, 5) * (kept.unsqueeze(1) & kept.unsqueeze(2))
    vector, present = branch(nodes, adjacency, kept)
    for layer in branch.layers:
        nodes = torch.relu(adjacency @ nodes @ layer.linear.weight.T)
    pooled = torch.stack([nodes[0, [0, 2]].mean(dim=0), torch.zeros(6)])
    pooled = nodes.reshape(2, 30) if pooling == "flatten" else pooled
    expected = torch.nn.functional.normalize(branch.projection(pooled), dim=-1)
    torch.testing.assert_close(vector, expected)
    assert present.tolist() == [True, False]


def test_a_hidden_region_leaves_the_graph_as_if_it_had_never_been_there():
    branch = branch_of(drea="enhanced", max_regions=4, graph_dims=(8, 8))
    boxes, scores = random_boxes(1, 4), torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    graph, nodes = branch.find_graph(maps_of(1), SIZE, boxes, scores)
    hidden = torch.tensor([[False] * 4, [False, True, False, False], [True] * 4])
    vectors, present = branch.forward_without(graph, nodes, hidden, SIZE)
    whole, _ = branch(nodes, graph.adjacency, graph.kept)
    torch.testing.assert_close(vectors[0], whole[0])
    rest = [0, 2, 3]
    weights = weigh_edges(
        graph.boxes, graph.similarity, graph.salience, branch.config, image_size=SIZE,
        drea="enhanced",
    )[:, rest][:, :, rest]  # fmt: skip
    alone = torch.ones(1, 3, dtype=torch.bool)
    expected, _ = branch(nodes[:, rest], normalise_adjacency(weights, alone), alone)
    torch.testing.assert_close(vectors[1], expected[0])
    assert present.tolist() == [True, True, False]


def test_features_carry_gradient_and_boxes_do_not():
    branch = branch_of()
    maps = [level.requires_grad_() for level in maps_of()]
    regions = branch.find_regions(maps, SIZE)
    assert not regions.boxes.requires_grad and not regions.scores.requires_grad
    graph, nodes = branch.build_graph(maps, SIZE, regions)
    vector, _ = branch(nodes, graph.adjacency, graph.kept)
    vector[:, 0].sum().backward()
    assert maps[2].grad.abs().sum() > 0 and maps[3].grad.abs().sum() > 0
    assert all(torch.isfinite(level.grad).all() for level in maps[2:])


def test_an_empty_graph_has_finite_gradients():
    branch = branch_of()
    maps = [level.requires_grad_() for level in maps_of()]
    regions = branch.find_regions(maps, SIZE, torch.zeros(2, 0, 4))
    graph, nodes = branch.build_graph(maps, SIZE, regions)
    vector, present = branch(nodes, graph.adjacency, graph.kept)
    assert not present.any()
    vector[:, 0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in branch.parameters() if p.grad is not None)
    assert torch.isfinite(maps[3].grad).all()


def test_region_dropout_acts_in_training_only():
    branch = branch_of(region_dropout=0.5)
    nodes, adjacency = torch.randn(400, 5, 13), torch.rand(400, 5, 5)
    kept = torch.ones(400, 5, dtype=torch.bool)
    assert branch(nodes, adjacency, kept)[1].all()
    present = branch.train()(nodes, adjacency, kept)[1]
    assert 120 < present.sum() < 280  # 200 expected, deviation 10
