"""What the tokens of a picture see of the whole picture, and how much the model makes of it.

CMPAGL's global information window (our reading of it, see ``models.cmpagl.gswin_cmpagl``): every
token looks at M x M cells that hold the whole picture, and what it sees is added with a learned
weight per channel that starts at zero. A map alone says little: with a weight near zero the model
ignores what it looks at.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from rsctir_hf.errors import UnsupportedError


@runtime_checkable
class GlobalWindowModel(Protocol):
    """A model whose tokens look at a window that holds the whole picture."""

    def get_global_attention(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Return a (B, h, w, M, M) map for each block that used the window."""

    def get_global_scales(self) -> list[Tensor]:
        """Return the learned weight (dim,) of the window in each block that has one."""


@dataclass(frozen=True)
class GlobalView:
    """The global window of one block, for one picture.

    Attributes:
        attention: (h, w, M, M), how much each of the h x w tokens looks at each cell, averaged
            over heads; the M x M shares of a token sum to 1 (to less in ``concat`` mode, where
            local keys take the rest).
        scale: (dim,) learned weight per channel; None in ``concat`` mode, which has none.
    """

    attention: Tensor
    scale: Tensor | None

    @property
    def seen(self) -> Tensor:
        """How much the picture's tokens look at each cell on average, (M, M)."""
        return self.attention.mean(dim=(0, 1))

    @property
    def weight(self) -> float | None:
        """Mean absolute learned weight; 0 means that the block ignores its global window."""
        return None if self.scale is None else float(self.scale.abs().mean())


@torch.no_grad()
def global_views(model: nn.Module, pixel_values: Tensor) -> list[GlobalView]:
    """Return the global window of each block that used one, first block first.

    Args:
        model: a ``GlobalWindowModel``, in evaluation mode.
        pixel_values: (1, 3, H, W), one picture.

    Returns:
        One view a block; empty where no map of the picture exceeds one window.

    Raises:
        UnsupportedError: the model has no global window.
        ValueError: not one picture.
    """
    if not isinstance(model, GlobalWindowModel):
        raise UnsupportedError(
            f"{type(model).__name__} has no global window. Use a CMPAGL-style model."
        )
    if len(pixel_values) != 1:
        raise ValueError(f"Got {len(pixel_values)} pictures; give one, as (1, 3, H, W).")
    maps = model.get_global_attention(pixel_values)
    scales: list[Tensor | None] = [*model.get_global_scales()] or [None] * len(maps)
    # A small picture has fewer maps: its last ones fit one window and need no global one.
    return [
        GlobalView(seen[0].float().cpu(), None if scale is None else scale.detach().float().cpu())
        for seen, scale in zip(maps, scales, strict=False)
    ]
