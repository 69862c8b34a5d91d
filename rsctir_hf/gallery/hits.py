"""Answers of a search: which item, at which rank, with which score."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from torch import Tensor

from rsctir_hf.gallery.manifest import Item


@dataclass(frozen=True, repr=False)
class Hit:
    """One answer.

    Attributes:
        item: position in the gallery or in the caption bank.
        path: of the picture; None for a caption, or for a picture handed in from memory.
        caption: the caption, or what the gallery says about the picture, if anything.
        score: cosine with the query, -1..1.
        rank: from 1, after the rerank.
        rank_before: from 1, by cosine alone.
        rerank_score: what the rerank ordered by; None without a rerank.
    """

    item: int
    path: str | None
    caption: str | None
    score: float
    rank: int
    rank_before: int
    rerank_score: float | None

    def __repr__(self) -> str:
        """Leave out what holds nothing, and digits that mean nothing."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        shown = (
            f"{name}={value:.4f}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value in values.items()
            if value not in (None, {})
        )
        return f"Hit({', '.join(shown)})"


def best_hits(
    scores: Tensor, reranked: Tensor | None, items: Sequence[Item], *, top_k: int
) -> list[Hit]:
    """Return the best ``top_k`` items; equal scores keep the order of the items.

    Args:
        scores: (G,) cosines.
        reranked: (G,) scores that decide the order instead, or None.
        items: the G candidates.
        top_k: how many.
    """
    before = scores.argsort(descending=True, stable=True)  # (G,)
    rank_before = before.argsort()  # (G,)
    order = before
    if reranked is not None:
        # Among equal reranked scores the order by cosine stays.
        order = before[reranked[before].argsort(descending=True, stable=True)]
    return [
        Hit(
            item=item,
            path=items[item].path,
            caption=items[item].caption,
            score=float(scores[item]),
            rank=rank,
            rank_before=int(rank_before[item]) + 1,
            rerank_score=None if reranked is None else float(reranked[item]),
        )
        for rank, item in enumerate(order[:top_k].tolist(), start=1)
    ]
