"""Token maps with a box taken out of them, so that a box's share in a score can be measured.

The paper has no masking; all of this is our reading of "the region's tokens are masked". The stem
(or patch embedding) sees the whole picture. On every map behind it, the cells under a box are
taken out of

- the keys of the windows and of the global window (a global cell is the mean of its free tokens,
  and is no key where none is free),
- patch merging, where they count as zero,
- every mean: of the last tokens, and of the stem's maps that skip the stages.

What a convolution of the stem has carried from under the box to cells beside it stays.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: A cell is under a box that covers at least this share of it.
COVERED_SHARE = 0.5
#: Added to the attention on a masked key. Finite, so that a window without a free key (all of its
#: tokens are masked, and nothing reads them) gives no NaN; the exponential is zero all the same.
_MASKED = -1e4


@dataclass(frozen=True)
class MaskedBoxes:
    """V boxes, each of which is taken out of a copy of the picture's maps.

    Attributes:
        boxes: (V, 4) x1, y1, x2, y2 in pixels of the model input.
        image_size: (H, W) pixels of the model input.
    """

    boxes: Tensor
    image_size: tuple[int, int]

    def free(self, rows: int, columns: int) -> Tensor:
        """Return (V, rows, columns) for a map: 0 for the cells under the box, 1 elsewhere.

        A cell is under a box that covers at least half of it. Where none is covered that far, the
        cells covered most are: a small box masks its cell. A box beside the picture masks nothing.
        """
        height, width = self.image_size
        down = _covered(self.boxes[:, 1], self.boxes[:, 3], side=height, cells=rows)
        along = _covered(self.boxes[:, 0], self.boxes[:, 2], side=width, cells=columns)
        share = down.unsqueeze(2) * along.unsqueeze(1)  # (V, h, w)
        least = share.amax(dim=(1, 2), keepdim=True).clamp(max=COVERED_SHARE)
        return 1 - ((share > 0) & (share >= least)).to(self.boxes.dtype)


def free_mean(features: Tensor, free: Tensor | None, dim: int | tuple[int, int]) -> Tensor:
    """Return the mean along ``dim`` of what is free; zero where nothing is.

    Args:
        features: tokens or maps.
        free: 1 where a feature counts, 0 where it does not, broadcast against ``features``; None
            for the plain mean.
        dim: the one or two dimensions that the mean is taken along.
    """
    if free is None:
        return features.mean(dim)
    return (features * free).mean(dim) / _at_least_tiny(free.mean(dim))


def map_mean(level: Tensor, masked: MaskedBoxes | None) -> Tensor:
    """Mean (B, C) of a map (B, C, h, w), or (V, C) without the cells under each of V boxes."""
    if masked is None:
        return free_mean(level, None, (2, 3))
    free = masked.free(*level.shape[2:]).to(level).unsqueeze(1)  # (V, 1, h, w)
    return free_mean(level, free, (2, 3))


def free_cells_only(pooled: Tensor, share: Tensor) -> Tensor:
    """Turn the mean (B, C, M, M) over all tokens of a cell into that over the ``share`` of them.

    Args:
        pooled: mean of token * free.
        share: (B, 1, M, M) mean of free.
    """
    return pooled / _at_least_tiny(share)


def key_bias(free: Tensor) -> Tensor:
    """Return what to add to the attention on keys: 0 where ``free`` is 1, far below where 0."""
    return (1 - free) * _MASKED


def _covered(start: Tensor, end: Tensor, *, side: int, cells: int) -> Tensor:
    """Share (V, cells) of each of a side's equal cells between start and end (V,), in pixels."""
    edges = torch.linspace(0, side, cells + 1, device=start.device, dtype=start.dtype)
    low = torch.maximum(start.unsqueeze(1), edges[:-1])
    high = torch.minimum(end.unsqueeze(1), edges[1:])
    return (high - low).clamp(min=0) * cells / side


def _at_least_tiny(value: Tensor) -> Tensor:
    return value.clamp(min=torch.finfo(value.dtype).tiny)
