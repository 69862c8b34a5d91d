"""AMFMN's objective: the losses of a pair on its text-guided score (``guidance_galr``).

Released: the triplet loss alone, summed over all negatives, margin 0.2; the arguments for a margin
by similarity of captions are passed there and unused. Ours: InfoNCE beside it and the mean over the
negatives, as for the cosines; and the cosines keep their own losses, since the forms ``fusion`` and
``sim`` reorder only what these find first.
"""

from dataclasses import dataclass
from typing import Any, cast, get_args

from torch import Tensor

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.errors import RecipeError
from rsctir_hf.losses import Negatives, info_nce_loss, triplet_loss
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check


@dataclass(frozen=True)
class TextGuidedOptions(Options):
    """Options of ``TextGuided``.

    Attributes:
        contrastive: weight of InfoNCE within it; released: 0.
        triplet: weight of the triplet loss.
        margin: of the triplet loss.
        negatives: ``sum`` (released), ``hardest`` or ``mean``.
    """

    contrastive: float = 1.0
    triplet: float = 1.0
    margin: float = 0.2
    negatives: str = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("contrastive", "triplet", "margin"):
            check(self, name, getattr(self, name) >= 0, "0 or more")
        kinds = get_args(Negatives)
        check(self, "negatives", self.negatives in kinds, ", ".join(kinds))


class TextGuided(Objective):
    """See the head of the file; the guidance itself is a part of the model and stays in it."""

    Options = TextGuidedOptions

    def __init__(self, options: TextGuidedOptions, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__(options, model, facts)
        if getattr(model, "text_guidance", None) is None:
            raise RecipeError(
                "objectives: text_guided trains the score of a GaLR with text_guidance soft, fusion"
                " or sim, and this model scores by the cosine. Add config: {text_guidance: soft}."
            )

    def forward(self, batch: Batch) -> Tensor:
        """Return the weighted losses of the guided scores."""
        options: TextGuidedOptions = self.options
        scores = batch.model.pair_scores(batch.outputs.image_embeds, batch.outputs.text_embeds)
        contrastive = info_nce_loss(scores, batch.positives, scale=batch.scale)
        triplet = triplet_loss(
            scores,
            batch.image_of_caption,
            batch.positives,
            margin=options.margin,
            negatives=cast(Negatives, options.negatives),
        )
        return options.contrastive * contrastive + options.triplet * triplet
