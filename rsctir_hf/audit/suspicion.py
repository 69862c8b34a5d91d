"""How badly a caption fits its picture, told from the other pairs of the same set.

Two witnesses each hold a vector (B, D) of every picture against the vectors of sentences:

- the neighbours: the mean of what is said of the pictures that look most alike. Alike is what the
  model's picture tower says before its head, since a head that has learned from wrong pairs moves
  pictures to their wrong sentences. Nobody is asked about a pair that is its own;
- the model: the picture's own vector, unless it lets pairs that the neighbours find wrong stand
  higher than mismatched ones. Then it has learned them by heart.

A witness's cosine counts by its standing among all sentences for that picture and among all
pictures for that sentence, in deviations. Both are added up in units of what mismatched pairs show:
these are made by giving each caption to other pictures. Where the low end of what the set shows has
the form of mismatched pairs, that many of its pairs are mismatched; a pair looks wrong where, at
its score, they are the majority. No threshold is to be chosen, and of a clean set next to nothing
is listed. The neighbours are asked again, each weighed by its own chance to be right. All of it is
our choice.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 10
ROUNDS = 3
SEED = 0
#: How high wrong pairs may stand between mismatched and right ones.
_BY_HEART = 0.15
#: Quantile of mismatched pairs where the share of wrong ones is read off: these may well stand a
#: little higher than mismatched ones, as where rows slipped by one.
_READ_AT = 0.9
_MISMATCHED = 5  # other pictures that each caption is given to
_ROWS = 512  # pictures that are compared at once
_PAIRS = 8192  # likewise
_TINY = 1e-9


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures and sentences as vectors.

    Attributes:
        images: (B, D) unit vectors.
        features: (B, F) of the picture tower, before its head.
        texts: (U, D) unit vectors of distinct sentences.
        owners: (C,) int64, the picture of each pair.
        sentences: (C,) int64, the sentence of each pair.
    """

    images: Tensor
    features: Tensor
    texts: Tensor
    owners: Tensor
    sentences: Tensor


@dataclass(frozen=True)
class Suspicion:
    """What was found.

    Attributes:
        scores: (C,) how well each pair fits, in deviations of mismatched pairs from their mean.
        looks_wrong: (C,) bool.
        chance: (C,) estimate that the pair is wrong, 0 to 1; it falls as scores rise.
        neighbours: (B, k) int64, the most alike other pictures, nearest first.
    """

    scores: Tensor
    looks_wrong: Tensor
    chance: Tensor
    neighbours: Tensor


def suspect(pairs: Pairs) -> Suspicion:
    """Judge every pair of a set; what is drawn at random is the same in every run.

    Raises:
        ValueError: fewer than two pictures.
    """
    pictures = len(pairs.images)
    if pictures < 2:
        raise ValueError(f"{pictures} pictures; expected two at least, to hold one against others.")
    neighbours = nearest_others(alike(pairs.features), min(NEIGHBOURS, pictures - 1))  # (B, k)
    mismatched = mismatched_pairs(pairs)
    chance = torch.zeros(len(pairs.owners))
    for _ in range(ROUNDS):
        expected = said_of_neighbours(pairs, neighbours, 1 - chance)
        scores, foreign = testimony(expected, pairs, mismatched)
        _, chance = wrong_share(scores, foreign)
    own, foreign_own = testimony(pairs.images, pairs, mismatched)
    if not learned_by_heart(own, chance > 0.5):
        scores = scores + own
        _, chance = wrong_share(scores, foreign + foreign_own)
    return Suspicion(scores, chance > 0.5, chance, neighbours)


def alike(features: Tensor) -> Tensor:
    """Return features (B, F) as unit vectors, each dimension of equal weight."""
    return F.normalize((features - features.mean(dim=0)) / (features.std(dim=0) + _TINY), dim=1)


def said_of_neighbours(pairs: Pairs, neighbours: Tensor, weights: Tensor) -> Tensor:
    """Return the mean sentence (B, D), centred, of the pictures most alike; pairs are weighed."""
    said = torch.zeros_like(pairs.images)
    said.index_add_(0, pairs.owners, pairs.texts[pairs.sentences] * weights[:, None])
    weight = torch.zeros(len(said)).index_add_(0, pairs.owners, weights)
    mean = said.sum(dim=0) / weight.sum().clamp(min=_TINY)
    near = said[neighbours].sum(dim=1) / weight[neighbours].sum(dim=1).clamp(min=_TINY)[:, None]
    return F.normalize(near - mean, dim=1)


