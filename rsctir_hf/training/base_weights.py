"""Tuned weights mixed with those they started from, so that what the base knew is kept.

Weights on the straight line between a model and the one it was tuned from often know nearly all of
both (WiSE-FT: Wortsman et al., CVPR 2022). A share of 0 is the tuned model, 1 is the base.
"""

import logging
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

#: Shares of the base that are tried on validation.
SHARES = tuple(tenths / 10 for tenths in range(11))
#: Chosen on validation with 226 training pictures, for those that hold kept sentences.
LARGEST_SHARE, PICTURES_OF_THE_BASE = 0.5, 70


def share_by_pictures(pictures: int) -> float:
    """Return the share of the base that suits so many training pictures: 1/2, less from 140 on."""
    return min(LARGEST_SHARE, PICTURES_OF_THE_BASE / pictures)


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights and buffers by their names."""
    return dict(chain(model.named_parameters(), model.named_buffers()))


class BaseWeights:
    """Keeps a model's weights as they are now, to mix them into what training makes of them.

    Args:
        model: before training, on its device.
        mixed: whether a weight or buffer of this name is mixed; by default all of them are.
            Numbers that are no floating point stay as training leaves them.
    """

    def __init__(self, model: nn.Module, mixed: Callable[[str], bool] = lambda name: True) -> None:
        self._base = {
            name: (tensor, tensor.detach().clone())
            for name, tensor in named_tensors(model).items()
            if tensor.is_floating_point() and mixed(name)
        }

    @torch.no_grad()
    def mix(self, share: float) -> None:
        """Put ``share`` of the base into the model, which holds the tuned weights."""
        for tensor, base in self._base.values():
            tensor.lerp_(base, share)

    @torch.no_grad()
    def choose(
        self, score: Callable[[], float], *, kept_gain: float, shares: Iterable[float] = SHARES
    ) -> dict[str, Any]:
        """Mix in the share of the base that validation chooses.

        Args:
            score: of the model as it is, higher is better.
            kept_gain: of the best score's gain over the base, the part that must be kept. The
                greatest share that keeps it is chosen, so ties go to the base.
            shares: to try; 1, the base itself, is among them.

        Returns:
            ``share``, and ``validation``: the score by share.
        """
        tuned = [tensor.detach().clone() for tensor, _ in self._base.values()]
        found: dict[float, float] = {}
        for share in shares:
            self._put(tuned, share)
            found[share] = score()
        best, base = max(found.values()), found[1.0]
        enough = best - (1 - kept_gain) * (best - base)
        share = max(share for share, value in found.items() if value >= enough)
        tried = ", ".join(f"{part:g}: {value:.2f}" for part, value in found.items())
        logger.info("Share of the base's weights: %g, by validation mR (%s)", share, tried)
        self._put(tuned, share)
        return {"share": share, "validation": found}

    def _put(self, tuned: list[Tensor], share: float) -> None:
        for (tensor, _), weight in zip(self._base.values(), tuned, strict=True):
            tensor.copy_(weight)
        self.mix(share)
