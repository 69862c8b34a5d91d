"""How well pictures are found by what they show: multi-label mean average precision.

A label asks for the pictures that show it, a pair of labels for those that show both, and a picture
for the others that show all it shows itself. Each query ranks the whole gallery, and its average
precision counts; the mean over the queries of a kind is its mAP, in percent. Pictures of equal
score are counted together (the precision at the last of them), so that no order of files counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Unpack

import torch
from torch import Tensor

from rsctir_hf.data.label_sets import LabelledPictures
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.roles import BatchOptions
from rsctir_hf.errors import ImageReadError
from rsctir_hf.labels.expression import any_spelling
from rsctir_hf.labels.label_head import LabelHead

LEAST = 3  # pictures that show both labels of a pair that asks
_QUERIES_AT_ONCE = 256
SINGLE, PAIRS, PICTURES = "labels_mAP", "pairs_mAP", "pictures_mAP"

Pair = tuple[int, int]


def average_precision(scores: Tensor, right: Tensor) -> Tensor:
    """Return the average precision of rankings, (Q,) float64, percent; NaN where none is right.

    Args:
        scores: (Q, G), higher is better; -inf leaves a picture out, which must not be right.
        right: (Q, G) bool.
    """
    ranked, order = scores.sort(dim=1, descending=True, stable=True)
    hits = right.gather(1, order).double()  # (Q, G)
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
    ends = torch.ones_like(hits, dtype=torch.bool)
    ends[:, :-1] = ranked[:, :-1] != ranked[:, 1:]
    places = torch.arange(hits.shape[1]).expand_as(hits)
    # The end of each place's group of ties: the first end at or behind it.
    last = places.masked_fill(~ends, hits.shape[1]).flip(1).cummin(1).values.flip(1)
    return 100 * (precision.gather(1, last) * hits).sum(1) / hits.sum(1)


def asking_pairs(shown: Tensor) -> list[Pair]:
    """Return the pairs of labels that at least ``LEAST`` of pictures (G, L) show together."""
    together = shown.double().T @ shown.double()  # (L, L)
    return [pair for pair in combinations(range(shown.shape[1]), 2) if together[pair] >= LEAST]


@dataclass(frozen=True)
class LabelScores:
    """What a way to ask reaches.

    Attributes:
        metrics: mAP by kind of query, percent; of kinds that can be asked.
        queries: how many of each kind asked.
        by_label: average precision of each label, percent.
    """

    metrics: Mapping[str, float]
    queries: Mapping[str, int]
    by_label: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean over the kinds of label queries that can be asked; 0 where none can."""
        found = [self.metrics[kind] for kind in (SINGLE, PAIRS) if kind in self.metrics]
        return fmean(found or [0.0])


def score_labels(
    single: Tensor, pairs: Tensor, *, shown: Tensor, labels: Sequence[str]
) -> LabelScores:
    """Score queries of labels.

    Args:
        single: (L, G) scores of each label.
        pairs: (P, G) scores of ``asking_pairs(shown)``.
        shown: (G, L) bool.
        labels: their names. One that no picture or every picture shows does not ask.
    """
    counts = shown.sum(dim=0)
    asking = ((counts > 0) & (counts < len(shown))).nonzero().flatten().tolist()
    found = average_precision(single[asking], shown.T[asking])
    both = [shown[:, one] & shown[:, other] for one, other in asking_pairs(shown)]
    of_pairs = average_precision(pairs, torch.stack(both)) if both else torch.zeros(0)
    return LabelScores(
        _means({SINGLE: found, PAIRS: of_pairs}),
        {SINGLE: len(asking), PAIRS: len(of_pairs)},
        {labels[place]: round(float(each), 2) for place, each in zip(asking, found, strict=True)},
    )


def picture_precision(vectors: Tensor, shown: Tensor) -> Tensor:
    """Return the average precision of pictures as queries that have an answer, (q,), percent.

    Args:
        vectors: (G, D) unit vectors.
        shown: (G, L) bool.
    """
    found = list[Tensor]()
    for rows in torch.arange(len(vectors)).split(_QUERIES_AT_ONCE):
        lacking = shown[rows].double() @ (~shown).double().T  # (q, G)
        right = lacking == 0
        itself = torch.arange(len(rows)), rows
        scores = vectors[rows] @ vectors.T
        scores[itself], right[itself] = -torch.inf, False
        right &= shown[rows].any(dim=1, keepdim=True)
        found.append(average_precision(scores, right))
    every = torch.cat(found)
    return every[~every.isnan()]


def _means(found: Mapping[str, Tensor]) -> dict[str, float]:
    return {kind: float(each.mean()) for kind, each in found.items() if len(each)}


def evaluate_labels(
    encoder: Encoder,
    pictures: LabelledPictures,
    *,
    head: LabelHead | None = None,
    symmetries: int = 1,
    **options: Unpack[BatchOptions],
) -> LabelScores:
    """Score a model on labelled pictures: labels, pairs of labels and pictures are queries.

    Args:
        encoder: any dual encoder.
        pictures: with what they show.
        head: asked instead of words. Without one a label's name is asked as words, a pair as
            "A and B".
        symmetries: 1, or 8 to average the vectors of each picture's turned and mirrored views.
        options: see ``BatchOptions``.

    Raises:
        IndexMismatchError: the head is of another model.
        QueryError: the head does not know a label.
        ImageReadError: a picture cannot be read.
    """
    if head is not None:
        head.check_model(encoder.made_by)
        head.check_known(pictures.labels)
    vectors = labelled_vectors(encoder, pictures, symmetries=symmetries, **options)
    pairs = asking_pairs(pictures.shown)
    if head is None:
        scores = by_words(encoder, pictures.labels, pairs, vectors)
    else:
        scores = by_head(head, pictures.labels, pairs, vectors)
    found = score_labels(*scores, shown=pictures.shown, labels=pictures.labels)
    alike = picture_precision(vectors, pictures.shown)
    return LabelScores(
        {**found.metrics, **_means({PICTURES: alike})},
        {**found.queries, PICTURES: len(alike)},
        found.by_label,
    )


def labelled_vectors(
    encoder: Encoder,
    pictures: LabelledPictures,
    *,
    symmetries: int = 1,
    **options: Unpack[BatchOptions],
) -> Tensor:
    """Return the vectors (B, D) of labelled pictures.

    Raises:
        ImageReadError: one cannot be read.
    """
    embedded = encoder.images(pictures.files, symmetries=symmetries, **options)
    if embedded.skipped:
        first = embedded.skipped[0]
        raise ImageReadError(
            f"{len(embedded.skipped)} of {len(pictures.files)} pictures cannot be embedded; first "
            f"{first.path}: {first.reason} Mend them, or take their rows out of the table."
        )
    return embedded.vectors


def by_words(
    encoder: Encoder, labels: Sequence[str], pairs: Sequence[Pair], vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the scores of pictures (G, D) with labels and pairs as words, (L, G) and (P, G)."""
    words = [any_spelling(label) for label in labels]
    said = [*words, *(f"{words[one]} and {words[other]}" for one, other in pairs)]
    scores = encoder.compare(vectors, encoder.texts(said)).T
    return scores[: len(words)], scores[len(words) :]


def by_head(
    head: LabelHead, labels: Sequence[str], pairs: Sequence[Pair], vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how likely pictures (G, D) show labels and pairs, (L, G) and (P, G)."""
    columns = [head.labels.index(label) for label in labels]
    likely = head.likelihoods(vectors).T[columns]  # (L, G)
    both = [likely[one] * likely[other] for one, other in pairs]
    return likely, torch.stack(both) if both else likely[:0]
