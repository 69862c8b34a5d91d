"""Regions, DREA and graph layers of GaLR against closed forms, slow oracles and PyG."""

import math

import pytest
import torch
import torchvision
from torch_geometric.nn import DenseGCNConv, GCNConv

from rsctir_hf.models.galr.configuration_galr import GaLRConfig
from rsctir_hf.models.galr.graph_galr import (
    GraphLayer,
    RegionBranch,
    denoise_regions,
    normalise_adjacency,
    region_adjacency,
    region_salience,
)
from rsctir_hf.models.galr.regions_galr import (
    RegionSet,
    arrange_regions,
    centre_distance,
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


@pytest.mark.parametrize("labelled", [False, True])
def test_denoising_equals_a_walk_in_plain_python(labelled):
    boxes = random_boxes(4, 10) * 0.6  # crowded
    labels = torch.randint(0, 2, (4, 10)) if labelled else None
    mask = torch.arange(10) < torch.tensor([[10], [7], [1], [0]])
    regions = regions_of(boxes, labels=labels, mask=mask)
    similarity = random_similarity(4, 10)
    kept, dropped_by = denoise_regions(regions, similarity, min_similarity=0.8, min_iou=0.5)
    iou, distance = pairwise_iou(boxes), centre_distance(boxes)
    side = (boxes[..., 2:] - boxes[..., :2]).amax(-1)
    for b in range(4):
        survivors = []
        for j in range(int(mask[b].sum())):
            blockers = [
                i
                for i in survivors
                if similarity[b, i, j] > 0.8
                and (iou[b, i, j] > 0.5 or distance[b, i, j] < max(side[b, i], side[b, j]) / 2)
                and (labels is None or labels[b, i] == labels[b, j])
            ]
            survivors += [] if blockers else [j]
            assert dropped_by[b, j] == (blockers[0] if blockers else -1)
        assert kept[b].nonzero().flatten().tolist() == survivors
    assert 0 < (dropped_by >= 0).sum() < mask.sum()  # the example shows both outcomes


def test_salience_is_score_times_root_of_area_over_the_largest():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 0, 0]]])
    regions = RegionSet(
        boxes, torch.tensor([[0.8, 0.5, 0.0]]), None, torch.tensor([[True, True, False]])
    )
    # 0.8 * 10 = 8 and 0.5 * 20 = 10.
    torch.testing.assert_close(region_salience(regions), torch.tensor([[0.8, 1.0, 0.0]]))


def test_adjacency_has_its_closed_form():
    # Centres 30 px apart, reach 15, cosine 0.6: exp(-2) * 0.8; boost (1, 0.5) adds 75 %.
    boxes = torch.tensor([[[0.0, 0, 10, 10], [30, 0, 40, 10]]])
    similarity = torch.tensor([[[1.0, 0.6], [0.6, 1.0]]])
    plain = region_adjacency(boxes, similarity, reach=15)
    edge = math.exp(-2) * 0.8
    torch.testing.assert_close(plain, torch.tensor([[[1, edge], [edge, 1]]]))
    boosted = region_adjacency(boxes, similarity, reach=15, boost=torch.tensor([[1.0, 0.5]]))
    expected = torch.tensor([[[2, 1.75 * edge], [1.75 * edge, 1.5]]])
    torch.testing.assert_close(boosted, expected)


def test_normalised_adjacency_leaves_dropped_nodes_empty():
    adjacency = torch.rand(2, 4, 4)
    adjacency = adjacency + adjacency.transpose(1, 2)
    kept = torch.tensor([[True, False, True, True], [False] * 4])
    normal = normalise_adjacency(adjacency, kept)
    small = adjacency[0][kept[0]][:, kept[0]]
    root = torch.diag(small.sum(-1).rsqrt())
    torch.testing.assert_close(normal[0][kept[0]][:, kept[0]], root @ small @ root)
    assert not normal[0, 1].any() and not normal[0, :, 1].any() and not normal[1].any()


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
