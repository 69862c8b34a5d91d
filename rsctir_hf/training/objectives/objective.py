"""What an objective is: a loss over one batch, with heads of its own if it needs some.

Heads are parameters of the objective. They lie in the model while it trains, below ``PLACE``, so
that optimizer, clipping, average and checkpoints hold them as they hold the model's own; the
finished model is without them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.training.recipe_files import check

#: Name of the heads' module in a model that trains; a recipe's prefixes may name it.
PLACE = "objectives"


@dataclass(frozen=True)
class Batch:
    """One batch after the forward pass: B pictures with C captions.

    Attributes:
        model: unwrapped.
        inputs: what the model was given, such as ``pixel_values`` and ``attention_mask``.
        outputs: what it returned; with ``hidden_states`` if an objective asks for them.
        similarity: (B, C) cosines, or what the model scores a pair by.
        image_of_caption: (C,) int64, the picture each caption was drawn for.
        positives: (B, C) bool, true where the caption describes the picture.
        scale: 1 / tau, the exponential of the learned ``logit_scale``.
        epoch: how many have passed, with the part of the present one.
        pairs: (C,) int64, number of picture and sentence in the training data; None of a stream.
        classes: (B,) int64 into ``RowFacts.class_names``, -1 unknown; None where none is known.
        labels: (B, L) float32, 1 where a label of ``RowFacts.label_names`` holds, NaN for a picture
            of which none is known; None where there are no labels.
    """

    model: Any
    inputs: Mapping[str, Tensor]
    outputs: Any
    similarity: Tensor
    image_of_caption: Tensor
    positives: Tensor
    scale: Tensor
    epoch: float
    pairs: Tensor | None = None
    classes: Tensor | None = None
    labels: Tensor | None = None


@dataclass(frozen=True)
class Options:
    """What a recipe may say of every objective; a subclass adds fields with defaults.

    Attributes:
        weight: of its loss in the sum.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        check(self, "weight", 0 < self.weight < math.inf, "more than 0")


class Objective(nn.Module):
    """A loss over batches. ``forward`` must not depend on what was computed before the last step.

    What it remembers from batch to batch belongs into buffers, so that a resumed run knows it too.

    Args:
        options: an ``Options`` of the class's own kind, checked.
        model: whose losses it adds to, to read sizes from. To keep it would make it a part of the
            objective; each batch brings it.
        facts: what is known of the training rows; nothing of a stream.

    Attributes:
        Options: the dataclass of its options.
        hidden_states: whether the towers' hidden states are to be among the outputs.
    """

    Options: ClassVar[type[Options]] = Options
    hidden_states: ClassVar[bool] = False

    def __init__(self, options: Any, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__()
        self.options = options

    def begin(self, encoder: Encoder) -> None:
        """Look once at the model, with its processor, as training starts from it; nothing here."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        raise NotImplementedError

    def close_epoch(self) -> dict[str, list[Any]]:
        """Return what an epoch has shown of single pairs, and forget it.

        Returns:
            ``pair``, numbers as in ``Batch.pairs``, and columns beside it; nothing by default.
        """
        return {}
