"""Fast-then-fine, trained: the gated vectors of a picture learn beside its whole vector.

"FTF-style" (arXiv 2604.20429, published without formulas). The two levels, their weights and the
term against redundant dimensions are those of EERCF's code (AAAI 2024): 0.8 InfoNCE of the whole
vectors and 0.2 of the gated ones, here the family's own loss and a quarter as much beside it. The
tower runs a second time for the patches, which takes as long again.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.embedding.roles import PatchEncoder
from rsctir_hf.errors import UnsupportedError
from rsctir_hf.losses import gated_similarity, info_nce_loss, redundancy_loss
from rsctir_hf.search.fine import FINE_TEMPERATURE
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check


@dataclass(frozen=True)
class TwoLevelOptions(Options):
    """Options of ``two_level``.

    Attributes:
        weight: of the gated level beside the family's loss.
        temperature: of the weights of the patches.
        redundancy: weight of EERCF's term, within this loss; its code has 7e-4. 0: without it.
    """

    weight: float = 0.25
    temperature: float = FINE_TEMPERATURE
    redundancy: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "temperature", self.temperature > 0, "more than 0")
        check(self, "redundancy", self.redundancy >= 0, "0 or more")


class TwoLevel(Objective):
    """InfoNCE between sentences and the pictures that they gate.

    Raises:
        UnsupportedError: the model has no patches.
    """

    Options = TwoLevelOptions

    def __init__(self, options: TwoLevelOptions, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__(options, model, facts)
        if not isinstance(model, PatchEncoder):
            raise UnsupportedError(
                f"The objective two_level needs a model with get_patch_features (CMPAGL, GaLR); "
                f"{type(model).__name__} has none."
            )

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of the gated level, with the redundancy term if it is asked for."""
        options = self.options
        patches = batch.model.get_patch_features(batch.inputs["pixel_values"])  # (B, T, D)
        images, texts = batch.outputs.image_embeds, batch.outputs.text_embeds
        gated = gated_similarity(texts.float(), patches.float(), temperature=options.temperature)
        loss = info_nce_loss(gated, batch.positives, scale=batch.scale)
        if options.redundancy:
            loss = loss + options.redundancy * redundancy_loss(
                images[batch.image_of_caption], texts
            )
        return loss
