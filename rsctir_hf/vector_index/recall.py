"""Measure the recall of an approximate index against a search of all its vectors."""

from dataclasses import asdict

import torch
from torch import Tensor

from rsctir_hf.errors import QueryError
from rsctir_hf.vector_index.contract import EXACT, Recall, VectorIndex
from rsctir_hf.vector_index.nearest import nearest_rows

_ROWS_AT_ONCE = 10_000


def measure_recall(
    index: VectorIndex, *, queries: Tensor | None = None, top_k: int = 10, sample: int = 200
) -> Recall:
    """Measure recall@k, write it in the record of the index, and return it.

    Every vector is read once, in blocks: from a server this takes as long as copying the table.

    Args:
        index: any; an exact one is told so at once.
        queries: (Q, D) unit vectors such as users ask; by default vectors of the index itself,
            each of which does not count as its own neighbour.
        top_k: k.
        sample: how many vectors of the index to ask with.

    Raises:
        QueryError: there are no more than k vectors.
    """
    if index.recall == EXACT:
        return EXACT
    if len(index) <= top_k:
        raise QueryError(f"The index holds {len(index)} vectors; recall@{top_k} needs more.")
    own = None if queries is not None else index.ids(most=sample)
    asked = index.vectors_of(own) if own is not None else queries
    if asked is None:
        raise QueryError("There is nothing to ask with.")
    true_scores, true_ids = _nearest_of_all(index, asked, top_k + (own is not None))
    scores, ids = index.search(asked, top_k + (own is not None))
    shares = []
    for row in range(len(asked)):
        itself = -1 if own is None else int(own[row])
        shares.append(
            _share_found(
                scores[row][ids[row] != itself][:top_k],
                ids[row][ids[row] != itself][:top_k],
                true_scores[row][true_ids[row] != itself][:top_k],
                true_ids[row][true_ids[row] != itself][:top_k],
            )
        )
    asked_with = "given queries" if own is None else "of its own vectors"
    how = f"recall@{top_k} measured with {len(asked)} {asked_with} among {len(index):,} vectors"
    recall = Recall(sum(shares) / len(shares), how)
    index.record = {**index.record, "recall": asdict(recall)}
    return recall


def _share_found(scores: Tensor, ids: Tensor, true_scores: Tensor, true_ids: Tensor) -> float:
    """Return the share of the true (k,) that was found; one that ties with the last is as good."""
    found = torch.isin(ids, true_ids) | (scores >= true_scores[-1])
    return min(1.0, float(found.sum()) / len(true_ids))


def _nearest_of_all(index: VectorIndex, queries: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Return scores (Q, K) and ids (Q, K) of the true nearest."""
    best = torch.zeros(len(queries), 0)
    best_ids = torch.zeros(len(queries), 0, dtype=torch.int64)
    for ids in index.ids().split(_ROWS_AT_ONCE):
        scores, rows = nearest_rows(index.vectors_of(ids), queries, top_k)
        best = torch.cat([best, scores], dim=1)
        best_ids = torch.cat([best_ids, ids[rows]], dim=1)
        best, places = best.sort(dim=1, descending=True, stable=True)
        best, best_ids = best[:, :top_k], best_ids.gather(1, places)[:, :top_k]
    return best, best_ids
