"""The copy of a model that runs over pictures: what it computes and shares, and for how long."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from rsctir_hf.embedding.encode import embed_inputs
from rsctir_hf.embedding.tower import TOLERANCE, Tower, inference_copy
from rsctir_hf.models.cmpagl import CMPAGLModel
from tests.models.tiny_cmpagl import tiny_config
from tests.tiny_galr import tiny_galr

SENTENCES = ["a river", "some boats"]


def galr():
    return tiny_galr(SENTENCES)[0]


def cmpagl():
    torch.manual_seed(0)
    return CMPAGLModel(tiny_config(stem="test_efficientnet", stem_indices=[3, 4])).eval()


def used(model):
    """Give batch norms statistics and weights as a training leaves them."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return model


def inputs():
    side = 64
    return {
        "pixel_values": torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    }


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def tensors(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@pytest.mark.parametrize("build", [galr, cmpagl])
def test_a_folded_copy_gives_the_same_vectors_and_shares_all_but_convolutions(build):
    model = used(build())
    before = {name: value.clone() for name, value in tensors(model).items()}
    ready = Tower(model, inputs).ready()
    assert ready is not model
    assert norms(model) and not norms(ready)
    moved = (embed_inputs(model, inputs()) - embed_inputs(ready, inputs())).abs().max()
    assert moved < 1e-6 < TOLERANCE
    mine, theirs = tensors(model), tensors(ready)
    for name, value in mine.items():
        assert torch.equal(value, before[name])
        assert value.requires_grad == before[name].requires_grad
    convolutions = {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
        for part in ("weight", "bias")
    }
    assert {name for name in theirs if theirs[name] is not mine.get(name)} <= convolutions
    wide = [
        value
        for name, value in theirs.items()
        if name in convolutions and value.ndim == 4 and min(value.shape[1:3]) > 1
    ]
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in wide)


def test_a_model_in_training_goes_on_in_training_and_the_copy_never_does():
    model = used(galr()).train()
    ready = Tower(model, inputs).ready()
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in ready.modules())
    assert all(value.requires_grad for value in model.parameters())


def test_the_copy_is_kept_as_long_as_the_model_is_the_same():
    tower = Tower(galr(), inputs)
    assert tower.ready() is tower.ready()


def step(model):
    sum(value.sum() for value in model.parameters()).backward()
    torch.optim.SGD(model.parameters(), lr=1e-3).step()


def other_data(model):
    model.half().float()


def swap_a_module(model):
    model.text_projection = nn.Sequential(nn.Linear(20, 12))


def write_unseen(model):
    for value in model.parameters():
        value.data.mul_(1.01)


def write_statistics(model):
    norms(model)[0].running_mean.add_(1)


def replace_a_weight(model):
    model.image_projection = copy.deepcopy(model.image_projection)


def hook(model):
    model.backbone.conv_stem.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(
    "change",
    [step, other_data, swap_a_module, write_unseen, write_statistics, replace_a_weight, hook],
)
def test_a_model_that_has_changed_gets_another_copy(change):
    model = used(galr())
    tower = Tower(model, inputs)
    before = tower.ready()
    change(model)
    after = tower.ready()
    assert after is not before
    expected = embed_inputs(model, inputs())
    torch.testing.assert_close(embed_inputs(after, inputs()), expected, atol=3e-6, rtol=0)


class Between(nn.Module):
    """Takes what lies between a convolution and its batch norm for something else as well."""

    def __init__(self, conv, norm):
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, pixels):
        found = self.conv(pixels)
        return self.norm(found) + found


class Reads(nn.Module):
    """Asks the batch norm for what an identity has not."""

    def __init__(self, conv, norm):
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, pixels):
        return self.norm(self.conv(pixels)) * self.norm.eps


class Views(nn.Module):
    """Can only look at maps that lie as they usually do."""

    def __init__(self, conv, norm):
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, pixels):
        found = self.norm(self.conv(pixels))
        return found.view(len(found), -1).view(found.shape)


@pytest.mark.parametrize("kind", [Between, Reads, Views])
def test_what_cannot_be_folded_is_left_as_it_is_and_computes_the_same(kind, caplog):
    model = galr()
    first, norm = model.backbone.conv_stem, model.backbone.bn1
    model.backbone.conv_stem = kind(first, nn.BatchNorm2d(norm.num_features).eval())
    used(model)
    with caplog.at_level("INFO"):
        ready = inference_copy(model, inputs)
    assert "is not folded" in caplog.text
    assert len(norms(ready)) == len(norms(model))
    assert torch.equal(embed_inputs(ready, inputs()), embed_inputs(model, inputs()))


def test_a_convolution_that_runs_twice_is_not_folded():
    class Twice(nn.Module):
        def __init__(self, conv):
            super().__init__()
            self.conv, self.norm = conv, nn.BatchNorm2d(conv.out_channels)

        def forward(self, pixels):
            self.conv(pixels)
            return self.norm(self.conv(pixels))

    model = galr()
    model.backbone.conv_stem = Twice(model.backbone.conv_stem)
    ready = inference_copy(used(model.eval()), inputs)
    assert len(norms(ready)) == 2  # the other no longer stands right behind a convolution
    expected = embed_inputs(model, inputs())
    torch.testing.assert_close(embed_inputs(ready, inputs()), expected, atol=3e-6, rtol=0)


def test_a_model_that_cannot_be_copied_or_is_no_model_of_transformers_runs_itself():
    model = galr()
    model.lock = torch.Generator().get_state  # a bound method of what cannot be copied
    model.uncopied = (each for each in ())
    assert Tower(model, inputs).ready() is model

    class Plain(nn.Module):
        def get_image_features(self, pixel_values):
            return functional.adaptive_avg_pool2d(pixel_values, 1).flatten(1)

    plain = Plain()
    assert Tower(plain, inputs).ready() is plain
