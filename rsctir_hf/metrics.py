"""Recall at K of picture-caption retrieval, as pure functions of a similarity matrix.

The field's R@K is a hit rate: the share of queries with at least one relevant candidate among the
first K; mR is the mean of R@1, R@5 and R@10 in both directions, all in percent. Captions repeat
in these data sets, so equal scores are common and their order is an accident of the file. By
default R@K is therefore the *expected* value when tied candidates stand in uniformly random order,
in closed form; ``ties="stable"`` gives the figure of a stable sort beside it.

How sure a figure is over pictures: ``recall_by_picture`` splits the six cells into what each
picture contributes, ``bootstrap_interval`` resamples those contributions.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

RECALL_AT = (1, 5, 10)
GRADED_AT = 10
TIE_TOLERANCE = 1e-6
RESAMPLES = 10_000
CONFIDENCE = 0.95

Ties = Literal["expected", "stable"]


def directional_metrics(
    i2t_scores: Tensor,
    t2i_scores: Tensor,
    image_of_caption: Tensor,
    *,
    caption_ids: Tensor | None = None,
    ties: Ties = "expected",
) -> dict[str, float]:
    """Return R@1, R@5, R@10 in both directions and their mean.

    Args:
        i2t_scores: (B, C) scores that order the captions of each picture.
        t2i_scores: (B, C) scores that order the pictures of each caption; also picture x caption.
            The very same matrix, unless a rerank gave each direction scores of its own.
        image_of_caption: (C,) int64, the picture each caption belongs to.
        caption_ids: (C,) int64, equal for equal sentences: then any picture that carries the very
            same sentence counts.
        ties: ``expected`` value over random orders of ties, or the order of a ``stable`` sort.

    Returns:
        ``{"i2t_R@1": ..., "t2i_R@10": ..., "mR": ...}`` in percent.

    Raises:
        ValueError: wrong shapes, NaN, a caption of no picture, a picture without captions.
    """
    _check_both_directions(i2t_scores, t2i_scores)
    relevant = relevance(i2t_scores, image_of_caption, caption_ids=caption_ids)  # (B, C)
    if ties not in ("expected", "stable"):
        raise ValueError(f"ties is {ties!r}; expected 'expected' or 'stable'.")
    recall = expected_recall if ties == "expected" else stable_recall
    metrics = {f"i2t_R@{k}": value for k, value in recall(i2t_scores, relevant).items()}
    metrics |= {f"t2i_R@{k}": value for k, value in recall(t2i_scores.T, relevant.T).items()}
    return metrics | {"mR": sum(metrics.values()) / len(metrics)}


def recall_by_picture(i2t_scores: Tensor, t2i_scores: Tensor, image_of_caption: Tensor) -> Tensor:
    """Return what each picture contributes to the six expected recalls of ``directional_metrics``.

    A picture brings one image-to-text query and the text-to-image queries of its own captions, so
    the i2t cells are plain means of the first three columns, and the t2i cells are means of the
    last three weighted by each picture's number of captions. Arguments and errors are those of
    ``directional_metrics``.

    Returns:
        (B, 6) float64, percent: i2t R@1, 5, 10, then the mean over the picture's captions of
        t2i R@1, 5, 10. Tied candidates count by their expected value.
    """
    _check_both_directions(i2t_scores, t2i_scores)
    relevant = relevance(i2t_scores, image_of_caption)  # (B, C)
    i2t = expected_hits(i2t_scores, relevant)  # (B, 3)
    hits = expected_hits(t2i_scores.T, relevant.T)  # (C, 3)
    owners = image_of_caption.to(hits.device)
    captions = owners.bincount(minlength=len(i2t))[:, None]  # (B, 1)
    t2i = torch.zeros_like(i2t).index_add_(0, owners, hits) / captions  # (B, 3)
    return 100 * torch.cat([i2t, t2i], dim=1)  # (B, 6)


def bootstrap_interval(
    by_picture: Tensor,
    caption_counts: Tensor,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    chunk: int = 1_000,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of mR over pictures (Efron & Tibshirani 1993, 13).

    Queries are resampled, the gallery stays as it is: B pictures are drawn with replacement, each
    brings its picture query and all its caption queries, and every query keeps the outcome it had
    against all B pictures and C captions. mR of each resample is computed as always; the interval
    lies between its (1 - confidence) / 2 quantiles. Contributions of several seeds are averaged
    first, so the interval is that of the seeds' mean.

    What it does not say: the models are given, so the spread over seeds is not in it; a new set
    of pictures would also be a new gallery; pictures count as independent draws, while many here
    share scene and sentences, so the true interval is rather wider; and the choice of a model on
    these same pictures would make any interval too good.

    Args:
        by_picture: (B, 6) or (S, B, 6) for S seeds, what ``recall_by_picture`` returned.
        caption_counts: (B,) number of captions of each picture.
        resamples: how many sets of B pictures are drawn.
        confidence: share of the resamples inside.
        seed: of the draws; the same seed gives the same interval.
        chunk: resamples computed at once.

    Returns:
        Least and greatest mR of the interval, percent.

    Raises:
        ValueError: wrong shapes, NaN, a picture without captions, or a confidence outside 0..1.
    """
    _check_contributions(by_picture, caption_counts, confidence)
    mean = by_picture.double().reshape(-1, *by_picture.shape[-2:]).mean(dim=0)  # (B, 6)
    pictures, cells = mean.shape
    captions = caption_counts.double()  # (B,)
    i2t = mean[:, : cells // 2].sum(dim=1)  # (B,)
    t2i = mean[:, cells // 2 :].sum(dim=1) * captions  # (B,)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for start in range(0, resamples, chunk):
        shape = (min(chunk, resamples - start), pictures)
        drawn = torch.randint(pictures, shape, generator=generator)  # (resamples, B)
        found.append(i2t[drawn].mean(dim=1) + t2i[drawn].sum(dim=1) / captions[drawn].sum(dim=1))
    mean_recall = torch.cat(found) / cells  # (resamples,)
    tail = (1 - confidence) / 2
    limits = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    low, high = mean_recall.quantile(limits).tolist()
    return low, high


def relevance(
    scores: Tensor, image_of_caption: Tensor, *, caption_ids: Tensor | None = None
) -> Tensor:
    """Return the (B, C) bool table of the captions that count as right for each picture.

    Args:
        scores: (B, C), for its shape and device.
        image_of_caption: as for ``directional_metrics``.
        caption_ids: likewise.

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
    """Return the mean of ``expected_hits`` for each K, in percent; arguments and errors are its."""
    hits = expected_hits(scores, relevant, at=at, tolerance=tolerance)
    return {k: 100 * column.mean().item() for k, column in zip(at, hits.T, strict=True)}


def expected_hits(
    scores: Tensor,
    relevant: Tensor,
    *,
    at: Sequence[int] = RECALL_AT,
    tolerance: float = TIE_TOLERANCE,
) -> Tensor:
    """Return the probability that a query finds something relevant, ties in random order.

    For a query let s be its best relevant score, n the candidates above s + tolerance and g those
    within the tolerance of s, r of them relevant. Below the n, the g stand in random order, so the
    first K hold m = K - n of them, and no relevant one with probability C(g - r, m) / C(g, m).

    Args:
        scores: (Q, G) score of each query with each candidate.
        relevant: (Q, G) bool.
        at: the values of K; one larger than G counts every candidate.
        tolerance: scores this close to the best relevant one are tied with it.

    Returns:
        (Q, len(at)) float64 probability that the first K candidates hold a relevant one.

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
    return torch.stack([_hit_probability(k - above, group, wrong) for k in at], dim=1)


def stable_recall(
    scores: Tensor, relevant: Tensor, *, at: Sequence[int] = RECALL_AT
) -> dict[int, float]:
    """Return R@K in percent where tied candidates keep the order of their columns.

    Arguments and errors are those of ``expected_hits``.
    """
    _check_relevant(scores, relevant)
    order = scores.argsort(dim=1, descending=True, stable=True)
    first = relevant.gather(1, order).int().argmax(dim=1)  # (Q,)
    return {k: 100 * (first < k).double().mean().item() for k in at}


def graded_ndcg(
    scores: Tensor, gains: Tensor, *, at: int = GRADED_AT, tolerance: float = TIE_TOLERANCE
) -> float:
    """Return the mean nDCG of queries in percent, tied candidates in random order (expected value).

    The gain at place i, from 1 on, counts 1 / log2(i + 1); the sum over the first ``at`` is divided
    by that of the best order. A query for which nothing has a gain counts 0.

    Args:
        scores: (Q, G) score of each query with each candidate.
        gains: (Q, G) 0 or more, how well a candidate suits the query.
        at: first places that count.
        tolerance: neighbours in the order that are this close are tied.

    Raises:
        ValueError: wrong shapes, NaN, or a gain below 0.
    """
    check_scores(scores, "scores")
    check_scores(gains, "gains")
    if scores.shape != gains.shape or bool((gains < 0).any()):
        raise ValueError(
            f"gains are {tuple(gains.shape)} from {gains.min():g} on; expected 0 or more, of the "
            f"scores' shape {tuple(scores.shape)}."
        )
    gains = gains.double()
    ranked, order = scores.sort(dim=1, descending=True, stable=True)
    # An expected gain at a place of a group of ties is the group's mean.
    apart = torch.nn.functional.pad(ranked.diff(dim=1).abs() > tolerance, (1, 0))
    group = apart.cumsum(dim=1)  # (Q, G)
    sums = torch.zeros_like(gains).scatter_add_(1, group, gains.gather(1, order))
    sizes = torch.zeros_like(gains).scatter_add_(1, group, torch.ones_like(gains))
    expected = (sums / sizes.clamp(min=1)).gather(1, group)[:, :at]  # (Q, at)
    best = gains.topk(min(at, gains.shape[1]), dim=1).values
    discount = 1 / torch.arange(2, best.shape[1] + 2, device=scores.device).double().log2()
    reached, possible = expected @ discount, best @ discount  # (Q,)
    return 100 * (reached / possible.clamp(min=1e-12)).mean().item()


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


def _check_both_directions(i2t_scores: Tensor, t2i_scores: Tensor) -> None:
    if i2t_scores.shape != t2i_scores.shape:
        raise ValueError(
            f"i2t_scores are {tuple(i2t_scores.shape)} and t2i_scores {tuple(t2i_scores.shape)}; "
            "expected both as (pictures, captions). Transpose the caption-first one."
        )


def _check_contributions(by_picture: Tensor, caption_counts: Tensor, confidence: float) -> None:
    cells = 2 * len(RECALL_AT)
    shape = tuple(by_picture.shape)
    if len(shape) not in (2, 3) or shape[-1] != cells or by_picture.numel() == 0:
        raise ValueError(
            f"by_picture is {shape}; expected (pictures, {cells}) or (seeds, pictures, {cells})."
        )
    if caption_counts.shape != shape[-2:-1] or int(caption_counts.min()) < 1:
        raise ValueError(
            f"caption_counts is {tuple(caption_counts.shape)} with a least value of "
            f"{caption_counts.min()}; expected 1 or more for each of {shape[-2]} pictures."
        )
    if not by_picture.isfinite().all():
        raise ValueError("by_picture holds NaN or infinite values; expected percentages.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a share between 0 and 1.")


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
