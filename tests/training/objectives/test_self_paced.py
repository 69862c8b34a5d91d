"""Self-paced weights against a slow oracle, and what is our choice beside it."""

import math

import pytest
import torch
from torch import nn

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.errors import RecipeError
from rsctir_hf.files.rows import read_rows
from rsctir_hf.training.objectives.objective import Batch
from rsctir_hf.training.objectives.self_paced import (
    AMBIGUOUS,
    CLEAN,
    KINDS,
    NOISY,
    SelfPaced,
    SelfPacedOptions,
    pair_losses,
)
from tests.tiny_training import make_trainer, tiny_processor, tiny_rows

SCALE = 20.0


def oracle(similarity, options):
    """The released formulas, pair by pair, without the local matrix; g2 = 2 ln B, g1 = 0.28 g2."""
    size, total = len(similarity), 0.0
    high = 2 * math.log(size)
    low = 0.28 * high
    for k in range(size):
        row, column = SCALE * similarity[k], SCALE * similarity[:, k]
        loss = -row.log_softmax(0)[k] - column.log_softmax(0)[k]
        if loss < low:
            total += math.cos(math.pi * loss / 2 / low) * loss
        elif loss < high:
            total += options.ambiguous_weight * math.cos(math.pi * loss / 2 / high) * loss
        else:
            for line in (similarity[k], similarity[:, k]):
                worst = torch.cat([line[:k], line[k + 1 :]]).max()
                margin = options.margin * (1 + (worst - line[k]).relu())
                total += options.noisy_weight * (margin - line[k] + worst).relu()
    return total / size


def batch(similarity, *, epoch=0.0, pairs=None, positives=None, image_of_caption=None):
    pictures, captions = similarity.shape
    own = torch.arange(captions) if image_of_caption is None else image_of_caption
    return Batch(
        model=None,
        inputs={},
        outputs=None,
        similarity=similarity,
        image_of_caption=own,
        positives=torch.eye(pictures).bool() if positives is None else positives,
        scale=torch.tensor(SCALE),
        epoch=epoch,
        pairs=pairs,
    )


def objective(pairs=0, **options):
    return SelfPaced(SelfPacedOptions(**options), nn.Identity(), RowFacts([1] * pairs))


def mixed_batch():
    """Eight pairs of every kind: cosines at random, some diagonal ones far too high or too low."""
    similarity = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) * 0.4
    similarity[range(8), range(8)] = torch.tensor([0.9, 0.8, 0.5, 0.4, 0.3, 0.1, -0.2, -0.5])
    return similarity.requires_grad_()


def test_released_is_the_slow_oracle_and_has_pairs_of_every_kind():
    similarity = mixed_batch()
    released = objective(pairs=8, released=True)
    loss = released(batch(similarity, pairs=torch.arange(8)))
    assert set(released.kind.tolist()) == {CLEAN, AMBIGUOUS, NOISY}
    torch.testing.assert_close(loss, oracle(similarity, released.options))


def test_the_gradient_of_released_is_that_of_the_oracle_with_weights_held():
    similarity = mixed_batch()
    released = objective(released=True)
    released(batch(similarity)).backward()
    found, step = similarity.grad, 1e-3
    with torch.no_grad():  # the pair of the least cosine is noisy: no weight moves with it
        ends = []
        for sign in (1, -1):
            moved = similarity.detach().double()
            moved[7, 7] += sign * step
            ends.append(oracle(moved, released.options))
    others = (ends[0] - ends[1]) / (2 * step)
    assert found[7, 7] == pytest.approx(float(others), rel=1e-3)


def test_weights_pass_no_gradient_but_pairs_do():
    """A pair's gradient is w(l) dl/ds, not the derivative of w(l) l, which can turn its sign."""
    similarity = torch.tensor([[0.9, 0.85], [0.0, 0.9]]).requires_grad_()
    loss = objective(warm_up=0.0, noisy_from=2.0)(batch(similarity))
    loss.backward()
    assert similarity.grad[0, 0] < 0 < similarity.grad[0, 1]


def test_in_the_warm_up_every_pair_counts_alike():
    similarity = mixed_batch()
    alike = pair_losses(similarity, torch.arange(8), torch.eye(8).bool(), scale=SCALE).mean()
    early, late = (objective()(batch(similarity, epoch=epoch)) for epoch in (1.9, 2.0))
    torch.testing.assert_close(early, alike)
    assert late < alike


def test_pair_losses_of_one_positive_each_are_both_cross_entropies():
    similarity = mixed_batch()
    expected = (
        -(SCALE * similarity).log_softmax(1).diag() - (SCALE * similarity).log_softmax(0).diag()
    )
    found = pair_losses(similarity, torch.arange(8), torch.eye(8).bool(), scale=SCALE)
    torch.testing.assert_close(found, expected)


