"""Training-free reranking by what the candidates think of the other queries.

Two methods, both pure functions of similarity matrices: MR, the multivariate rerank of GaLR
(figure and released code), and SMR, "SMR (our reading)": CMPAGL names a rerank that uses the
original similarity matrix and publishes no formula; ours is a softmax over the other queries in
log space, elsewhere known as dual softmax. Both need other queries. On a full matrix these are the
test set's own (transductive); one live query takes a stored bank instead.

Everything returns float64, so that candidates with equal scores stay equal after the rerank.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rsctir_hf.metrics import check_scores

SMR_TEMPERATURE = 0.1
MR_TOP_K = 30
MR_XI = 0.05
MR_WEIGHTS = (0.30, 1.1)

MRMode = Literal["paper", "released"]


def hubness(bank_scores: Tensor, *, temperature: float) -> Tensor:
    """Return how well each candidate suits every query of a bank.

    A candidate that suits every query says little. With S the cosines this is
    ``logsumexp over the bank of S / temperature``. It grows with the log of the bank's size, by the
    same amount for every candidate, so the size does not touch the order.

    Args:
        bank_scores: (Q, G) cosine of each bank query with each candidate.
        temperature: of the softmax over the bank, above 0.

    Returns:
        (G,) float64.

    Raises:
        ValueError: wrong shape, NaN, or a temperature of 0 or less.
    """
    check_scores(bank_scores, "bank_scores")
    _check_temperature(temperature)
    return (bank_scores.double() / temperature).logsumexp(dim=0)


def smr(similarity: Tensor, *, temperature: float = SMR_TEMPERATURE) -> tuple[Tensor, Tensor]:
    """Return SMR scores (our reading) of a full similarity matrix.

    They are S / t + log softmax over the queries of S / t, which is 2 S / t - hubness and keeps the
    right order for negative cosines. A large temperature does not switch it off: it then orders by
    twice the score less the candidate's mean score.

    Args:
        similarity: (B, C) cosines.
        temperature: of the softmax over the queries, above 0; choose it on validation.

    Returns:
        Scores that order each picture's captions, and scores that order each caption's pictures;
        both (B, C) float64, picture x caption.

    Raises:
        ValueError: wrong shape, NaN, or a temperature of 0 or less.
    """
    check_scores(similarity, "similarity")
    _check_temperature(temperature)
    scaled = similarity.double() / temperature
    i2t, t2i = (scaled.log_softmax(dim=queries).add_(scaled) for queries in (0, 1))
    return i2t, t2i


def smr_single(scores: Tensor, hubness: Tensor, *, temperature: float) -> Tensor:
    """Return SMR scores of one query, given each candidate's hubness against a bank.

    Args:
        scores: (G,) cosine of the query with each candidate.
        hubness: (G,) from ``hubness`` with the same temperature.
        temperature: above 0.

    Returns:
        (G,) float64, 2 S / temperature - hubness.

    Raises:
        ValueError: the lengths differ, NaN, or a temperature of 0 or less.
    """
    _check_temperature(temperature)
    if scores.ndim != 1 or scores.shape != hubness.shape:
        raise ValueError(
            f"scores are {tuple(scores.shape)} and hubness {tuple(hubness.shape)}; expected (G,) "
            "for both. Compute the hubness anew after the gallery has changed."
        )
    check_scores(scores[None], "scores")
    return 2 * scores.double() / temperature - hubness.double()


def multivariate_rerank(
    similarity: Tensor, *, mode: MRMode = "paper", top_k: int = MR_TOP_K
) -> tuple[Tensor, Tensor]:
    """Return GaLR's MR scores of a full similarity matrix.

    Among the first ``top_k`` candidates g of each query q the score is
    ``w1 * share + exp(-xi (rank + 1)) + w2 * exp(-xi (back rank + 1))``, where rank is the place of
    g in q's list, from 0, and share = s(q, g) / sum of s(., g) over all queries; ``MR_XI`` and
    ``MR_WEIGHTS`` are the code's xi and w. In ``paper`` mode
    the back rank is the place of q in g's own list, and the term is 0 from place ``top_k`` on (the
    figure leaves that cutoff and the weights open; ours are the code's). In ``released`` mode it is
    the position of g when q's first ``top_k`` are sorted by that place, as the released code does.

    Ours differs where the code would be arbitrary: equal scores share the best rank, so equal
    captions stay tied; the sum in ``share`` is taken as at least 1 (it is a sum of signed cosines
    and may come near 0 or below); the other candidates follow in their old order, not as zeros, so
    ``top_k`` need not be 10 or more.

    Args:
        similarity: (B, C) cosines.
        mode: ``paper`` or ``released``.
        top_k: candidates reranked for each query; ties at the boundary are all taken.

    Returns:
        Scores that order each picture's captions, and scores that order each caption's pictures;
        both (B, C) float64, picture x caption.

    Raises:
        ValueError: wrong shape, NaN, ``top_k`` below 1, or an unknown mode.
    """
    check_scores(similarity, "similarity")
    _check_mr(mode, top_k)
    pictures = similarity.double().contiguous()  # (B, C)
    captions = pictures.T.contiguous()  # (C, B)
    lists = _First.of(pictures, top_k), _First.of(captions, top_k)
    if mode == "paper":  # a place beyond the first ones counts as any other
        own = tuple(each.scores.flip(1) for each in lists)
    else:
        own = tuple(_sorted_rows(each) for each in (pictures, captions))
    i2t_back = _count_above(own[1], lists[0].candidates, lists[0].scores)
    t2i_back = _count_above(own[0], lists[1].candidates, lists[1].scores)
    i2t = _mr_scores(pictures, lists[0], i2t_back, captions.sum(dim=1), mode, top_k)
    t2i = _mr_scores(captions, lists[1], t2i_back, pictures.sum(dim=1), mode, top_k)
    return i2t, t2i.T


def mr_single(
    scores: Tensor, bank_scores: Tensor, *, mode: MRMode = "paper", top_k: int = MR_TOP_K
) -> Tensor:
    """Return GaLR's MR scores of one query; a bank stands in for the other queries.

    Args:
        scores: (G,) cosine of the query with each candidate.
        bank_scores: (Q, G) cosine of each bank query with each candidate, the query left out.
        mode: see ``multivariate_rerank``.
        top_k: see ``multivariate_rerank``.

    Returns:
        (G,) float64, equal to the query's row of ``multivariate_rerank`` on bank and query.

    Raises:
        ValueError: wrong shapes, NaN, ``top_k`` below 1, or an unknown mode.
    """
    _check_mr(mode, top_k)
    check_scores(bank_scores, "bank_scores")
    if scores.shape != bank_scores.shape[1:]:
        raise ValueError(
            f"scores are {tuple(scores.shape)} and bank_scores {tuple(bank_scores.shape)}; "
            "expected (G,) and (Q, G) over the same G candidates."
        )
    check_scores(scores[None], "scores")
    query = scores.double()[None]  # (1, G)
    totals = bank_scores.sum(dim=0, dtype=torch.float64) + query[0]  # (G,)
    first = _First.of(query, top_k)
    back_ranks = (bank_scores[:, first.candidates[0]] > first.scores).sum(dim=0)[None]  # (1, M)
    return _mr_scores(query, first, back_ranks, totals, mode, top_k)[0]


def text_gated(texts: Tensor, patches: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Score P pairs of a text and a picture by those patches that suit the text.

    "FTF-style" (fast-then-fine, arXiv 2604.20429, published without formulas): the picture's vector
    is p = norm(mean of the patches / 2 + sum of w_i p_i / 2) with w = softmax(t p_i / temperature),
    our reading of "balanced text-guided interaction"; the weights are those of EERCF (AAAI 2024).

    Args:
        texts: (P, D) unit vectors, or (1, D) of one text for all.
        patches: (P, T, D) unit vectors, or (T, D) of one picture for all.
        temperature: of the weights, above 0.

    Returns:
        Scores (P,), and the weights (P, T) of the patches, which sum to 1.

    Raises:
        ValueError: a temperature of 0 or less.
    """
    _check_temperature(temperature)
    fit = (texts.unsqueeze(-2) @ patches.transpose(-1, -2)).squeeze(-2)  # (P, T)
    weights = (fit / temperature).softmax(dim=-1)
    gated = (weights.unsqueeze(-2) @ patches).squeeze(-2)  # (P, D)
    pooled = normalize((patches.mean(dim=-2) + gated) / 2, dim=-1)
    return (pooled * texts).sum(dim=-1), weights


