"""Self-paced weights for captions that may be wrong, RRSITR-style (CVPR 2026, its loss was read).

A drawn pair has the loss ``l`` = CE(its picture over captions) + CE(its caption over pictures).

- clean, ``l < g1``: it costs ``cos(pi l / 2 g1) l``;
- ambiguous, ``g1 <= l < g2``: ``ambiguous_weight cos(pi l / 2 g2) l``;
- noisy, ``g2 <= l``: ``noisy_weight`` times a soft triplet on cosines instead, in both directions
  ``relu(m + s_hardest - s_pair)`` with ``m = margin (1 + relu(s_hardest - s_pair))``.

The weights pass no gradient. The release adds to ``l`` the same two entropies of a matrix of token
similarities, and for a batch of 100 has g2 = 18, about 4 ln 100, and g1 = 5. Tokens of our families
share no space: here g2 = ln B + ln C, what a pair costs that fits no better than chance.

Our choices beside it, off with ``released``:

- noisy pairs cost nothing: the triplet still pulls wrong pairs together;
- all pairs count alike for the first epochs, since a model that knows nothing yet gives every pair
  the loss of chance;
- a pair's loss is that of its past too, which one batch with unlucky negatives does not upset;
- other pictures that carry the very same sentence are no negatives, and the margin ``m`` passes no
  gradient.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check

CLEAN, AMBIGUOUS, NOISY = range(3)
KINDS = ("clean", "ambiguous", "noisy")
_FARTHER = -2.0  # than any cosine
_LEAST = 1e-6  # a batch of one pair is no chance to be wrong


@dataclass(frozen=True)
class SelfPacedOptions(Options):
    """What a recipe may say.

    Attributes:
        released: as in the release, without our choices.
        noisy_from: g2, of ``ln B + ln C``.
        clean_below: g1, of g2.
        ambiguous_weight: of ambiguous pairs (lambda 1).
        set_aside: noisy pairs cost nothing.
        noisy_weight: of their soft triplet otherwise (lambda 2).
        margin: of that triplet (sigma).
        warm_up: epochs in which all pairs count alike.
        memory: share of a pair's past in the loss that says what it is; 0: this batch alone.
    """

    released: bool = False
    noisy_from: float = 1.0
    clean_below: float = 0.28
    ambiguous_weight: float = 0.8
    set_aside: bool = True
    noisy_weight: float = 0.9
    margin: float = 0.6
    warm_up: float = 2.0
    memory: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "noisy_from", self.noisy_from > 0, "more than 0")
        check(self, "clean_below", 0 < self.clean_below < 1, "0 < share < 1")
        for name in ("ambiguous_weight", "noisy_weight", "margin", "warm_up"):
            check(self, name, getattr(self, name) >= 0, "0 or more")
        check(self, "memory", 0 <= self.memory < 1, "0 <= share < 1")


class SelfPaced(Objective):
    """Replaces the contrastive and the triplet loss: give these the weight 0 in the recipe.

    Attributes:
        loss: (P,) last loss of each pair of the training data in this epoch; NaN: not drawn.
        kind: (P,) what that made of it, a place in ``KINDS``.
        past: (P,) running mean of a pair's losses; NaN: never drawn.
    """

    Options: ClassVar[type[Options]] = SelfPacedOptions
    options: SelfPacedOptions
    loss: Tensor
    kind: Tensor
    past: Tensor

    def __init__(self, options: Any, model: Any, facts: RowFacts) -> None:  # noqa: ANN401
        super().__init__(options, model, facts)
        self.register_buffer("loss", torch.full((facts.pairs,), math.nan))
        self.register_buffer("past", torch.full((facts.pairs,), math.nan))
        self.register_buffer("kind", torch.zeros(facts.pairs, dtype=torch.int64))

    def forward(self, batch: Batch) -> Tensor:
        """Return the mean over the pairs of a batch."""
        options, similarity = self.options, batch.similarity
        pair = (similarity, batch.image_of_caption, self._positives(batch))
        losses = pair_losses(*pair, scale=batch.scale)  # (C,)
        chance = math.log(similarity.shape[0]) + math.log(similarity.shape[1])
        high = max(options.noisy_from * chance, _LEAST)
        costs, kinds = self_paced_costs(
            losses,
            soft_triplets(*pair, margin=options.margin, detached=not options.released),
            known=self._remember(losses.detach(), batch.pairs),
            limits=(options.clean_below * high, high),
            options=options,
        )
        if batch.pairs is not None:
            self.loss[batch.pairs], self.kind[batch.pairs] = losses.detach(), kinds
        warming_up = batch.epoch < options.warm_up and not options.released
        return (losses if warming_up else costs).mean()

    def close_epoch(self) -> dict[str, list[Any]]:
        """See ``Objective``: the pairs drawn in the epoch, with ``loss`` and ``kind``."""
        drawn = (~self.loss.isnan()).nonzero().flatten()
        told = {
            "pair": drawn.tolist(),
            "loss": [round(loss, 4) for loss in self.loss[drawn].tolist()],
            "kind": [KINDS[kind] for kind in self.kind[drawn].tolist()],
        }
        self.loss.fill_(math.nan)
        return told

    def _positives(self, batch: Batch) -> Tensor:
        return own_cells(batch.similarity, batch.image_of_caption) | (
            batch.positives & (not self.options.released)
        )

    @torch.no_grad()
    def _remember(self, losses: Tensor, pairs: Tensor | None) -> Tensor:
        """Return what is known of each pair's loss (C,), and take the new losses into it."""
        if pairs is None or self.options.released or not self.options.memory:
            return losses
        past = self.past[pairs]
        mixed = torch.lerp(losses, past, self.options.memory)
        self.past[pairs] = torch.where(past.isnan(), losses, mixed)
        return self.past[pairs]


