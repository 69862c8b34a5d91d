"""DREA, our reading: denoised regions and strengthened edges, in closed form and by a slow walk."""

import math

import pytest
import torch

from rsctir_hf.models.galr.configuration_galr import GaLRConfig
from rsctir_hf.models.galr.graph_galr import (
    arrange_graph,
    denoise_regions,
    normalise_adjacency,
    region_adjacency,
    region_salience,
    weigh_edges,
)
from rsctir_hf.models.galr.regions_galr import RegionSet, centre_distance, pairwise_iou
from tests.models.test_graph_galr import SIZE, random_boxes, random_similarity, regions_of


@pytest.mark.parametrize("labelled", [False, True])
def test_denoising_equals_a_walk_in_plain_python(labelled):
    torch.manual_seed(0)
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


def test_a_limit_that_is_just_reached_does_not_drop_a_region():
    # Boxes of 8 px, 4 px apart: overlap 32 of 96, a third; reach is half of 8, so 4. A cosine of
    # 0.5 and these numbers are exact in binary, and each rule says "exceeds" or "nearer".
    pair = torch.tensor([[[0.0, 0, 8, 8], [4, 0, 12, 8]]])
    regions = regions_of(pair)
    cosine = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])

    def kept(*, min_similarity, min_iou):
        found, _ = denoise_regions(regions, cosine, min_similarity=min_similarity, min_iou=min_iou)
        return found[0].tolist()

    third = pairwise_iou(pair)[0, 0, 1].item()
    assert kept(min_similarity=0.25, min_iou=third) == [True, True]
    assert kept(min_similarity=0.25, min_iou=0.25) == [True, False]
    assert kept(min_similarity=0.5, min_iou=0.25) == [True, True]


def test_salience_is_that_of_the_box_wherever_it_lies_and_of_its_own_picture():
    boxes = torch.tensor([[[40.0, 30, 50, 40], [7, 3, 27, 23]], [[5, 5, 9, 9], [20, 8, 22, 10]]])
    regions = RegionSet(boxes, torch.full((2, 2), 0.5), None, torch.ones(2, 2, dtype=torch.bool))
    # Sides of 10 and 20 px in the first picture, of 4 and 2 px in the second.
    expected = torch.tensor([[0.5, 1.0], [1.0, 0.5]])
    torch.testing.assert_close(region_salience(regions), expected)


@pytest.mark.parametrize(
    ("drea", "strengthened"),
    [("plain", False), ("denoise", False), ("enhanced", True), ("both", True)],
)
def test_edge_weights_reach_as_far_as_the_root_of_the_pictures_area(drea, strengthened):
    # 0.25 of the root of 16 x 64 px is 8 px; centres 16 px apart, cosine 0: exp(-2) / 2. A
    # salience of 1 and 0.5, at an enhancement of 2, makes the edge 2.5 times as strong.
    config = GaLRConfig(adjacency_range=0.25, enhancement=2.0)
    boxes = torch.tensor([[[0.0, 0, 8, 8], [16, 0, 24, 8]]])
    weights = weigh_edges(
        boxes,
        torch.eye(2)[None],
        torch.tensor([[1.0, 0.5]]),
        config,
        image_size=(16, 64),
        drea=drea,
    )
    edge = math.exp(-2) / 2 * (2.5 if strengthened else 1)
    assert weights[0, 0, 1].item() == pytest.approx(edge)


def test_a_degree_below_one_is_normalised_like_any_other():
    # Degrees 0.5 and 0.5: 0.25 / 0.5 each; the rows of a graph without self-loops sum to 1.
    adjacency = torch.tensor([[[0.25, 0.25], [0.25, 0.25]]])
    normal = normalise_adjacency(adjacency, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(normal, torch.full((1, 2, 2), 0.5))


def test_a_threshold_of_ones_own_takes_the_place_of_the_configured_one():
    config = GaLRConfig(drea="denoise", denoise_similarity=0.9, denoise_iou=0.1)
    boxes = torch.tensor([[[0.0, 0, 20, 20], [2, 0, 22, 20]]])
    regions = regions_of(boxes, labels=torch.tensor([[4, 4]]))
    alike = torch.full((1, 2, 2), 0.95)
    found = arrange_graph(regions, alike, config, image_size=SIZE)
    assert found.kept[0].tolist() == [True, False]
    assert found.labels.tolist() == [[4, 4]]
    lenient = arrange_graph(regions, alike, config, image_size=SIZE, min_similarity=0.97)
    assert lenient.kept[0].tolist() == [True, True]


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
