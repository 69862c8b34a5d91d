"""The nearest by brute force: one product, block by block, and the best of each block.

And what any engine does with hits: order them, or say that there are none.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

_BLOCK_SCORES = 2**24  # scores in memory at once, 64 MB


def nearest_rows(vectors: Tensor, queries: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Return scores (Q, K) and rows (Q, K) of the nearest, K at most n; the lower row among equals.

    Args:
        vectors: (n, D) unit vectors.
        queries: (Q, D) unit vectors.
        top_k: how many for each query.
    """
    if len(vectors) == 0 or len(queries) == 0:
        return no_hits(len(queries))
    found = []
    for first, scores in _scored_blocks(vectors, queries, least=4 * top_k):
        values, rows = best_columns(scores, top_k)
        found.append((values, rows + first))
    if len(found) == 1:
        return found[0]
    scores = torch.cat([values for values, _ in found], dim=1)
    rows = torch.cat([rows for _, rows in found], dim=1)
    values, places = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :top_k], rows.gather(1, places[:, :top_k])


def all_scores(vectors: Tensor, query: Tensor) -> Tensor:
    """Return the scores (n,) of one query (D,): to the last bit those of ``nearest_rows``."""
    return torch.cat([scores[0] for _, scores in _scored_blocks(vectors, query[None], least=1)])


def _scored_blocks(vectors: Tensor, queries: Tensor, *, least: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row of each block and its scores (Q, n')."""
    block = max(_BLOCK_SCORES // len(queries), least)
    for first in range(0, len(vectors), block):
        yield first, queries @ vectors[first : first + block].T


def best_columns(scores: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Return the best scores (Q, K) and their columns (Q, K), the lower column among equals."""
    count = min(top_k, scores.shape[1])
    if 2 * count > scores.shape[1]:
        values, columns = scores.sort(dim=1, descending=True, stable=True)
        return values[:, :count], columns[:, :count]
    # One more than asked for tells whether the choice among equals at the end was free.
    values, columns = scores.topk(count + 1, dim=1)
    free = values[:, count] == values[:, count - 1]
    values, columns = values[:, :count], columns[:, :count]
    for query in free.nonzero().flatten().tolist():
        last = values[query, -1]
        surely = (values[query] > last).sum()
        equals = (scores[query] == last).nonzero().flatten()
        columns[query, surely:] = equals[: count - surely]
    columns, places = columns.sort(dim=1)
    values, places = values.gather(1, places).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, places)


def no_hits(queries: int) -> tuple[Tensor, Tensor]:
    """Return the answer of an index that holds nothing: (Q, 0) scores and ids."""
    return torch.zeros(queries, 0), torch.zeros(queries, 0, dtype=torch.int64)


def in_order(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Order hits (Q, K) best first, the lower id among equals, what was not found (-1) last."""
    ids, places = ids.sort(dim=1)
    scores, order = scores.gather(1, places).sort(dim=1, descending=True, stable=True)
    return scores, ids.gather(1, order)


def hits_of(found: Sequence[Sequence[tuple[float, int]]]) -> tuple[Tensor, Tensor]:
    """Return scores (Q, K) and ids (Q, K), in order, of Q lists of (score, id) of any length."""
    shape = len(found), max(map(len, found))
    scores, ids = torch.full(shape, -torch.inf), torch.full(shape, -1, dtype=torch.int64)
    for query, hits in enumerate(found):
        for place, (score, one) in enumerate(hits):
            scores[query, place], ids[query, place] = score, one
    return in_order(scores, ids)


def evenly_spaced(count: int, *, most: int | None) -> list[int]:
    """Return at most ``most`` evenly spaced positions below ``count``."""
    kept = count if most is None else min(count, most)
    return [position * count // kept for position in range(kept)]