def own_cells(similarity: Tensor, image_of_caption: Tensor) -> Tensor:
    """Return (B, C) bool, true where a caption meets the picture it was drawn for."""
    cells = torch.zeros_like(similarity, dtype=torch.bool)
    cells[image_of_caption, torch.arange(len(image_of_caption), device=cells.device)] = True
    return cells


def pair_losses(
    similarity: Tensor, image_of_caption: Tensor, positives: Tensor, *, scale: Tensor | float
) -> Tensor:
    """Return the sum of both cross entropies of each drawn pair, as (C,) float32.

    Args:
        similarity: (B, C) cosines.
        image_of_caption: (C,) int64, the picture each caption was drawn for.
        positives: (B, C) bool; but for the pair itself, true cells are no candidates.
        scale: inverse temperature.
    """
    logits = similarity.float() * scale
    own = logits[image_of_caption, torch.arange(len(image_of_caption), device=logits.device)]
    # Finite: the gradient of a row without negatives would be NaN.
    negatives = logits.masked_fill(positives, torch.finfo(logits.dtype).min)
    over_captions = torch.logaddexp(own, negatives.logsumexp(dim=1)[image_of_caption]) - own
    return over_captions + torch.logaddexp(own, negatives.logsumexp(dim=0)) - own


def soft_triplets(
    similarity: Tensor,
    image_of_caption: Tensor,
    positives: Tensor,
    *,
    margin: float,
    detached: bool,
) -> Tensor:
    """Return the soft triplet cost of each drawn pair (C,), both directions added.

    Args:
        similarity: (B, C) cosines.
        image_of_caption: (C,) int64.
        positives: (B, C) bool; false cells are the negatives, of which the hardest counts.
        margin: sigma; it grows with how much nearer that negative is than the pair.
        detached: the growing margin passes no gradient.
    """
    similarity = similarity.float()
    own = similarity[image_of_caption, torch.arange(len(image_of_caption), device=positives.device)]
    negatives = similarity.masked_fill(positives, _FARTHER)
    costs = torch.zeros_like(own)
    for hardest in (negatives.amax(dim=1)[image_of_caption], negatives.amax(dim=0)):
        nearer = hardest - own  # (C,)
        growing = margin * (1 + (nearer.detach() if detached else nearer).relu())
        costs = costs + (growing + nearer).relu()
    return costs


def self_paced_costs(
    losses: Tensor,
    triplets: Tensor,
    *,
    known: Tensor,
    limits: tuple[float, float],
    options: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor]:
    """Return what each pair costs, and its kind.

    Args:
        losses: (C,) of the pairs.
        triplets: (C,) soft triplet costs, for noisy pairs.
        known: (C,) the losses that decide, without a gradient.
        limits: g1 and g2.
        options: a ``SelfPacedOptions``.

    Returns:
        (C,) costs, and (C,) int64 places in ``KINDS``.
    """
    low, high = limits
    kinds = (known >= low).long() + (known >= high).long()
    weight = torch.where(
        kinds == CLEAN,
        torch.cos(math.pi * known / (2 * low)),
        options.ambiguous_weight * torch.cos(math.pi * known / (2 * high)),
    )
    set_aside = options.set_aside and not options.released
    noisy = 0.0 if set_aside else options.noisy_weight
    return torch.where(kinds == NOISY, noisy * triplets, weight * losses), kinds
