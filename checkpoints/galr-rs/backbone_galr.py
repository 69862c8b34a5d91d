"""The timm backbone of GaLR: built for pictures of any size where timm can, and run."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import timm
import torch
from torch import Tensor, nn

from .configuration_galr import GaLRConfig

#: How timm's window and patch transformers are asked to take pictures of any size; a network
#: that knows neither (a convolutional one needs none) refuses the argument with a TypeError.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True})


def build_backbone(config: GaLRConfig) -> Any:  # noqa: ANN401 - timm models share no base
    """Build the timm model ``config.backbone`` without classifier.

    Raises:
        ValueError: if timm has no such model, or it cannot give intermediate features.
    """
    if not timm.is_model(config.backbone):
        raise ValueError(
            f"backbone is {config.backbone!r}; timm {timm.__version__} has no such model. "
            "List its models with timm.list_models()."
        )
    backbone = _create_backbone(config.backbone)
    if not hasattr(backbone, "forward_intermediates"):
        raise ValueError(
            f"backbone {config.backbone!r} has no forward_intermediates in timm "
            f"{timm.__version__}; choose another."
        )
    highest = max(config.backbone_indices)
    if highest >= len(backbone.feature_info):
        raise ValueError(
            f"backbone_indices ends at {highest}, but {config.backbone!r} has "
            f"{len(backbone.feature_info)} levels (0 to {len(backbone.feature_info) - 1})."
        )
    # Windows and position tables fit image_size; other sizes are interpolated or padded.
    if hasattr(backbone, "set_input_size"):
        backbone.set_input_size((config.image_size, config.image_size))
    if not config.backbone_pool:
        backbone.prune_intermediate_layers(
            config.backbone_indices, prune_norm=True, prune_head=True
        )
    return backbone


def run_backbone(
    backbone: Any,  # noqa: ANN401
    pixel_values: Tensor,
    config: GaLRConfig,
) -> tuple[list[Tensor], Tensor | None]:
    """Return the levels (B, C_level, h, w), finest first, and the pooled features (B, C) or None.

    Raises:
        ValueError: if this backbone cannot take pictures of this size.
    """
    try:
        if not config.backbone_pool:
            maps = backbone.forward_intermediates(
                pixel_values, indices=config.backbone_indices, intermediates_only=True
            )
            return maps, None
        final, maps = backbone.forward_intermediates(pixel_values, indices=config.backbone_indices)
        return maps, backbone.forward_head(final, pre_logits=True)
    except (AssertionError, RuntimeError) as error:
        height, width = pixel_values.shape[-2:]
        built_for = (config.image_size, config.image_size)
        if (height, width) == built_for or isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(
            f"pixel_values are {height} x {width} pixels, which backbone {config.backbone!r} "
            f"(built for image_size={config.image_size}) cannot take: {error} Resize the pictures "
            f"to {config.image_size} x {config.image_size}, as the processor does, or choose a "
            "convolutional backbone."
        ) from error


def run_backbone_unpooled(
    backbone: Any,  # noqa: ANN401
    pixel_values: Tensor,
    config: GaLRConfig,
) -> tuple[list[Tensor], Tensor]:
    """Return the levels, and the final map (B, C, h, w) whose mean the pooled features are.

    Raises:
        NotImplementedError: there are no pooled features, or they are no such mean.
    """
    if config.backbone_pool and config.image_head == "linear":
        final, maps = backbone.forward_intermediates(pixel_values, indices=config.backbone_indices)
        if final.ndim == 4 and final.shape[1] == backbone.head_hidden_size:
            return maps, final
    raise NotImplementedError(
        f"Cells can be taken out of pooled features only: this model has "
        f"backbone={config.backbone!r}, backbone_pool={config.backbone_pool} and "
        f"image_head={config.image_head!r}; it needs a convolutional backbone, True and 'linear'."
    )


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


def load_backbone(backbone: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Start a backbone from weights with timm's keys; a classifier among them is left out.

    Raises:
        ValueError: a weight of the backbone is missing or of another shape.
    """
    wanted = backbone.state_dict()
    wrong = [
        name
        for name, value in wanted.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(wanted)} weights of the backbone are missing or of another "
            f"shape, first {wrong[0]!r}; give the weights of the timm model in config.backbone."
        )
    backbone.load_state_dict({name: weights[name] for name in wanted})


def _create_backbone(name: str) -> Any:  # noqa: ANN401
    """Create the network so that it takes pictures of any size, if timm lets it."""
    for option in _ANY_SIZE:
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, **option)
        except TypeError:
            continue
    return timm.create_model(name, pretrained=False, num_classes=0)
