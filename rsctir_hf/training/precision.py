"""Mixed precision and memory formats where they pay on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn

CPU = "cpu"


def tune_for_cpu(model: nn.Module, *, bf16: bool) -> None:
    """Lay the weights out as convolutions on a CPU like them, and mind what bfloat16 costs there.

    Args:
        model: to be trained; changed in place.
        bf16: whether it is trained under autocast.
    """
    if bf16:
        keep_depthwise_precise(model)
    # Module's own .to: transformers wraps it untyped.
    nn.Module.to(model, memory_format=torch.channels_last)


def keep_depthwise_precise(model: nn.Module) -> None:
    """Run depthwise convolutions in full precision under CPU autocast.

    Their bfloat16 backward pass is slow: with the late blocks thawed, a step gains more from
    bfloat16 where they keep out of it, see ``compared`` in ``results/training_speed.json``
    (``benchmarks/training_speed.py``). Without a backward pass through them the difference is
    small. On other devices the hooks do nothing.
    """
    for module in model.modules():
        if _leave_autocast in module._forward_pre_hooks.values():
            continue  # of a Trainer before this one
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.register_forward_pre_hook(_leave_autocast)
            module.register_forward_hook(_return_to_autocast, always_call=True)


def _leave_autocast(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:  # noqa: ANN401
    (pixels,) = inputs
    module.ran_in_autocast = pixels.device.type == CPU and torch.is_autocast_enabled(CPU)
    if not module.ran_in_autocast:
        return inputs
    torch.set_autocast_enabled(CPU, False)
    return (pixels.float(),)


def _return_to_autocast(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:  # noqa: ANN401
    if module.ran_in_autocast:
        torch.set_autocast_enabled(CPU, True)
    return output