def testimony(
    vectors: Tensor, pairs: Pairs, mismatched: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return what a witness says of pairs (C,) and of mismatched ones (M,), in units of these."""
    shown = standing(vectors, pairs.texts, pairs.owners, pairs.sentences)
    wrong = standing(vectors, pairs.texts, *mismatched)
    if len(wrong) < 2:
        return shown, wrong
    mean, spread = wrong.mean(), wrong.std().clamp(min=_TINY)
    return (shown - mean) / spread, (wrong - mean) / spread


def learned_by_heart(own: Tensor, looks_wrong: Tensor) -> bool:
    """Return whether wrong pairs stand too high with a model for it to be a witness.

    Args:
        own: (C,) what the model says of pairs, mismatched ones being 0 in the mean.
        looks_wrong: (C,) bool, what the neighbours say.
    """
    if not looks_wrong.any() or looks_wrong.all():
        return False
    return bool(own[looks_wrong].mean() > _BY_HEART * own[~looks_wrong].mean())


def nearest_others(vectors: Tensor, count: int) -> Tensor:
    """Return the ``count`` most alike other rows (B, count) of unit vectors (B, D)."""
    found = []
    for start in range(0, len(vectors), _ROWS):
        cosines = vectors[start : start + _ROWS] @ vectors.T
        rows = torch.arange(len(cosines))
        cosines[rows, start + rows] = -torch.inf
        found.append(cosines.topk(count, dim=1).indices)
    return torch.cat(found)


def mismatched_pairs(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Give each caption to other pictures that do not have that sentence, drawn at random.

    Returns:
        Pictures and sentences (M,) int64. Where every picture says the same there is none.
    """
    sentences = pairs.sentences.repeat(_MISMATCHED)
    pictures = torch.randint(len(pairs.images), (len(sentences),), generator=_generator())
    own = pairs.owners * len(pairs.texts) + pairs.sentences
    foreign = ~torch.isin(pictures * len(pairs.texts) + sentences, own)
    return pictures[foreign], sentences[foreign]


def standing(vectors: Tensor, texts: Tensor, pictures: Tensor, sentences: Tensor) -> Tensor:
    """Return how pairs stand among the candidates of both their sides.

    Args:
        vectors: (B, D) of a witness.
        texts: (U, D).
        pictures: (P,) int64.
        sentences: (P,) int64.

    Returns:
        (P,) deviations from the mean cosine over all sentences and over all pictures, both added.
    """
    cosines = torch.cat(
        [
            (vectors[some] * texts[others]).sum(dim=1)
            for some, others in zip(pictures.split(_PAIRS), sentences.split(_PAIRS), strict=True)
        ]
    )
    total = torch.zeros_like(cosines)
    for mine, candidates, places in ((vectors, texts, pictures), (texts, vectors, sentences)):
        # Mean and deviation of the cosines with all candidates, without a matrix of them.
        mean = mine @ candidates.mean(dim=0)
        spread = ((mine @ candidates.T.cov()) * mine).sum(dim=1).clamp(min=0).sqrt()
        total += (cosines - mean[places]) / spread[places].clamp(min=_TINY)
    return total


def wrong_share(scores: Tensor, foreign: Tensor) -> tuple[float, Tensor]:
    """Estimate how many pairs are wrong, and the chance of each.

    Below a score lies the share ``F`` of the pairs and the share ``F0`` of mismatched ones. Where
    right pairs hardly ever come and most mismatched ones are, ``F / F0`` is how many of all pairs
    are wrong. A pair's chance is the slope of that share of ``F0`` over ``F``, of its least
    concave majorant: it never rises with the score.

    Args:
        scores: (C,) of the pairs.
        foreign: (M,) of mismatched pairs.

    Returns:
        The share, 0 to 1, and (C,) chances.
    """
    if not len(foreign):
        return 0.0, torch.zeros_like(scores)
    ordered, order = scores.sort()
    low = ordered <= foreign.quantile(_READ_AT)
    share = min(1.0, float(low.float().mean()) / _READ_AT)
    below = torch.searchsorted(foreign.sort().values, ordered, right=True) / len(foreign)
    slopes = share * len(ordered) * below.diff(prepend=torch.zeros(1))
    chance = torch.empty_like(scores)
    chance[order] = falling(slopes).clamp(max=1)
    return share, chance


def falling(values: Tensor) -> Tensor:
    """Return the nearest values (n,), by least squares, that never rise."""
    blocks: list[tuple[float, int]] = []  # mean and length, of adjacent ones
    for value in values.tolist():
        mean, length = value, 1
        while blocks and blocks[-1][0] <= mean:
            before, more = blocks.pop()
            mean = (mean * length + before * more) / (length + more)
            length += more
        blocks.append((mean, length))
    means, lengths = zip(*blocks, strict=True)
    return torch.tensor(means).repeat_interleave(torch.tensor(lengths))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
