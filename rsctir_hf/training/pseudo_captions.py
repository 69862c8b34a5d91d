"""Which sentences of a bank suit a picture that nobody has described, as a model sees it.

Self-training, our choice throughout. A model's own guess is made a better teacher by three means:
sentences are shared out evenly, so that no favourite of the model takes all pictures (Sinkhorn's
rounds, as in SwAV, Caron et al. 2020); pictures that look alike are given the same sentences (the
mean over nearest neighbours); and what most of them agree on is sharpened.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.metrics import check_scores

CHUNK = 1024  # pictures whose neighbours are sought at once


def balanced_assignments(similarity: Tensor, *, temperature: float, rounds: int) -> Tensor:
    """Return a distribution over sentences for each picture, in which all sentences weigh alike.

    Args:
        similarity: (B, U) cosines of B pictures and U sentences.
        temperature: divides them; above 0.
        rounds: of Sinkhorn's algorithm; 0: a softmax over the sentences and no more. Few rounds
            leave what the model holds for frequent somewhat more frequent.

    Returns:
        (B, U) float32; each row sums to 1.

    Raises:
        ValueError: wrong shape, NaN, or a temperature of 0 or less.
    """
    check_scores(similarity, "similarity")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; expected more than 0.")
    logits = similarity.float() / temperature
    for _ in range(rounds):
        logits = logits.log_softmax(dim=1)
        logits -= logits.logsumexp(dim=0)
    return logits.softmax(dim=1)


def neighbour_mean(values: Tensor, vectors: Tensor, *, neighbours: int) -> Tensor:
    """Return the mean of each row's values and those of its nearest neighbours.

    Args:
        values: (B, U).
        vectors: (B, D) unit vectors; neighbours have the highest cosine.
        neighbours: beside the row itself; 0: the values as they are.

    Returns:
        (B, U).

    Raises:
        ValueError: not a vector for each row.
    """
    if len(values) != len(vectors):
        raise ValueError(f"Got {len(values)} rows of values and {len(vectors)} vectors.")
    count = min(neighbours + 1, len(values))
    if count <= 1:
        return values
    parts = []
    for start in range(0, len(vectors), CHUNK):
        rows = torch.arange(start, min(start + CHUNK, len(vectors)))
        cosines = vectors[rows] @ vectors.T
        cosines[torch.arange(len(rows)), rows] = torch.inf  # the row itself is always among them
        weights = torch.zeros_like(cosines).scatter_(1, cosines.topk(count).indices, 1 / count)
        parts.append(weights @ values)
    return torch.cat(parts)


def sharpened(assignments: Tensor, *, power: float) -> Tensor:
    """Return distributions (B, U) raised to a power, each scaled to sum to 1 again.

    Args:
        assignments: (B, U); rows sum to 1.
        power: above 1 sharpens, 1 leaves them as they are.
    """
    raised = assignments**power
    return raised / raised.sum(dim=1, keepdim=True)


def caption_loss(similarity: Tensor, assignments: Tensor, *, scale: Tensor | float) -> Tensor:
    """Return the cross entropy of a picture's softmax over sentences and what it was assigned.

    Args:
        similarity: (B, U) cosines.
        assignments: (B, U); rows sum to 1.
        scale: inverse temperature.

    Returns:
        Scalar, the mean over pictures; 0 is no bound where assignments are not sharp.
    """
    return F.cross_entropy(similarity.float() * scale, assignments)
