"""The loss of codes that pictures share with sets of labels, term by term."""

import math

import pytest
import torch

from rsctir_hf.labels.code_network import LabelCodeLoss, LabelCoder, TermWeights


def zeroed(weights):
    """A loss whose layers give nothing but zeros: D 4, L 3."""
    loss = LabelCodeLoss(LabelCoder(4, 3, code=2), weights)
    with torch.no_grad():
        for each in loss.parameters():
            each.zero_()
    return loss


VECTORS = torch.tensor([[1.0, 0, 0, 0], [0, 0.6, 0.8, 0]])
SHOWN = torch.tensor([[1.0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (TermWeights(1, 0, 0, 0), 2 * 3 * math.log(2)),  # both sides, three labels at even odds
        (TermWeights(0, 1, 0, 0), 0.0),  # both codes are zero
        (TermWeights(0, 0, 1, 0), 4.0),  # unit vectors times the root of D, squared
        (TermWeights(0, 0, 0, 1), 1.5),  # two labels and one
    ],
)
def test_each_term_of_layers_that_say_nothing(weights, expected):
    assert zeroed(weights)(VECTORS, SHOWN).item() == pytest.approx(expected)


def test_the_distance_is_that_of_a_picture_and_its_own_labels():
    loss = zeroed(TermWeights(0, 1, 0, 0))
    with torch.no_grad():
        loss.coder.picture.bias.copy_(torch.tensor([3.0, 4.0]))
    assert loss(VECTORS, SHOWN).item() == pytest.approx(25)


def test_what_is_made_again_is_made_from_the_other_code():
    torch.manual_seed(0)
    loss = LabelCodeLoss(LabelCoder(4, 3), TermWeights(0, 0, 1, 1))
    loss(VECTORS, SHOWN).backward()
    coder = loss.coder
    assert not coder.classes.weight.grad.any()
    assert coder.labels[0].weight.grad.abs().sum() > 0  # the picture again, from the labels' code
    only_labels = LabelCodeLoss(LabelCoder(4, 3), TermWeights(0, 0, 0, 1))
    only_labels(VECTORS, SHOWN).backward()
    assert only_labels.coder.picture.weight.grad.abs().sum() > 0
    assert not only_labels.coder.labels[0].weight.grad.any()
