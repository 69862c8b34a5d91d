"""What ``GaLRModel`` gives out, and what it can be asked for."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from .configuration_galr import GaLRConfig


def asked_for(**outputs: bool | None) -> dict[str, bool]:
    """Return ``output_NAME`` for each value that was given; the others are the configuration's."""
    return {f"output_{name}": value for name, value in outputs.items() if value is not None}


def wants(config: GaLRConfig, name: str, asked: bool | None) -> bool:
    """Tell whether an output was asked for; None leaves it to the configuration."""
    return bool(getattr(config, f"output_{name}") if asked is None else asked)


@dataclass
class GaLROutput(ModelOutput):
    """What ``GaLRModel`` returns; a side that was not given is ``None``.

    Attributes:
        logits_per_image: (B, C) cosine times exp(logit_scale).
        logits_per_text: (C, B) its transpose.
        image_embeds: (B, D) unit vectors.
        text_embeds: (C, D) unit vectors.
        vision_model_output: of ``get_image_features``.
        text_model_output: of ``get_text_features``.
    """

    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the parts that are not None, those of a side as a tuple too."""
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in self.values())
