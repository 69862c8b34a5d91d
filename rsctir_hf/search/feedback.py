"""Marks good and bad turned into one direction, along which the pictures are ordered again.

A ridge regression of the marks, +1 and -1, on the vectors, with what the words say as an offset:
words alone order as they always do, and each mark corrects them where they are wrong. It is linear,
so that any engine finds the best by one vector. Chosen against Rocchio's rule and a logistic
regression by a simulated user, on UCM alone (``benchmarks/feedback.py``, our reading).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

WORDS_WEIGHT = 0.4  # a standard deviation of the words' cosines, in units of a mark
NOISE = 1.0  # of a mark: how far it may be missed
# Of a gallery whose pictures are all alike; of others they are some 0.7 and 0.1.
_LEAST_SCATTER, _LEAST_DEVIATION = 0.05, 1e-3
_NO_DIRECTION = 1e-4


def learned_direction(
    marked: Tensor, good: Tensor, *, gallery: Tensor, words: Tensor | None = None
) -> Tensor:
    """Return the unit vector (D,) along which good pictures lie and bad ones do not.

    Args:
        marked: (n, D) unit vectors of marked pictures.
        good: (n,) true for the good ones.
        gallery: (G, D) unit vectors of pictures like those that are searched: they say where the
            middle of all is, and how far they scatter.
        words: (D,) unit vector of what is looked for, if it was said.
    """
    middle = gallery.mean(dim=0)
    scatter = (gallery - middle).square().sum(dim=1).mean().sqrt().clamp(min=_LEAST_SCATTER)
    offset = torch.zeros_like(middle)
    if words is not None:
        deviation = (gallery @ words).std(correction=0).clamp(min=_LEAST_DEVIATION)
        offset = WORDS_WEIGHT * scatter / deviation * words
    apart = (marked - middle) / scatter  # (n, D)
    missed = torch.where(good, 1.0, -1.0) - (apart @ offset).clamp(-1, 1)
    kernel = apart @ apart.T + 1  # (n, n); 1: an intercept, as free as a weight
    kernel.diagonal().add_(NOISE)
    direction = offset + apart.T @ torch.linalg.solve(kernel, missed)
    if direction.norm() < _NO_DIRECTION:  # the gallery is but the marked picture
        direction = marked[good].sum(dim=0)
    return F.normalize(direction, dim=0)
