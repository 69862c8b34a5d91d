"""AMFMN's text-guided scores: a picture's vector gates a sentence's before the two are compared.

Source: Yuan et al., TGRS 2021, in the released code (``CrossAttention``). With a picture's vector v
and a sentence's t the score is cos(v, F(v, t)), where F is, by ``config.text_guidance``,

- ``soft``: sigmoid(W v) * t,
- ``fusion``: sigmoid(W1 [v; t]) * (W2 [v; t]),
- ``sim``: sigmoid((Wv v) * (Wt t)) * (Wt t).
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_galr import GaLRConfig

_EPS = 1e-8
_CELLS_AT_ONCE = 1 << 16  # pairs whose vectors are in memory, in the two forms that need them


class TextGuidance(nn.Module):
    """Scores pairs of unit vectors; see the head of the file."""

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        self.form, width = config.text_guidance, config.projection_dim
        sizes = {"soft": [width], "fusion": [2 * width, 2 * width], "sim": [width, width]}
        self.maps = nn.ModuleList(nn.Linear(size, width) for size in sizes[self.form])

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the scores (B, C), -1..1, of pictures (B, D) with sentences (C, D).

        ``soft`` takes two matrix products: cos(v, g * t) is (v * g) t over norm(v) sqrt(g^2 t^2),
        with the gates g = sigmoid(W v) of each picture.
        """
        if self.form == "soft":
            gates = torch.sigmoid(self.maps[0](images))  # (B, D)
            lengths = (gates.square() @ texts.square().T).clamp(min=_EPS**2).sqrt()  # (B, C)
            return (F.normalize(images, dim=-1) * gates) @ texts.T / lengths
        parts = texts.split(max(1, _CELLS_AT_ONCE // len(images)))
        return torch.cat(
            [F.cosine_similarity(images[:, None], self._guided(images, t), dim=-1) for t in parts],
            dim=1,
        )

    def _guided(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return F (B, C, D)."""
        first, second = cast("tuple[nn.Linear, nn.Linear]", tuple(self.maps))
        if self.form == "sim":
            text = second(texts)  # (C, D)
            return torch.sigmoid(first(images)[:, None] * text) * text
        gate, value = (_of_pair(each, images, texts) for each in (first, second))  # (B, C, D)
        return torch.sigmoid(gate) * value


def _of_pair(linear: nn.Linear, images: Tensor, texts: Tensor) -> Tensor:
    """Map [v; t] for every pair, (B, C, D), as the sum of what v and t bring."""
    width = images.shape[-1]
    of_image = F.linear(images, linear.weight[:, :width], linear.bias)  # (B, D)
    return of_image[:, None] + F.linear(texts, linear.weight[:, width:])
