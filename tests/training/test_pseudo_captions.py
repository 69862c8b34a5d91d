"""Assignments of sentences to pictures against slow loops and closed forms."""

import pytest
import torch

from rsctir_hf.training import pseudo_captions
from rsctir_hf.training.pseudo_captions import (
    balanced_assignments,
    caption_loss,
    neighbour_mean,
    sharpened,
)


def slow_sinkhorn(similarity, temperature, rounds):
    shares = (similarity / temperature).exp()
    for _ in range(rounds):
        shares = shares / shares.sum(dim=1, keepdim=True)
        shares = shares / shares.sum(dim=0, keepdim=True)
    return shares / shares.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_assignments_are_what_dividing_rows_and_columns_by_their_sums_gives(rounds):
    similarity = torch.rand(6, 4, generator=torch.Generator().manual_seed(2)) * 2 - 1
    found = balanced_assignments(similarity, temperature=0.2, rounds=rounds)
    assert torch.allclose(found, slow_sinkhorn(similarity, 0.2, rounds), atol=1e-5)
    assert torch.allclose(found.sum(dim=1), torch.ones(6))


def test_a_favourite_sentence_does_not_take_all_pictures():
    # Sentence 0 is the best of all four pictures; two of them like sentence 1 nearly as much.
    similarity = torch.tensor([[0.9, 0.8], [0.9, 0.8], [0.9, 0.1], [0.9, 0.1]])
    greedy = balanced_assignments(similarity, temperature=0.05, rounds=0)
    assert greedy.argmax(dim=1).tolist() == [0, 0, 0, 0]
    shared = balanced_assignments(similarity, temperature=0.05, rounds=20)
    assert shared.argmax(dim=1).tolist() == [1, 1, 0, 0]
    assert torch.allclose(shared.sum(dim=0), torch.tensor([2.0, 2.0]), atol=0.1)


@pytest.mark.parametrize("chunk", [2, 1024])
def test_values_are_averaged_over_the_nearest_and_the_row_itself(chunk, monkeypatch):
    monkeypatch.setattr(pseudo_captions, "CHUNK", chunk)
    angles = torch.tensor([0.0, 0.1, 1.0, 1.3])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    values = torch.tensor([[0.0], [2.0], [10.0], [20.0]])
    found = neighbour_mean(values, vectors, neighbours=1)
    assert torch.allclose(found, torch.tensor([[1.0], [1.0], [15.0], [15.0]]))
    assert torch.equal(neighbour_mean(values, vectors, neighbours=0), values)
    everything = neighbour_mean(values, vectors, neighbours=99)
    assert torch.allclose(everything, torch.full((4, 1), 8.0))


def test_the_row_itself_counts_once_among_equal_vectors():
    vectors = torch.tensor([[1.0, 0.0]] * 3)
    found = neighbour_mean(torch.eye(3), vectors, neighbours=1)
    assert torch.equal(found.diagonal(), torch.full((3,), 0.5))


def test_sharpening_raises_to_a_power_and_keeps_the_sum():
    assignments = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    found = sharpened(assignments, power=2.0)
    assert torch.allclose(found[0], torch.tensor([4.0, 1.0, 1.0]) / 6)
    assert torch.equal(found[1], assignments[1])
    assert torch.equal(sharpened(assignments, power=1.0), assignments)


def test_the_loss_is_the_cross_entropy_with_all_that_was_assigned():
    similarity = torch.tensor([[0.5, -0.5]])
    assignments = torch.tensor([[0.75, 0.25]])
    log_odds = torch.tensor([5.0, -5.0]).log_softmax(dim=0)
    expected = -(0.75 * log_odds[0] + 0.25 * log_odds[1])
    assert torch.allclose(caption_loss(similarity, assignments, scale=10.0), expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="temperature is 0"):
        balanced_assignments(torch.eye(2), temperature=0, rounds=1)
    with pytest.raises(ValueError, match="2 rows of values and 3 vectors"):
        neighbour_mean(torch.eye(2), torch.eye(3), neighbours=1)
