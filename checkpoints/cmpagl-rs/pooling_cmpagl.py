"""Average pooling to a given size that can also be trained with deterministic algorithms."""

import torch
from torch import Tensor
from torch.nn import functional as F


def average_pool(features: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Adaptive average pooling of (B, C, h, w) to (B, C, H, W).

    Under ``torch.use_deterministic_algorithms`` (``full_determinism`` of a training) it is a
    product with the cells' shares on either side: the gradient of PyTorch's own kernel raises there
    on a GPU.

    Args:
        features: (B, C, h, w).
        size: (H, W), or the side of a square.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_avg_pool2d(features, size)
    rows, columns = (size, size) if isinstance(size, int) else size
    return _shares(features, rows, -2).T @ features @ _shares(features, columns, -1)


def _shares(features: Tensor, cells: int, dim: int) -> Tensor:
    """Share (length of ``dim``, cells) that each place has in the mean of each cell."""
    places = torch.eye(features.shape[dim], dtype=features.dtype, device=features.device)
    return F.adaptive_avg_pool1d(places, cells)
