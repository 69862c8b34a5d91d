"""What ``CMPAGLModel`` gives out, and what it can be asked for."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput


# Copied from rsctir_hf.models.galr.outputs_galr.asked_for
def asked_for(**outputs: bool | None) -> dict[str, bool]:
    """Return ``output_NAME`` for each value that was given; the others are the configuration's."""
    return {f"output_{name}": value for name, value in outputs.items() if value is not None}


@dataclass
class CMPAGLOutput(ModelOutput):
    """Output of ``CMPAGLModel.forward``.

    Attributes:
        logits_per_image: (B, C) scaled cosines; None unless both sides were given.
        logits_per_text: (C, B), its transpose.
        image_embeds: (B, D) float32 unit vectors, or None without pictures.
        text_embeds: (C, D) float32 unit vectors, or None without sentences.
        vision_model_output: of ``get_image_features``; its ``last_hidden_state`` (B, tokens, dim)
            serves ``match`` and ``match_logits``.
        text_model_output: of ``get_text_features``; its ``last_hidden_state`` (C, T, hidden)
            serves ``match_logits``.
    """

    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: BaseModelOutputWithPooling | None = None

    # Copied from rsctir_hf.models.galr.outputs_galr.GaLROutput.to_tuple
    def to_tuple(self) -> tuple[Any, ...]:
        """Return the parts that are not None, those of a side as a tuple too."""
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in self.values())
