"""An optional timm network in front of the Gswin stages (our choice).

Pretrained convolutional features make training possible on a small machine and a small data set,
where a Swin from scratch is not. Its deeper maps are added to the later stages, so that nothing
the network has learnt is lost.
"""

from contextlib import suppress
from itertools import pairwise
from typing import Any

import timm
import torch
from torch import Tensor, nn

from .configuration_cmpagl import CMPAGLConfig
from .pooling_cmpagl import average_pool

#: Side in pixels of the blank picture that measures a stem's channels and strides.
_PROBE_SIDE = 64


class Lateral(nn.Module):
    """1x1 projection of a stem's map to tokens of a stage's width."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=1)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Project (B, channels, h, w) to (B, H, W, dim).

        ``size`` is (H, W); the map is pooled to it where network and stages round differently.
        """
        if size is not None and tuple(features.shape[-2:]) != size:
            features = average_pool(features, size)
        return self.norm(self.proj(features).permute(0, 2, 3, 1))


def join_final_features(level: Tensor, final: Tensor) -> Tensor:
    """Put the final features behind the deepest level: (B, c, h, w), (B, d, ., .) -> c + d."""
    if final.shape[-2:] != level.shape[-2:]:
        final = average_pool(final, (level.shape[-2], level.shape[-1]))
    return torch.cat([level, final], dim=1)


def create_stem(name: str) -> Any:  # noqa: ANN401 - timm networks share no class beyond Module
    """Create a timm network without its classifier, with timm's own initialisation.

    Raises:
        ValueError: timm does not know it, or it offers no intermediate features.
    """
    try:
        stem = timm.create_model(name, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise ValueError(
            f"stem={name!r} is not known to timm {timm.__version__}; see timm.list_models()."
        ) from error
    if not hasattr(stem, "forward_intermediates"):
        raise ValueError(f"stem={name!r} offers no intermediate features; choose another network.")
    return stem


# Copied from rsctir_hf.models.galr.backbone_galr.checkpoint_activations
def checkpoint_activations(
    network: Any,  # noqa: ANN401
    *,
    enable: bool,
) -> None:
    """Have a timm network recompute its activations in the backward pass, if it can.

    Batch norm counts the statistics of such a batch twice.
    """
    with suppress(AssertionError, AttributeError):
        network.set_grad_checkpointing(enable)


@torch.no_grad()
def measure_stem(
    stem: Any,  # noqa: ANN401
    config: CMPAGLConfig,
) -> tuple[list[int], list[int], int]:
    """Run a blank picture through a network.

    Returns:
        Channels and strides in pixels of each chosen level, and channels of the final features.

    Raises:
        ValueError: a level does not exist, or strides do not double from level to level.
    """
    weight = next(stem.parameters())
    blank = torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE, dtype=weight.dtype, device=weight.device)
    was_training = stem.training
    try:
        final, levels = stem.eval().forward_intermediates(blank, indices=config.stem_indices)
    except (AssertionError, IndexError) as error:
        raise ValueError(
            f"stem={config.stem!r} has no levels stem_indices={config.stem_indices}. {error}"
        ) from error
    finally:
        stem.train(was_training)
    strides = [_PROBE_SIDE // level.shape[-1] for level in levels]
    if any(deeper != 2 * stride for stride, deeper in pairwise(strides)):
        raise ValueError(
            f"stem={config.stem!r} at stem_indices={config.stem_indices} has strides {strides}; "
            "each must be twice the one before."
        )
    return [level.shape[1] for level in levels], strides, final.shape[1]
