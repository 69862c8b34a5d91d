"""Mixed precision on a CPU: depthwise convolutions stay in float32, all else follows autocast."""

import pytest
import torch
from torch import nn

from rsctir_hf.training.precision import keep_depthwise_precise


class Recorder(nn.Module):
    def __init__(self):
        super().__init__()
        self.kinds = []

    def forward(self, value):
        self.kinds.append(value.dtype)
        return value


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        Recorder(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        Recorder(),
        nn.Conv2d(4, 2, 1),
        Recorder(),
    )


def test_only_depthwise_convolutions_leave_autocast(network):
    for _ in range(2):  # a second Trainer may get the same model
        keep_depthwise_precise(network)
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.rand(1, 3, 8, 8)).float().sum().backward()
        assert torch.is_autocast_enabled("cpu")
    kinds = [kind for module in network if isinstance(module, Recorder) for kind in module.kinds]
    assert kinds == [torch.bfloat16, torch.float32, torch.bfloat16]
    assert network[2].weight.grad.dtype == torch.float32


def test_without_autocast_nothing_changes(network):
    pixels = torch.rand(1, 3, 8, 8)
    expected = network(pixels)
    keep_depthwise_precise(network)
    assert torch.equal(network(pixels), expected)
    assert not torch.is_autocast_enabled("cpu")


def test_an_error_within_a_convolution_leaves_autocast_on(network):
    keep_depthwise_precise(network)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError, match="channels"):
            network[2](torch.rand(1, 3, 8, 8))
        assert torch.is_autocast_enabled("cpu")
