"""The three label-free terms against slow loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from rsctir_hf.errors import RecipeError
from rsctir_hf.training.objectives.label_free import (
    label_free_loss,
    neighbour_distance,
    nt_xent_loss,
    pair_angle,
    second_view,
)
from rsctir_hf.training.objectives.registry import read_objectives
from tests.tiny_training import make_trainer


@pytest.fixture
def pair():
    """Two sides of five pictures in four dimensions."""
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 5, 4, generator=generator).double()
    return F.normalize(first, dim=1), F.normalize(second, dim=1)


def slow_nt_xent(first, second, temperature):
    both = [*first, *second]
    costs = []
    for i, anchor in enumerate(both):
        partner = (i + len(first)) % len(both)
        scores = {j: float(anchor @ each) / temperature for j, each in enumerate(both) if j != i}
        costs.append(math.log(sum(map(math.exp, scores.values()))) - scores[partner])
    return sum(costs) / len(costs)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_is_what_a_loop_over_all_vectors_gives(pair, temperature):
    found = nt_xent_loss(*pair, temperature=temperature)
    assert found.item() == pytest.approx(slow_nt_xent(*pair, temperature), abs=1e-5)


def test_nt_xent_of_equal_partners_at_right_angles_to_all_others():
    # Each of 2B vectors: partner exp(1/t) against 2B - 2 others of exp(0).
    vectors = torch.eye(4)
    expected = math.log(math.exp(10) + 6) - 10
    assert nt_xent_loss(vectors, vectors).item() == pytest.approx(expected, abs=1e-6)


def test_one_pair_alone_has_nothing_to_be_told_from():
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert nt_xent_loss(first, second).item() == 0
    assert neighbour_distance(first).item() == 0
    assert label_free_loss(first, second).item() == pytest.approx(0.5)  # a right angle


def test_the_angle_is_a_share_of_a_half_turn():
    first = torch.tensor([[1.0, 0.0]] * 3)
    second = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [math.cos(0.3), math.sin(0.3)]])
    expected = (0.5 + 1 + 0.3 / math.pi) / 3
    assert pair_angle(first, second).item() == pytest.approx(expected, abs=1e-3)


def test_the_angle_of_equal_vectors_has_a_gradient_that_is_a_number():
    first = F.normalize(torch.randn(3, 4), dim=1).requires_grad_()
    pair_angle(first, first.detach().clone()).backward()
    assert first.grad.isfinite().all()


def test_the_nearest_neighbour_is_another_one_and_stands_still():
    # 0 and 1 are 0.2 apart, 2 is nearest to 1 at 0.5: angles of 0, 0.2 and 0.7.
    angles = torch.tensor([0.0, 0.2, 0.7])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
    cost = neighbour_distance(vectors)
    assert cost.item() == pytest.approx(1 - (2 * math.cos(0.2) + math.cos(0.5)) / 3, abs=1e-6)
    cost.backward()
    # Vector 0 moves towards 1 alone; nothing comes from its being the neighbour of 1.
    assert torch.allclose(vectors.grad[0], -vectors.detach()[1] / 3)


def test_the_loss_is_the_weighted_sum_of_its_terms(pair):
    first, second = pair
    terms = (
        nt_xent_loss(first, second, temperature=0.2),
        pair_angle(first, second),
        neighbour_distance(first) + neighbour_distance(second),
    )
    found = label_free_loss(first, second, temperature=0.2, angle_weight=3.0, neighbour_weight=0.25)
    assert found.item() == pytest.approx((terms[0] + 3 * terms[1] + 0.25 * terms[2]).item())
    default = label_free_loss(first, second, temperature=0.2)
    assert default.item() == pytest.approx((terms[0] + terms[1] + 0.5 * terms[2]).item())


def test_sides_of_other_shapes_and_a_cold_temperature_are_refused(pair):
    first, second = pair
    with pytest.raises(ValueError, match=r"first is \(5, 4\) and second \(4, 4\)"):
        label_free_loss(first, second[:4])
    with pytest.raises(ValueError, match="temperature is 0"):
        nt_xent_loss(first, second, temperature=0)
    with pytest.raises(ValueError, match="second holds 4 NaN"):
        pair_angle(first, second.index_fill(0, torch.tensor([2]), torch.nan))


def test_the_second_view_is_the_inner_part_turned_and_mirrored():
    pixels = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    found = second_view(pixels, border=0.25)
    assert found.shape == pixels.shape
    # A quarter turn and a mirror make columns of rows: corners keep, but swap across a diagonal.
    whole = second_view(pixels, border=0)
    assert torch.equal(whole, pixels.rot90(1, (-2, -1)).flip(-1))
    assert found.mean().item() == pytest.approx(pixels[..., 2:6, 2:6].mean().item(), abs=1e-4)


def test_as_an_objective_it_adds_to_the_loss_of_captions_and_moves_pictures_only(
    rows, processor, tmp_path
):
    options = {"max_steps": 1, "matching_weight": 0.0, "eval_strategy": "no"}
    costs, slopes = [], []
    for weight in (1.0, 3.0):
        asked = {"label_free": {"weight": weight}}
        trainer = make_trainer(
            tmp_path / str(weight), rows, processor, objectives=asked, contrastive_weight=0.0,
            triplet_weight=0.0, **options,
        )  # fmt: skip
        trainer.model.eval()
        batch = trainer.data_collator([trainer.view[row] for row in range(4)])
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        costs.append(loss.item())
        moved = {name for name, value in trainer.model.named_parameters() if value.grad is not None}
        slopes.append(moved)
    assert costs[1] == pytest.approx(3 * costs[0], rel=1e-4) and costs[0] > 0
    assert slopes[0] == slopes[1] and not [name for name in slopes[0] if "text" in name]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"border": 0.5}, "border is 0.5"),
        ({"angle_weight": -1.0}, "angle_weight is -1"),
        ({"tempreture": 1.0}, "Did you mean temperature"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    with pytest.raises(RecipeError, match=said):
        read_objectives({"label_free": options})
