"""The exact index against a loop, and what happens to damaged files."""

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.gallery.index import VECTORS_FILE, ExactIndex
from rsctir_hf.protocols import VectorIndex


@pytest.fixture
def vectors():
    return F.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)), dim=1)


def test_search_equals_sorting_by_hand(vectors):
    index: VectorIndex = ExactIndex()
    assert list(index.add(vectors[:7])) == list(range(7))
    assert list(index.add(vectors[7:])) == list(range(7, 20))
    scores, rows = index.search(vectors[3:5], 4)
    for query, row_scores, row in zip(vectors[3:5], scores, rows, strict=True):
        by_hand = sorted(range(20), key=lambda item: -float(query @ vectors[item]))
        assert row.tolist() == by_hand[:4]
        torch.testing.assert_close(row_scores, vectors[row] @ query)


def test_equal_scores_keep_the_order_of_addition(vectors):
    index = ExactIndex()
    index.add(vectors[:1].repeat(5, 1))
    assert index.search(vectors[:1], 5)[1].tolist() == [[0, 1, 2, 3, 4]]


def test_top_k_beyond_the_index_gives_all_of_it(vectors):
    index = ExactIndex()
    assert index.search(vectors[:1], 3)[0].shape == (1, 0)
    index.add(vectors[:2])
    assert index.search(vectors[:1], 10)[0].shape == (1, 2)


def test_saved_index_comes_back_and_leaves_no_part_files(vectors, tmp_path):
    index = ExactIndex()
    index.add(vectors)
    index.save(tmp_path / "a")
    assert torch.equal(ExactIndex.load(tmp_path / "a").vectors, vectors)
    assert [file.name for file in (tmp_path / "a").iterdir()] == [VECTORS_FILE]


def test_damaged_file_and_wrong_length_are_named(vectors, tmp_path):
    with pytest.raises(IndexMismatchError, match="missing or damaged"):
        ExactIndex.load(tmp_path)
    (tmp_path / VECTORS_FILE).write_bytes(b"nothing of use")
    with pytest.raises(IndexMismatchError, match="Build the index anew"):
        ExactIndex.load(tmp_path)
    index = ExactIndex()
    index.add(vectors)
    with pytest.raises(IndexMismatchError, match=r"length 8.*length 4"):
        index.add(vectors[:, :4])
