"""What happens to the weights beside the optimizer: freezing by stages, and averaging."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

AVERAGE_FILE = "averaged_weights.safetensors"


class WeightAverage(TrainerCallback):
    """Exponential moving average of a model's trainable floating-point weights.

    When training ends the model is given the average, whether or not its best state was loaded.

    The decay is warmed up as ``min(decay, (1 + step) / (10 + step))`` so that the average
    forgets its random start.

    Args:
        model: the model whose weights are followed.
        decay: share of the old average kept at each step, 0 <= decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,  # noqa: ANN401 (the callback signature of transformers)
    ) -> None:
        """Move the average towards the weights the optimizer has just written."""
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        for name, value in model.named_parameters() if model is not None else ():
            if value.requires_grad:
                self.weights[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Leave the model with the averaged weights, which are those that were evaluated."""
        for name, value in model.named_parameters() if model is not None else ():
            value.copy_(self.weights[name])

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights with the average; a second call undoes it."""
        for name, value in model.named_parameters():
            kept = value.detach().clone()
            value.copy_(self.weights[name])
            self.weights[name].copy_(kept)

    def save(self, folder: Path) -> None:
        """Write the average beside a checkpoint."""
        weights = {name: value.contiguous() for name, value in self.weights.items()}
        save_file(weights, folder / AVERAGE_FILE)

    def load(self, folder: Path) -> None:
        """Read the average of a checkpoint onto the device of the present one."""
        for name, value in load_file(folder / AVERAGE_FILE).items():
            self.weights[name].copy_(value)


class StagedFreezing(TrainerCallback):
    """Freezes modules by name prefix for their first epochs.

    Args:
        frozen_epochs: prefix -> number of epochs frozen, -1 for always.
    """

    def __init__(self, frozen_epochs: Mapping[str, float]) -> None:
        self.frozen_epochs = frozen_epochs

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,  # noqa: ANN401 (the callback signature of transformers)
    ) -> None:
        """Set ``requires_grad`` for the epoch that begins."""
        if model is not None:
            apply_freezing(model, self.frozen_epochs, epoch=state.epoch or 0.0)


def apply_freezing(model: nn.Module, frozen_epochs: Mapping[str, float], *, epoch: float) -> None:
    """Freeze the parameters whose prefix is still frozen at ``epoch``, thaw the others.

    Raises:
        ValueError: if a prefix fits no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in frozen_epochs:
        if not any(has_prefix(name, prefix) for name in names):
            raise ValueError(f"frozen_epochs: no parameter of the model begins with {prefix!r}.")
    for name, parameter in model.named_parameters():
        until = setting_of(name, frozen_epochs, default=0)
        parameter.requires_grad_(not (until < 0 or epoch < until))


def setting_of(name: str, settings: Mapping[str, float], *, default: float) -> float:
    """Return the setting of a parameter; of several prefixes that fit, the longest decides."""
    fits = [prefix for prefix in settings if has_prefix(name, prefix)]
    return settings[max(fits, key=len)] if fits else default


def has_prefix(name: str, prefix: str) -> bool:
    """Whether a dotted parameter name lies in the module ``prefix`` names."""
    return name == prefix or name.startswith(f"{prefix}.")
