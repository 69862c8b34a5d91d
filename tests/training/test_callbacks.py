"""Freezing by prefix and the weight average, on their own; test_averaging_trainer has the runs."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rsctir_hf.training.callbacks import WeightAverage, apply_freezing


@pytest.fixture
def model():
    text = nn.ModuleDict({"embeddings": nn.Linear(2, 2), "encoder": nn.Linear(2, 2)})
    return nn.ModuleDict({"text_model": text, "text_model_head": nn.Linear(2, 1, bias=False)})


def test_the_longest_prefix_decides_what_is_frozen(model):
    apply_freezing(model, {"text_model": -1, "text_model.encoder": 1}, epoch=1.0)
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {"text_model.embeddings.weight", "text_model.embeddings.bias"}


def test_a_prefix_that_fits_nothing_is_an_error(model):
    with pytest.raises(ValueError, match="no_such_part"):
        apply_freezing(model, {"no_such_part": 1}, epoch=0.0)


def test_the_average_is_the_closed_form_of_its_steps(model):
    # decay(step) = min(0.5, (1 + step) / (10 + step)): 2/11 at step 1, 3/12 at step 2.
    average = WeightAverage(model, 0.5)
    weight = model["text_model_head"].weight
    start = weight[0, 0].item()
    for step, value in ((1, 1.0), (2, 2.0)):
        weight.data.fill_(value)
        average.on_step_end(None, SimpleNamespace(global_step=step), None, model=model)
    first = 2 / 11 * start + 9 / 11 * 1.0
    found = average.weights["text_model_head.weight"][0, 0].item()
    assert found == pytest.approx(0.25 * first + 0.75 * 2.0)


def test_training_ends_with_the_average_in_the_model_and_keeps_it(model):
    average = WeightAverage(model, 0.5)
    weight = model["text_model_head"].weight
    start = weight.detach().clone()
    weight.data.fill_(7.0)
    average.on_train_end(None, None, None, model=model)
    assert torch.equal(weight, start)
    assert torch.equal(average.weights["text_model_head.weight"], start)
