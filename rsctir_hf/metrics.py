"""Recall at K of picture-caption retrieval, as pure functions of a similarity matrix.

The field's R@K is a hit rate: the share of queries with at least one relevant candidate among the
first K; mR is the mean of R@1, R@5 and R@10 in both directions, all in percent. Captions repeat
in these data sets, so equal scores are common and their order is an accident of the file. By
default R@K is therefore the *expected* value when tied candidates stand in uniformly random order,
in closed form; ``ties="stable"`` gives the figure of a stable sort beside it.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

RECALL_AT = (1, 5, 10)
TIE_TOLERANCE = 1e-6

Ties = Literal["expected", "stable"]


def retrieval_metrics(
    similarity: Tensor, image_of_caption: Tensor, *, ties: Ties = "expected"
) -> dict[str, float]:
    """Return R@1, R@5, R@10 in both directions and their mean.

    Args:
        similarity: (B, C) score of each picture with each caption.
        image_of_caption: (C,) int64, the picture each caption belongs to.
        ties: ``expected`` value over random orders of ties, or the order of a ``stable`` sort.

    Returns:
        ``{"i2t_R@1": ..., "t2i_R@10": ..., "mR": ...}`` in percent.

    Raises:
        ValueError: wrong shapes, NaN, a caption of no picture, a picture without captions.
    """
    return directional_metrics(similarity, similarity, image_of_caption, ties=ties)


def caption_aware_metrics(
    similarity: Tensor, image_of_caption: Tensor, caption_ids: Tensor, *, ties: Ties = "expected"
) -> dict[str, float]:
    """Return the metrics where any picture that carries the very same sentence counts.

    Args:
        similarity: (B, C) score of each picture with each caption.
        image_of_caption: (C,) int64, the picture each caption belongs to.
        caption_ids: (C,) int64, equal for equal sentences.
        ties: see ``retrieval_metrics``.

    Returns:
        The keys of ``retrieval_metrics``.

    Raises:
        ValueError: as ``retrieval_metrics``.
    """
    return directional_metrics(
        similarity, similarity, image_of_caption, caption_ids=caption_ids, ties=ties
    )


def directional_metrics(
    i2t_scores: Tensor,
    t2i_scores: Tensor,
    image_of_caption: Tensor,
    *,
    caption_ids: Tensor | None = None,
    ties: Ties = "expected",
) -> dict[str, float]:
    """Return the metrics where each direction has scores of its own, as after a rerank.

    Args:
        i2t_scores: (B, C) scores that order the captions of each picture.
        t2i_scores: (B, C) scores that order the pictures of each caption; also picture x caption.
        image_of_caption: (C,) int64, the picture each caption belongs to.
        caption_ids: (C,) int64, equal for equal sentences; makes the metrics caption-aware.
        ties: see ``retrieval_metrics``.

    Returns:
        The keys of ``retrieval_metrics``.

    Raises:
        ValueError: as ``retrieval_metrics``, or the two matrices differ in shape.
    """
    if i2t_scores.shape != t2i_scores.shape:
        raise ValueError(
            f"i2t_scores are {tuple(i2t_scores.shape)} and t2i_scores {tuple(t2i_scores.shape)}; "
            "expected both as (pictures, captions). Transpose the caption-first one."
        )
    relevant = relevance(i2t_scores, image_of_caption, caption_ids=caption_ids)  # (B, C)
    if ties not in ("expected", "stable"):
        raise ValueError(f"ties is {ties!r}; expected 'expected' or 'stable'.")
    recall = expected_recall if ties == "expected" else stable_recall
    metrics = {f"i2t_R@{k}": value for k, value in recall(i2t_scores, relevant).items()}
    metrics |= {f"t2i_R@{k}": value for k, value in recall(t2i_scores.T, relevant.T).items()}
    return metrics | {"mR": sum(metrics.values()) / len(metrics)}


def relevance(
    scores: Tensor, image_of_caption: Tensor, *, caption_ids: Tensor | None = None
) -> Tensor:
    """Return the (B, C) bool table of the captions that count as right for each picture.

    Args:
        scores: (B, C), for its shape and device.
        image_of_caption: (C,) int64, the picture each caption belongs to.
        caption_ids: (C,) int64, equal for equal sentences: then a caption is right for every
            picture that carries the same sentence.

    Raises:
        ValueError: wrong shapes, or indices out of range.
    """
    check_image_of_caption(image_of_caption, scores)
    images, captions = scores.shape
    columns = torch.arange(captions, device=scores.device)
    if caption_ids is not None:
        if caption_ids.shape != (captions,):
            raise ValueError(
                f"caption_ids is {tuple(caption_ids.shape)}; expected one id for each of the "
                f"{captions} captions."
            )
        columns = caption_ids.to(scores.device).unique(return_inverse=True)[1]
    carries = torch.zeros(images, captions, dtype=torch.bool, device=scores.device)
    carries[image_of_caption.to(scores.device), columns] = True  # (B, distinct, padded to C)
    return carries[:, columns]  # (B, C)


def expected_recall(
    scores: Tensor,
    relevant: Tensor,
    *,
    at: Sequence[int] = RECALL_AT,
    tolerance: float = TIE_TOLERANCE,
) -> dict[int, float]:
    """Return the expected R@K under uniformly random order of tied candidates.

    For a query let s be its best relevant score, n the candidates above s + tolerance and g those
    within the tolerance of s, r of them relevant. Below the n, the g stand in random order, so the
    first K hold m = K - n of them, and no relevant one with probability C(g - r, m) / C(g, m).

    Args:
        scores: (Q, G) score of each query with each candidate.
        relevant: (Q, G) bool.
        at: the values of K; one larger than G counts every candidate.
        tolerance: scores this close to the best relevant one are tied with it.

    Returns:
        Percent of queries for each K.

    Raises:
        ValueError: wrong shapes, NaN, or a query without a relevant candidate.
    """
    _check_relevant(scores, relevant)
    scores = scores.double()
    best = scores.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)  # (Q, 1)
    tied = (scores - best).abs().le(tolerance) | (scores == best)  # equal infinities too
    above = ((scores > best) & ~tied).sum(dim=1).double()  # (Q,)
    group = tied.sum(dim=1).double()  # (Q,)
    wrong = group - (tied & relevant).sum(dim=1)  # (Q,)
    return {k: 100 * _hit_probability(k - above, group, wrong).mean().item() for k in at}


def stable_recall(
    scores: Tensor, relevant: Tensor, *, at: Sequence[int] = RECALL_AT
) -> dict[int, float]:
    """Return R@K where tied candidates keep the order of their columns.

    Args:
        scores: (Q, G) score of each query with each candidate.
        relevant: (Q, G) bool.
        at: the values of K.

    Returns:
        Percent of queries for each K.

    Raises:
        ValueError: as ``expected_recall``.
    """
    _check_relevant(scores, relevant)
    order = scores.argsort(dim=1, descending=True, stable=True)
    first = relevant.gather(1, order).int().argmax(dim=1)  # (Q,)
    return {k: 100 * (first < k).double().mean().item() for k in at}


def check_scores(scores: Tensor, name: str) -> None:
    """Raise ValueError unless ``scores`` is a filled float matrix without NaN."""
    if scores.ndim != 2 or not scores.is_floating_point() or scores.numel() == 0:
        raise ValueError(
            f"{name} is {scores.dtype} {tuple(scores.shape)}; expected a floating-point matrix "
            "with at least one row and one column."
        )
    bad = int(scores.isnan().sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} NaN of {scores.numel()} values. Look for an overflow in half "
            "precision, a diverged training or an embedding of length zero."
        )


def check_image_of_caption(image_of_caption: Tensor, scores: Tensor) -> None:
    """Raise ValueError unless each column of ``scores`` (B, C) is given a picture in 0..B-1."""
    check_scores(scores, "similarity")
    images, captions = scores.shape
    if image_of_caption.shape != (captions,) or image_of_caption.dtype != torch.int64:
        raise ValueError(
            f"image_of_caption is {image_of_caption.dtype} {tuple(image_of_caption.shape)}; "
            f"expected torch.int64 ({captions},), one picture for each column of the "
            f"similarity {tuple(scores.shape)} (pictures x captions)."
        )
    low, high = int(image_of_caption.min()), int(image_of_caption.max())
    if low < 0 or high >= images:
        raise ValueError(
            f"image_of_caption holds {low if low < 0 else high}; expected 0 to {images - 1} for "
            f"a similarity of {images} pictures."
        )


def _hit_probability(places: Tensor, group: Tensor, wrong: Tensor) -> Tensor:
    """Return 1 - C(wrong, places) / C(group, places) for each query, all (Q,) float64."""
    inside = places.clamp(min=0).minimum(wrong)  # where the binomials are defined
    log_miss = (
        torch.lgamma(wrong + 1)
        - torch.lgamma(wrong - inside + 1)
        + torch.lgamma(group - inside + 1)
        - torch.lgamma(group + 1)
    )
    hit = torch.where(places > wrong, 1.0, -torch.expm1(log_miss))
    return torch.where(places > 0, hit, 0.0)


def _check_relevant(scores: Tensor, relevant: Tensor) -> None:
    check_scores(scores, "scores")
    if relevant.shape != scores.shape or relevant.dtype != torch.bool:
        raise ValueError(
            f"relevant is {relevant.dtype} {tuple(relevant.shape)}; expected torch.bool of the "
            f"scores' shape {tuple(scores.shape)} (queries x candidates)."
        )
    lonely = (~relevant.any(dim=1)).nonzero().flatten().tolist()
    if lonely:
        raise ValueError(
            f"query {lonely[0]} has no relevant candidate ({len(lonely)} such of "
            f"{len(relevant)}). Leave out pictures without captions before scoring."
        )