def reordered(scores: Tensor, first: Tensor, fine: Tensor) -> Tensor:
    """Put new scores in the place of those of some candidates; the others follow as they were.

    Args:
        scores: (G,).
        first: (K,) the candidates that were scored anew: the best by ``scores``.
        fine: (K,) their new scores.

    Returns:
        (G,): ``fine`` at ``first``, and elsewhere ``scores``, lowered where one would stand above.
    """
    rest = torch.ones_like(scores, dtype=torch.bool)
    rest[first] = False
    lowered = scores.clone()
    if rest.any() and len(first):
        lowered -= (scores[rest].max() - fine.min()).clamp(min=0)
    lowered[first] = fine.to(scores)
    return lowered


@dataclass(frozen=True)
class _First:
    """The first candidates of each query.

    Attributes:
        scores: (Q, M), best first; M is ``top_k``, or more where candidates tie with the last one.
        candidates: (Q, M) their columns.
        inside: (Q, M) false for candidates that only fill the row up.
    """

    scores: Tensor
    candidates: Tensor
    inside: Tensor

    @classmethod
    def of(cls, scores: Tensor, top_k: int) -> "_First":
        """Find the first ``top_k`` candidates of queries (Q, G)."""
        found, candidates = scores.topk(min(top_k + 1, scores.shape[1]), dim=1)
        last = found[:, :top_k][:, -1:]  # (Q, 1)
        if (found[:, top_k:] == last).any():
            most = int((scores >= last).sum(dim=1).max())
            found, candidates = scores.topk(most, dim=1)
        else:
            found, candidates = found[:, :top_k].contiguous(), candidates[:, :top_k]
        return cls(found, candidates, found >= last)


