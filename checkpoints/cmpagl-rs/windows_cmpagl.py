"""Windows of a token map: cutting, shifting, padding, masks and relative positions.

As in Swin (Liu et al., ICCV 2021), but for maps of any size. Nothing is stored in buffers: tables
and masks are computed from the size at hand, so nothing has to be rebuilt after loading.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_PADDING = 3


@dataclass(frozen=True)
class WindowPlan:
    """How one map (height, width) is cut into windows; shared by the blocks of a stage.

    Attributes:
        size: (height, width) of the map in tokens.
        window: (height, width) of a window; smaller than M only where the map is.
        shift: (down, right) tokens by which windows are moved.
        mask: (windows, tokens, tokens) True where a pair may attend, or None if all may.
    """

    size: tuple[int, int]
    window: tuple[int, int]
    shift: tuple[int, int]
    mask: Tensor | None

    @classmethod
    def build(
        cls, size: tuple[int, int], window_size: int, *, shifted: bool, device: torch.device
    ) -> "WindowPlan":
        """Plan the windows of a map; a direction that fits into one window is not shifted."""
        height, width = size
        step = window_size // 2 if shifted else 0
        window = (min(height, window_size), min(width, window_size))
        shift = (step if height > window_size else 0, step if width > window_size else 0)
        return cls(size, window, shift, _window_mask(size, window, shift, device))

    @property
    def fits_one_window(self) -> bool:
        """Whether the map is a single window."""
        return self.window == self.size

    def split(self, tokens: Tensor) -> Tensor:
        """Cut a map (B, H, W, dim) into (B, windows, tokens, dim), padded at the far sides."""
        below, right = self._padding
        tokens = F.pad(tokens, (0, 0, 0, right, 0, below))
        if any(self.shift):
            tokens = tokens.roll((-self.shift[0], -self.shift[1]), dims=(1, 2))
        return _cut(tokens, self.window)

    def merge(self, windows: Tensor) -> Tensor:
        """Undo ``split``: (B, windows, tokens, dim) -> (B, H, W, dim)."""
        height, width = self.size
        below, right = self._padding
        rows, columns = (height + below) // self.window[0], (width + right) // self.window[1]
        tokens = windows.unflatten(2, self.window).unflatten(1, (rows, columns))
        tokens = tokens.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (B, H + below, W + right, _)
        if any(self.shift):
            tokens = tokens.roll(self.shift, dims=(1, 2))
        return tokens[:, :height, :width]

    @property
    def _padding(self) -> tuple[int, int]:
        """Tokens added below and to the right to fill the last windows."""
        return -self.size[0] % self.window[0], -self.size[1] % self.window[1]


def relative_position_index(window: tuple[int, int], window_size: int) -> Tensor:
    """Row of the bias table for each pair of tokens in a window.

    Args:
        window: (height, width) in tokens, each at most ``window_size``.
        window_size: the side M that the table of (2M - 1)^2 rows was made for.

    Returns:
        (tokens, tokens) int64; a smaller window uses the middle of the table.
    """
    rows, columns = torch.meshgrid(torch.arange(window[0]), torch.arange(window[1]), indexing="ij")
    down = rows.reshape(-1, 1) - rows.reshape(1, -1) + window_size - 1
    right = columns.reshape(-1, 1) - columns.reshape(1, -1) + window_size - 1
    return down * (2 * window_size - 1) + right


def _cut(tokens: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut (B, H, W, dim), of whole windows, into (B, windows, tokens, dim)."""
    tokens = tokens.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return tokens.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _window_mask(
    size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int], device: torch.device
) -> Tensor | None:
    """Forbid pairs across the seam that a shift leaves, and pairs of a token with padding."""
    if not any(shift) and not any(side % part for side, part in zip(size, window, strict=True)):
        return None
    row, column = (
        _seam_labels(side, part, step, device)
        for side, part, step in zip(size, window, shift, strict=True)
    )
    # One label per place, and one for all padding, on whichever side it lies.
    labels = row[:, None] * (_PADDING + 1) + column[None, :]
    labels = labels.masked_fill((row == _PADDING)[:, None] | (column == _PADDING), -1)
    cut = _cut(labels[None, :, :, None], window)[0]  # (windows, tokens, 1)
    return cut == cut.transpose(1, 2)


def _seam_labels(side: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Label the places of one padded and shifted direction; equal labels may attend.

    0 = before the last window, 1 = last window before the seam, 2 = behind the seam, 3 = padding.
    """
    places = torch.arange(side + -side % window, device=device)
    labels = torch.zeros_like(places)
    if shift:
        labels[-window:] = 1
        labels[-shift:] = 2
    return torch.where(places.roll(-shift) >= side, _PADDING, labels)
