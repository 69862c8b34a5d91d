"""Boxes as anybody may hand them in: clipped, left out, cut to the best, or refused by name."""

import numpy as np
import pytest
import torch

from rsctir_hf.errors import RegionsError
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.regions.sanitize import sound_regions

SIZE = (40, 30)  # width, height
NAN, INF = float("nan"), float("inf")


def regions_of(boxes, scores, labels=()):
    return Regions(boxes=boxes, scores=scores, labels=labels)


def test_boxes_are_clipped_to_the_picture_and_those_outside_it_left_out():
    boxes = [[-5.0, -5, 10, 10], [30, 20, 99, 99], [41, 5, 50, 9], [-9, -9, -1, -1], [0, 31, 9, 40]]
    found = sound_regions(regions_of(boxes, [0.5] * 5), SIZE)
    assert found.boxes.tolist() == [[0, 0, 10, 10], [30, 20, 40, 30]]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("place", [0, 1, 2, 3, "score"])
def test_what_is_not_finite_is_left_out(bad, place):
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [1, 1, 8, 8]]), torch.tensor([0.9, 0.5])
    if place == "score":
        scores[0] = bad
    else:
        boxes[0, place] = bad
    found = sound_regions(regions_of(boxes, scores, ("a", "b")), SIZE)
    assert found.boxes.tolist() == [[1, 1, 8, 8]] and found.labels == ("b",)
    assert found.scores.tolist() == [0.5]


def test_empty_reversed_and_hair_thin_boxes_are_left_out():
    boxes = [[5.0, 5, 5, 9], [9, 9, 5, 5], [5, 5, 5.5, 20], [39.5, 0, 60, 20], [5, 5, 6, 6]]
    assert sound_regions(regions_of(boxes, [0.9] * 5), SIZE).boxes.tolist() == [[5, 5, 6, 6]]


def test_ten_thousand_boxes_are_cut_to_the_best_in_order():
    random = np.random.default_rng(0)
    corners = random.uniform(0, 15, (10_000, 2))
    boxes = np.concatenate((corners, corners + 10), axis=1)
    scores = random.permutation(10_000) / 10_000
    found = sound_regions(regions_of(boxes, scores, tuple(map(str, range(10_000)))), SIZE, count=20)
    best = np.argsort(-scores)[:20]
    assert found.labels == tuple(map(str, best))
    np.testing.assert_allclose(found.boxes.numpy(), boxes[best], rtol=1e-6)


def test_equal_scores_keep_their_order():
    boxes = [[float(x), 0, x + 5, 5] for x in range(9)]
    found = sound_regions(regions_of(boxes, [0.5] * 9), SIZE, count=4)
    assert found.boxes[:, 0].tolist() == [0, 1, 2, 3]


def test_scores_beyond_one_rank_first_and_count_as_one():
    boxes = [[0.0, 0, 5, 5], [1, 0, 6, 5], [2, 0, 7, 5]]
    found = sound_regions(regions_of(boxes, [-3.0, 7, 9]), SIZE)
    assert found.boxes[:, 0].tolist() == [2, 1, 0] and found.scores.tolist() == [1, 1, 0]


@pytest.mark.parametrize("nothing", [[], torch.zeros(0), torch.zeros(0, 4), np.zeros((0, 4))])
def test_no_regions_are_no_regions(nothing):
    found = sound_regions(regions_of(nothing, []), SIZE, count=20)
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,) and found.labels == ()


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "message"),
    [
        ([[0, 0, 5, 5]], [0.5, 0.4], (), r"mine gave boxes \(1, 4\), scores \(2,\)"),
        ([[0, 0, 5, 5]] * 2, [0.5], (), r"scores \(1,\)"),
        ([[0, 0, 5, 5, 1]], [0.5], (), r"boxes \(1, 5\)"),
        ([0, 0, 5, 5], [0.5], (), r"boxes \(4,\)"),
        ([[0, 0, 5, 5]], [0.5], ("a", "b"), "2 labels; expected"),
        (None, [0.5], (), "no numbers"),
        ([["a", 0, 5, 5]], [0.5], (), "no numbers"),
    ],
)
def test_what_does_not_belong_together_is_refused(boxes, scores, labels, message):
    with pytest.raises(RegionsError, match=message):
        sound_regions(regions_of(boxes, scores, labels), SIZE, proposer="mine")


def test_an_answer_that_is_no_regions_is_refused():
    with pytest.raises(RegionsError, match="no numbers"):
        sound_regions(None, SIZE)


def test_labels_may_be_absent_or_numbers_and_come_out_as_text():
    boxes, scores = [[0.0, 0, 5, 5], [1, 0, 6, 5]], [0.5, 0.6]
    assert sound_regions(regions_of(boxes, scores, None), SIZE).labels == ()
    for numbers in ((3, 7), [3, 7], np.array([3, 7]), torch.tensor([3, 7])):
        assert sound_regions(regions_of(boxes, scores, numbers), SIZE).labels == ("7", "3")


@pytest.mark.parametrize("labels", [3, "ab", {"a", "b"}, iter("ab"), torch.tensor(3)])
def test_labels_that_are_no_sequence_are_refused(labels):
    boxes = [[0.0, 0, 5, 5], [1, 0, 6, 5]]
    with pytest.raises(RegionsError, match=r"mine gave labels of type .* or None"):
        sound_regions(regions_of(boxes, [0.5, 0.6], labels), SIZE, proposer="mine")
