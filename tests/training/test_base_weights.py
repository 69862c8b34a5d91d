"""Tuned weights are mixed with those of the base: by a fixed share, or as validation chooses."""

import json

import pytest
import torch
from torch import nn

from rsctir_hf.errors import RecipeError
from rsctir_hf.training.base_weights import BaseWeights, share_by_pictures
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.run_record import finish_run
from tests.tiny_training import StopAt, make_trainer


def tuned_network():
    """A layer and a batch norm; every number goes from 1 to 3, the count of batches from 0 to 4."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    floats = [*network.parameters(), network[1].running_mean, network[1].running_var]
    for each in floats:
        nn.init.constant_(each, 1.0)
    base = BaseWeights(network)
    for each in floats:
        nn.init.constant_(each, 3.0)
    network[1].num_batches_tracked.fill_(4)
    return network, base, floats


@pytest.mark.parametrize(("share", "expected"), [(0.0, 3.0), (0.25, 2.5), (1.0, 1.0)])
def test_a_share_of_the_base_is_mixed_into_weights_and_statistics(share, expected):
    network, base, floats = tuned_network()
    base.mix(share)
    assert all(torch.equal(each, torch.full_like(each, expected)) for each in floats)
    assert network[1].num_batches_tracked == 4


def test_weights_that_two_layers_share_are_mixed_once():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    network[1].weight = network[0].weight
    nn.init.constant_(network[0].weight, 0.0)
    base = BaseWeights(network)
    nn.init.constant_(network[0].weight, 1.0)
    base.mix(0.5)
    assert torch.equal(network[1].weight, torch.full((2, 2), 0.5))


@pytest.mark.parametrize(
    ("score", "kept_gain", "expected"),
    [
        # By weight w = 3 - 2 * share; the base, w = 1, scores 0 in each case.
        (lambda w: w - 1, 1.0, 0.0),  # the more tuned, the better
        (lambda w: w - 1, 0.8, 0.2),  # 2 * 0.8 = 1.6 of the gain is kept up to w = 2.6
        (lambda w: min(w, 2) - 1, 1.0, 0.5),  # all as good as the best from w = 2: to the base
        (lambda w: 0.0, 1.0, 1.0),  # nothing was gained
        (lambda w: 1 - w, 0.5, 1.0),  # training made it worse
    ],
)
def test_validation_chooses_the_greatest_share_that_keeps_the_gain(score, kept_gain, expected):
    network, base, floats = tuned_network()
    chosen = base.choose(
        lambda: round(score(float(network[0].weight[0, 0].detach())), 4), kept_gain=kept_gain
    )
    assert chosen["share"] == expected
    assert list(chosen["validation"]) == [tenths / 10 for tenths in range(11)]
    for each in floats:
        torch.testing.assert_close(each, torch.full_like(each, 3 - 2 * expected))


@pytest.mark.slow
@pytest.mark.parametrize("share", ["0.3", "validation", "pictures"])
def test_a_run_mixes_the_base_in_and_says_so_also_when_it_was_resumed(
    share, tmp_path, rows, processor
):
    options = {"base_share": share, "load_best_model_at_end": False}
    finished = {}
    for name in ("whole", "cut"):
        if name == "cut":
            make_trainer(tmp_path / name, rows, processor, callbacks=[StopAt(4)], **options).train()
        trainer = make_trainer(tmp_path / name, rows, processor, **options)
        before = [each.detach().clone() for each in trainer.model.parameters()]
        trainer.train(resume_from_checkpoint=name == "cut")
        tuned = [each.detach().clone() for each in trainer.model.parameters()]
        finish_run(trainer, [trainer.args], revision=None, training_sets={"ucm": len(rows)})
        record = json.loads((tmp_path / name / "results.json").read_text(encoding="utf-8"))
        said = record["base"]["share"]
        assert share in ("validation", str(said)) or said == share_by_pictures(len(rows))
        for base, end, now in zip(before, tuned, trainer.model.parameters(), strict=True):
            torch.testing.assert_close(now, base + (1 - said) * (end - base), atol=1e-3, rtol=1e-3)
        finished[name] = trainer.model.state_dict()
        card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        assert said == 0 or f"{said:.2f} of the weights are those of that model" in card
    torch.testing.assert_close(finished["cut"], finished["whole"])


def test_weights_of_a_base_are_mixed_only_where_there_is_one():
    with pytest.raises(RecipeError, match=r"base_share is 0.5, but no initial_model is named"):
        parse_recipe(["--base_share", "0.5"])


@pytest.mark.parametrize("wrong", ["half", "1.5", "-0.1", "nan"])
def test_a_share_that_is_none_is_refused(wrong):
    with pytest.raises(
        RecipeError, match=f"base_share is '{wrong}'; expected 'validation', 'pictures' or"
    ):
        parse_recipe(["--base_share", wrong, "--initial_model", "somewhere"])


def test_the_more_pictures_the_less_of_the_base():
    shares = [share_by_pictures(count) for count in (1, 30, 140, 280, 7000)]
    assert shares == [0.5, 0.5, 0.5, 0.25, 0.01]
