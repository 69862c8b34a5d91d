"""Answers of a search: which item, at which rank, with which score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

from torch import Tensor

from rsctir_hf.search.confidence import Level, ScoreScale, best_level
from rsctir_hf.vector_index.contract import BoundingBox, Metadata


@dataclass(frozen=True)
class Item:
    """One indexed picture, or a sentence of a caption bank.

    Attributes:
        path: of the picture file, as text; None for a picture that was handed in from memory.
        caption: what the gallery says about it, if anything.
        metadata: what else is known about it.
        box: where on the Earth it lies, if that is known.
    """

    path: str | None
    caption: str | None = None
    metadata: Metadata = field(default_factory=dict)
    box: BoundingBox | None = None


@dataclass(frozen=True, repr=False)
class Hit:
    """One answer.

    Attributes:
        item: id in the index, or position in the caption bank.
        path: of the picture, as text (``files.names``: ``path_of`` gives back a name that is no
            UTF-8); None for a caption, or for a picture handed in from memory.
        caption: the caption, or what the gallery says about the picture, if anything.
        score: cosine with the query, -1..1; of labels, how likely it shows them, 0..1.
        rank: from 1, after the rerank.
        rank_before: from 1, by cosine alone, windows that were folded counted.
        rerank_score: what the rerank ordered by; None without a rerank.
        metadata: what else the gallery knows about the picture.
        box: where on the Earth it lies, if that is known.
        level: how well it fits; None where that was not judged: the gallery is still growing, or
            there is none, or words and a picture were asked for together.
        merged: how many windows of a raster, or copies of a picture, it stands for, itself among
            them (``folding``).
        thing: the box around what the query's heat map points at (``heat``), x1, y1, x2, y2 as
            shares of width and height; None where nobody looked.
    """

    item: int
    path: str | None
    caption: str | None
    score: float
    rank: int
    rank_before: int
    rerank_score: float | None
    metadata: Metadata = field(default_factory=dict)
    box: BoundingBox | None = None
    level: Level | None = None
    merged: int = 1
    thing: tuple[float, float, float, float] | None = None

    def __repr__(self) -> str:
        """Leave out what holds nothing, and digits that mean nothing."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        shown = (
            f"{name}={value:.4f}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value in values.items()
            if value not in (None, {}) and (name, value) != ("merged", 1)
        )
        return f"Hit({', '.join(shown)})"


def best_hits(
    scores: Tensor,
    reranked: Tensor | None,
    *,
    ids: Tensor,
    describe: Callable[[list[int]], Sequence[Item]],
    top_k: int,
) -> list[Hit]:
    """Return the best ``top_k`` candidates; equal scores keep the order of the candidates.

    Args:
        scores: (G,) cosines.
        reranked: (G,) scores that decide the order instead, or None.
        ids: (G,) what each candidate is called.
        describe: returns what is known about those of some ids.
        top_k: how many.
    """
    before = scores.argsort(descending=True, stable=True)  # (G,)
    rank_before = before.argsort()  # (G,)
    order = before
    if reranked is not None:
        # Among equal reranked scores the order by cosine stays.
        order = before[reranked[before].argsort(descending=True, stable=True)]
    best = order[:top_k].tolist()
    found = ids[best].tolist()
    return [
        Hit(
            item=one,
            path=item.path,
            caption=item.caption,
            score=float(scores[place]),
            rank=rank,
            rank_before=int(rank_before[place]) + 1,
            rerank_score=None if reranked is None else float(reranked[place]),
            metadata=item.metadata,
            box=item.box,
        )
        for rank, (place, one, item) in enumerate(
            zip(best, found, describe(found), strict=True), start=1
        )
    ]


def judged(hits: Sequence[Hit], scale: ScoreScale | None) -> list[Hit]:
    """Return hits with their levels on a scale; as they are where there is none."""
    if scale is None:
        return list(hits)
    return [replace(hit, level=scale.level(hit.score)) for hit in hits]


def confidence(hits: Sequence[Hit]) -> Level | None:
    """Return how well the best of some hits fits; None where nothing was judged.

    ``fits``; ``perhaps``: look at them; ``nothing``: the gallery seems to hold no such picture.
    """
    return best_level(hit.level for hit in hits)
