"""Average pooling with deterministic algorithms, against PyTorch's own kernel."""

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.models.cmpagl.pooling_cmpagl import average_pool


@pytest.mark.parametrize(
    ("height", "width", "size"), [(14, 14, 7), (10, 7, 4), (5, 9, (2, 3)), (2, 3, 7)]
)
def test_deterministic_pooling_has_the_values_and_gradients_of_the_usual(height, width, size):
    features = torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    usual = F.adaptive_avg_pool2d(features, size)
    weights = torch.randn_like(usual)
    (expected,) = torch.autograd.grad((usual * weights).sum(), features)
    torch.use_deterministic_algorithms(True)
    try:
        pooled = average_pool(features, size)
        (gradient,) = torch.autograd.grad((pooled * weights).sum(), features)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(pooled, usual)
    torch.testing.assert_close(gradient, expected)
    assert torch.equal(average_pool(features, size), usual)
