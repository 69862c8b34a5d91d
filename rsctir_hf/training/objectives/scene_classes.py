"""SSJDN-style class supervision: one head tells scenes apart by either side; margins follow it.

"SSJDN-style", after the abstract of arXiv 2212.05752 (no code, no formulas): class labels supervise
both modalities, and the triplet loss has an adaptive constant. The third part, the decoupling of
scales, is the switch ``scale_decoupling`` of a model's configuration.

Our choices: the head is linear on the unit vectors, and its logits are divided by the model's
temperature, which learns nothing from them. The margin of a negative is whole where the classes
differ or are not known. Within a class it shrinks with the cosine of the class probabilities of
picture and sentence, down to a floor: two that the head holds for the same thing need not be far
apart.

The head stays in the finished model, ``config.scene_classes`` with it: a search shows the predicted
scene of each hit (``search.scene_labels``).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.embedding.encode import device_of
from rsctir_hf.errors import RecipeError
from rsctir_hf.losses import triplet_loss
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check

ADAPTER = ".lora_"  # in the names of an adapter's parameters
UNKNOWN = -1  # the class of a picture of which none is known


@dataclass(frozen=True)
class SceneClassOptions(Options):
    """What a recipe may say of it.

    Attributes:
        supervision: weight of the class loss, the mean of both sides.
        ranking: weight of the triplet loss with adaptive margins; set ``triplet_weight`` to 0 for
            it to take the place of the usual one.
        margin: greatest margin, in cosine.
        floor: least share of it.
    """

    supervision: float = 1.0
    ranking: float = 1.0
    margin: float = 0.2
    floor: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("supervision", "ranking", "margin"):
            check(self, name, getattr(self, name) >= 0, "0 or more")
        check(self, "floor", 0 <= self.floor <= 1, "0..1")


class SceneClasses(Objective):
    """Both losses; puts a ``scene_head`` for the classes of the data into the model.

    Args:
        options: of the recipe.
        model: of one of our families. A head for these very classes is kept, another one replaced.
        facts: its classes are told apart.

    Raises:
        RecipeError: fewer than two classes are known, the model has no place for a head, or an
            adapter is trained, which cannot hold it.
    """

    Options: ClassVar[type[Options]] = SceneClassOptions

    def __init__(self, options: SceneClassOptions, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__(options, model, facts)
        names = facts.class_names
        if len(names) < 2:
            raise RecipeError(
                f"objectives: scene_classes needs pictures of two classes or more, and the data "
                f"have {len(names)}. Give them a column 'category' or 'class', or leave it out."
            )
        adapted = any(ADAPTER in name for name, _ in model.named_parameters())
        if adapted or not hasattr(model, "scene_head"):
            raise RecipeError(
                "objectives: scene_classes puts a head into the model, which needs a GaLR or "
                "CMPAGL model whose weights are trained, not an adapter. Leave it out, or lora."
            )
        if list(model.config.scene_classes) != names:
            model.config.scene_classes = names
            head = nn.Linear(model.config.projection_dim, len(names))
            model.scene_head = head.to(device_of(model))

    def forward(self, batch: Batch) -> Tensor:
        """Return the weighted sum of both terms."""
        options, known = self.options, batch.classes
        if known is None:
            known = torch.full((len(batch.similarity),), UNKNOWN, device=batch.similarity.device)
        of_captions = known[batch.image_of_caption]
        pictures, captions = (
            batch.scale.detach() * batch.model.scene_head(vectors)
            for vectors in (batch.outputs.image_embeds, batch.outputs.text_embeds)
        )
        supervision = (class_loss(pictures, known) + class_loss(captions, of_captions)) / 2
        margins = adaptive_margins(
            (pictures.detach().softmax(-1), captions.detach().softmax(-1)),
            (known, of_captions),
            margin=options.margin,
            floor=options.floor,
        )
        pairs = (batch.similarity, batch.image_of_caption, batch.positives)
        ranking = triplet_loss(*pairs, margin=margins, negatives="mean")
        return options.supervision * supervision + options.ranking * ranking


def class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the mean cross entropy of (n, L) logits over those of a known class; 0 of none."""
    known = classes != UNKNOWN
    return F.cross_entropy(logits[known].float(), classes[known], reduction="sum") / max(
        1, int(known.sum())
    )


def adaptive_margins(
    probabilities: tuple[Tensor, Tensor],
    classes: tuple[Tensor, Tensor],
    *,
    margin: float,
    floor: float,
) -> Tensor:
    """Return the margin (B, C) that a picture and a sentence are to keep from each other.

    Args:
        probabilities: (B, L) of the pictures' classes, and (C, L) of the sentences'.
        classes: (B,) and (C,) true ones, -1 unknown.
        margin: where the classes differ.
        floor: least share of it where they do not.
    """
    pictures, captions = (F.normalize(each.float(), dim=-1) for each in probabilities)
    within = (1 - pictures @ captions.T).clamp(min=floor)  # (B, C)
    of_pictures, of_captions = classes
    same = (of_pictures[:, None] == of_captions) & (of_pictures != UNKNOWN)[:, None]
    return margin * torch.where(same, within, torch.ones_like(within))
