"""CMIR-NET's terms while towers train: the picture's vector learns to tell labels.

The code, its terms and what is ours about them stand in ``labels.code_network``. The finished model
is without the heads; ``rsctir fit-labels`` fits a head on its vectors.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from rsctir_hf.data.label_sets import LABEL_FILES
from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.errors import RecipeError
from rsctir_hf.labels.code_network import LabelCodeLoss, LabelCoder, TermWeights
from rsctir_hf.training.objectives.objective import Batch, Objective, Options


@dataclass(frozen=True)
class LabelCodesOptions(Options):
    """Options of ``LabelCodes``; those of ``TermWeights``, which says what they are.

    Attributes:
        weight: of all terms; the sum over labels is some ten times an InfoNCE.
    """

    weight: float = 0.1
    labels: float = TermWeights.labels
    distance: float = TermWeights.distance
    picture_again: float = TermWeights.picture_again
    labels_again: float = TermWeights.labels_again


class LabelCodes(Objective):
    """The loss of codes that pictures share with their labels; pictures without labels are out.

    Raises:
        RecipeError: no training picture has labels.
    """

    Options: ClassVar[type[Options]] = LabelCodesOptions

    def __init__(self, options: LabelCodesOptions, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__(options, model, facts)
        if not facts.label_names:
            raise RecipeError(
                f"objectives: label_codes needs labels of the training pictures: {LABEL_FILES[0]} "
                'in the folder of the data, with rows such as {"file_name": "a.jpg", "split": '
                '"train", "labels": ["ship", "water"]}.'
            )
        terms = TermWeights(
            options.labels, options.distance, options.picture_again, options.labels_again
        )
        coder = LabelCoder(model.config.projection_dim, len(facts.label_names))
        self.loss = LabelCodeLoss(coder, terms)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss over the pictures whose labels are known; 0 where there are none."""
        vectors, labels = batch.outputs.image_embeds, batch.labels
        known = None if labels is None else ~labels.isnan().any(dim=1)  # (B,)
        if labels is None or known is None or not known.any():
            return vectors.sum() * 0
        return self.loss(vectors[known], labels[known])