def test_the_same_sentence_of_another_picture_is_no_negative_but_released_takes_it_for_one():
    similarity = torch.full((3, 3), 0.2) + torch.diag(torch.full((3,), 0.3))
    similarity[0, 1] = similarity[1, 0] = 0.5  # as high as the pairs themselves
    positives = torch.eye(3).bool()
    positives[0, 1] = positives[1, 0] = True
    own = torch.arange(3)
    ours = pair_losses(similarity, own, positives, scale=SCALE)
    assert ours[0] == pytest.approx(2 * math.log1p(math.exp(SCALE * -0.3)), rel=1e-4)
    shared = {"positives": positives, "pairs": own}
    strict = objective(pairs=3, released=True)
    strict(batch(similarity, **shared))
    assert strict.loss[0] > ours[0] + 1.3  # 2 ln 2 for an equal rival on either side


def test_several_captions_of_one_picture_are_pairs_of_their_own():
    similarity = torch.tensor([[0.5, 0.4, 0.1], [0.0, 0.1, 0.6]])
    own = torch.tensor([0, 0, 1])
    positives = torch.tensor([[True, True, False], [False, False, True]])
    found = pair_losses(similarity, own, positives, scale=SCALE)
    over_captions = math.log1p(math.exp(SCALE * (0.1 - 0.4)))
    over_pictures = math.log1p(math.exp(SCALE * (0.1 - 0.4)))
    assert found[1] == pytest.approx(over_captions + over_pictures, rel=1e-4)


def test_noisy_pairs_cost_nothing_unless_told():
    similarity = mixed_batch()
    kept, aside = (
        objective(pairs=8, warm_up=0.0, set_aside=each)(batch(similarity, pairs=torch.arange(8)))
        for each in (False, True)
    )
    assert kept > aside
    aside.backward()
    assert similarity.grad[7, 7] == pytest.approx(0.0, abs=1e-3)


def test_an_epoch_tells_the_loss_and_the_kind_of_the_pairs_that_were_drawn_in_it():
    paced = objective(pairs=20)
    paced(batch(mixed_batch(), pairs=torch.arange(8) + 10))
    told = paced.close_epoch()
    assert told["pair"] == list(range(10, 18))
    assert told["kind"][0] == "clean" and told["kind"][-1] == "noisy"
    assert told["loss"] == sorted(told["loss"])
    assert paced.close_epoch()["pair"] == []


def test_a_training_writes_each_pair_an_epoch_and_its_model_is_without_the_objective(tmp_path):
    rows = tiny_rows()
    off = {"contrastive_weight": 0.0, "triplet_weight": 0.0, "num_train_epochs": 2}
    trainer = make_trainer(
        tmp_path, rows, tiny_processor(rows), objectives={"self_paced": {"warm_up": 1.0}}, **off
    )
    trainer.train()
    files = sorted((tmp_path / "_pairs").iterdir())
    assert [file.name for file in files] == ["self_paced_001.csv", "self_paced_002.csv"]
    for file in files:
        told = [row for _, row in read_rows(file)]
        assert len(told) == len(rows)
        for row in told:
            assert row["caption"] in rows[row["picture"]]["captions"]
            assert row["loss"] > 0 and row["kind"] in KINDS
    state = trainer.model.state_dict()
    assert any(name.startswith("objectives.self_paced") for name in state)
    trainer.settle_weights()
    assert not any("objectives" in name for name in trainer.model.state_dict())


def test_a_batch_in_which_all_is_positive_has_a_finite_gradient():
    similarity = torch.rand(2, 2).requires_grad_()
    for options in ({}, {"warm_up": 0.0}):
        loss = objective(**options)(batch(similarity, positives=torch.ones(2, 2).bool()))
        loss.backward()
        assert loss.isfinite() and similarity.grad.isfinite().all()


def test_a_pair_is_judged_by_its_past_and_a_resumed_run_knows_it():
    """Once good, once worse than chance: half of the past keeps it from being noisy at once."""
    pairs = torch.arange(4)
    good, bad = torch.eye(4), 1 - torch.eye(4)
    first = objective(pairs=4, warm_up=0.0, memory=0.8)
    first(batch(good, pairs=pairs))
    second = objective(pairs=4, warm_up=0.0, memory=0.8)
    second.load_state_dict(first.state_dict())
    second(batch(bad, pairs=pairs))
    forgetful = objective(pairs=4, warm_up=0.0, memory=0.0)
    forgetful(batch(bad, pairs=pairs))
    assert forgetful.kind.tolist() == [NOISY] * 4
    losses = [float(first.loss[0]), float(forgetful.loss[0])]
    assert float(second.past[0]) == pytest.approx(0.8 * losses[0] + 0.2 * losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clean_below": 1.0}, "clean_below is 1.0; expected 0 < share < 1"),
        ({"noisy_from": 0.0}, "noisy_from is 0.0; expected more than 0"),
        ({"memory": 1.0}, "memory is 1.0; expected 0 <= share < 1"),
        ({"warm_up": -1.0}, "warm_up is -1.0; expected 0 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(RecipeError, match=said):
        SelfPacedOptions(**options)
