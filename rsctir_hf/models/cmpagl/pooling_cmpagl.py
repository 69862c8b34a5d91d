"""Average pooling to a given size that can also be trained with deterministic algorithms.

Beside it the decoupling of the levels that are pooled.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
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


class ScaleDecoupling(nn.Module):
    """Each level keeps what is salient on it and hides that from the next one, in both orders.

    "SSJDN-style", after the abstract of arXiv 2212.05752: bi-directional scale decoupling by
    salience extraction and salience-guided suppression. The formulas are our choice: a 1x1
    convolution and a sigmoid make the salience m of a level, which keeps level * m; the next level
    is seen times 1 - m. That is done from the finest to the coarsest and back, with convolutions of
    their own, and what a level keeps in either order is added.

    Args:
        channels: of each level.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.finest_first = nn.ModuleList(nn.Conv2d(width, 1, kernel_size=1) for width in channels)
        self.coarsest_first = nn.ModuleList(
            nn.Conv2d(width, 1, kernel_size=1) for width in channels
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return levels (B, C_level, h, w), finest first, as they stand for themselves."""
        there = self.salience(maps, self.finest_first)
        back = self.salience(maps[::-1], self.coarsest_first[::-1])[::-1]
        return [level * (a + b) for level, a, b in zip(maps, there, back, strict=True)]

    def salience(self, maps: Sequence[Tensor], convolutions: nn.ModuleList) -> list[Tensor]:
        """Return each level's share (B, 1, h, w), in the order of maps: its salience, if seen."""
        shares: list[Tensor] = []
        hidden = None
        for level, convolution in zip(maps, convolutions, strict=True):
            seen = torch.ones_like(level[:, :1])
            if hidden is not None:
                seen = 1 - average_pool(hidden, (level.shape[-2], level.shape[-1]))
            hidden = torch.sigmoid(convolution(level * seen))
            shares.append(seen * hidden)
        return shares