def _sorted_rows(scores: Tensor) -> Tensor:
    """Sort each row, lowest first; numpy's sort carries no indices along, and is faster for it."""
    return torch.from_numpy(np.sort(scores.cpu().numpy(), axis=1)).to(scores.device)


def _count_above(ascending: Tensor, rows: Tensor, scores: Tensor) -> Tensor:
    """Count how many of a row's scores lie above each given score, by bisection.

    Args:
        ascending: (G, L) scores, lowest first in each row.
        rows: (Q, M) the row to look in.
        scores: (Q, M).
    """
    length = ascending.shape[1]
    flat, start = ascending.flatten(), rows * length
    low, high = torch.zeros_like(rows), torch.full_like(rows, length)
    for _ in range(length.bit_length()):  # halves what is left until it is nothing
        middle = (low + high) // 2
        at = flat[start + middle.clamp(max=length - 1)]
        right = (low < high) & (at <= scores)
        high = torch.where(right, high, middle)
        low = torch.where(right, middle + 1, low)
    return length - low


def _ranks(scores: Tensor) -> Tensor:
    """Rank the columns in each row of scores (Q, M) from 0, best first; ties share the best."""
    ascending = scores.sort(dim=1).values
    return scores.shape[1] - torch.searchsorted(ascending, scores, right=True)


def _mr_scores(
    scores: Tensor,
    first: _First,
    back_ranks: Tensor,
    totals: Tensor,
    mode: MRMode,
    top_k: int,
) -> Tensor:
    """Rerank the candidates of queries.

    Args:
        scores: (Q, G) float64.
        first: the first candidates (Q, M).
        back_ranks: (Q, M) place of the query in their lists; in ``paper`` mode ``top_k`` or more
            stands for every place from there on.
        totals: (G,) sums over all queries.
        mode: see ``multivariate_rerank``.
        top_k: first candidates.
    """
    ranks = _ranks(first.scores)
    outside = ~first.inside
    if mode == "paper":
        back = torch.where(back_ranks < top_k, _decay(back_ranks), 0.0)
    else:
        # sorted by back rank, equal ones in the query's own order; those outside come last
        order = (back_ranks * scores.shape[1] + ranks).double()
        back = _decay(_ranks(-order.masked_fill(outside, torch.inf)))
    share = first.scores / totals.clamp(min=1.0)[first.candidates]
    reranked = MR_WEIGHTS[0] * share + _decay(ranks) + MR_WEIGHTS[1] * back  # (Q, M)
    lowest = reranked.masked_fill(outside, torch.inf).amin(dim=1, keepdim=True)  # (Q, 1)
    worst = first.scores.masked_fill(outside, torch.inf).amin(dim=1, keepdim=True)  # (Q, 1)
    result = scores + (lowest - 1 - worst)  # the others follow in their old order
    others = result.gather(1, first.candidates)
    return result.scatter_(1, first.candidates, torch.where(outside, others, reranked))


def _decay(ranks: Tensor) -> Tensor:
    return torch.exp(-MR_XI * (ranks.double() + 1))


def _check_temperature(temperature: float) -> None:
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature is {temperature}; expected a finite number above 0.")


def _check_mr(mode: str, top_k: int) -> None:
    if mode not in ("paper", "released"):
        raise ValueError(f"mode is {mode!r}; expected 'paper' or 'released'.")
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}; expected 1 or more.")
