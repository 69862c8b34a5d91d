"""Brute force against a stable sort, with many equal scores and in several blocks."""

import pytest
import torch

from rsctir_hf.vector_index import nearest
from rsctir_hf.vector_index.nearest import all_scores, best_columns, nearest_rows


@pytest.mark.parametrize("top_k", [1, 5, 20, 70, 100])
def test_the_lower_column_comes_first_among_equals(top_k):
    scores = torch.randint(0, 6, (9, 100), generator=torch.Generator().manual_seed(0)).float()
    by_hand = scores.sort(dim=1, descending=True, stable=True)
    values, columns = best_columns(scores, top_k)
    assert torch.equal(values, by_hand.values[:, :top_k])
    assert torch.equal(columns, by_hand.indices[:, :top_k])


@pytest.mark.parametrize("block", [1, 10, 10**6])
def test_blocks_change_nothing(monkeypatch, block):
    # whole numbers, so that products are exact in any order
    random = torch.Generator().manual_seed(0)
    vectors = torch.randint(-1, 2, (300, 4), generator=random).float()
    queries = torch.randint(-1, 2, (3, 4), generator=random).float()
    monkeypatch.setattr(nearest, "_BLOCK_SCORES", block)
    values, rows = nearest_rows(vectors, queries, 12)
    by_hand = (queries @ vectors.T).sort(dim=1, descending=True, stable=True)
    assert torch.equal(values, by_hand.values[:, :12])
    assert torch.equal(rows, by_hand.indices[:, :12])
    assert torch.equal(all_scores(vectors, queries[0]), vectors @ queries[0])
