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
    if queries is None:
        itself, most, asked_with = index.ids(most=sample), top_k + 1, "of its own vectors"
        queries = index.vectors_of(itself)
    else:
        itself, most, asked_with = torch.full((len(queries),), -1), top_k, "given queries"
    true_scores, true_ids = _nearest_of_all(index, queries, most)
    scores, ids = index.search(queries, most)
    shares = []
    for row, one in enumerate(itself):
        true_others, others = true_ids[row] != one, ids[row] != one
        nearest = true_ids[row][true_others][:top_k]
        last = true_scores[row][true_others][:top_k][-1]  # what ties with it is as good
        found = torch.isin(ids[row], nearest) | (scores[row] >= last)
        shares.append(float(found[others][:top_k].sum()) / len(nearest))
    how = f"recall@{top_k} measured with {len(queries)} {asked_with} among {len(index):,} vectors"
    recall = Recall(sum(shares) / len(shares), how)
    index.record = {**index.record, "recall": asdict(recall)}
    return recall


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
