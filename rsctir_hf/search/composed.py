"""Queries of several words and pictures, some of them not wanted: how well a picture fits them all.

A sum of cosines lets one part make up for another: more of the word, and the pictures are no longer
like the one that was shown. So the part that says what kind of picture is wanted is *enough* from a
place on the scale of the gallery (``confidence``): beyond it more likeness counts no more, and the
other parts order what is alike. That part is the picture; without one it is the words. What stands
beside it, or is not wanted, adds to the score or takes from it in proportion.

Our rule. Its three numbers lie within 0.2 points of the best of a grid on UCM's train and
validation pictures (``benchmarks/composed_queries.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.errors import QueryError
from rsctir_hf.search.confidence import ScoreScale

_NOTHING_LEFT = 1e-3  # length of a sum of unit vectors that cancel


@dataclass(frozen=True)
class Fusion:
    """How the parts of a query are weighed.

    Attributes:
        enough: the place on the scale from which the main part is fulfilled.
        softness: how far around it that sets in.
        beside: weight of the other parts.
    """

    enough: float
    softness: float
    beside: float


FUSION = Fusion(enough=0.4, softness=0.1, beside=0.4)


@dataclass(frozen=True)
class Term:
    """One part of a query, embedded.

    Attributes:
        vector: (D,) unit vector.
        weight: below 0 for what is not wanted.
        picture: whether it is one, or words.
    """

    vector: Tensor
    weight: float
    picture: bool


def summed(terms: Sequence[Term]) -> Tensor:
    """Return the direction (D,) of a query: the unit vector of its weighted sum.

    Raises:
        QueryError: the parts cancel each other.
    """
    total = sum((term.weight * term.vector for term in terms), torch.zeros(()))
    if total.norm() < _NOTHING_LEFT * max(abs(term.weight) for term in terms):
        raise QueryError(
            "The parts of the query cancel each other: the same is wanted and not wanted. "
            "Leave one of them out."
        )
    return F.normalize(total, dim=0)


def composed_scores(
    terms: Sequence[Term], vectors: Tensor, *, scale: ScoreScale | None, fusion: Fusion = FUSION
) -> Tensor:
    """Return how well pictures (G, D) fit all parts of a query: (G,), higher is better.

    Without a scale, where the model cannot tell fitting sentences from others, by the sum alone.
    """
    if scale is None:
        return vectors @ summed(terms)
    wanted = [term for term in terms if term.weight > 0]
    main = [term for term in wanted if term.picture] or wanted
    total = torch.zeros(len(vectors))
    for term in terms:
        place = scale.place(vectors @ term.vector)  # (G,)
        if any(term is one for one in main):
            fit = fusion.softness * F.logsigmoid((place - fusion.enough) / fusion.softness)
        else:
            fit = fusion.beside * place
        total += term.weight * fit
    return total
