"""The two engines that live in memory and are saved to a folder."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from rsctir_hf.errors import QueryError, UnknownItemError
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.exact import ExactIndex
from rsctir_hf.vector_index.hnsw import HNSWIndex
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.recall import measure_recall
from tests.vector_index.contract import VectorIndexContract, fill, unit_vectors


class InMemory(VectorIndexContract):
    made_by = ExactIndex

    @pytest.fixture
    def index(self):
        return self.made_by()

    @pytest.fixture
    def reopened(self, tmp_path):
        def save_and_open(index):
            index.save(tmp_path / "index")
            return open_index(tmp_path / "index")

        return save_and_open

    @pytest.fixture(scope="class")
    def full(self):
        index = self.made_by()
        return index, fill(index)


class TestExact(InMemory):
    made_by = ExactIndex


class TestHNSW(InMemory):
    approximate = True
    made_by = HNSWIndex


@pytest.fixture
def graph():
    index = HNSWIndex()
    vectors = unit_vectors(3000)
    index.add(vectors, metadata=[{"even": row % 2 == 0, "rare": row < 5} for row in range(3000)])
    return index, vectors


def test_deleted_entries_stay_in_the_graph_until_it_is_rebuilt(graph):
    index, vectors = graph
    index.delete(range(0, 3000, 3))
    assert (len(index), index.tombstones) == (2000, 1000)
    before = index.search(vectors[1:50:3], 10)
    index.rebuild()
    assert (len(index), index.tombstones) == (2000, 0)
    after = index.search(vectors[1:50:3], 10)
    assert len(set(before[1].flatten().tolist()) ^ set(after[1].flatten().tolist())) < 10
    assert index.search(vectors[1:50:3], 1)[1].flatten().tolist() == list(range(1, 50, 3))
    assert index.entries_of([2999])[0].metadata == {"even": False, "rare": False}


@pytest.mark.parametrize(("deleted", "left"), [(100, 100), (1000, 0)])
def test_saving_clears_tombstones_where_there_are_many(graph, tmp_path, deleted, left):
    index, vectors = graph
    index.delete(range(deleted))
    index.save(tmp_path)
    loaded = open_index(tmp_path)
    assert (len(loaded), loaded.tombstones) == (3000 - deleted, left)
    assert loaded.ids()[0] == deleted
    assert loaded.search(vectors[-3:], 1)[1].flatten().tolist() == [2997, 2998, 2999]
    assert loaded.add(unit_vectors(1, seed=9)).tolist() == [3000]
    with pytest.raises(UnknownItemError):
        loaded.vectors_of([0])


@pytest.mark.parametrize("only", [{"even": True}, {"rare": True}])
def test_a_filter_finds_the_true_nearest_by_graph_and_by_product(graph, only):
    index, _ = graph
    exact = ExactIndex()
    ids = index.ids()
    exact.add(index.vectors_of(ids), metadata=[entry.metadata for entry in index.entries_of(ids)])
    queries, allowed = unit_vectors(40, seed=1), SearchFilter(only)
    found, truth = (one.search(queries, 10, only=allowed)[1] for one in (index, exact))
    assert found.shape == truth.shape
    assert (found == truth).float().mean() > 0.97


def test_recall_with_given_queries_is_stated_as_such(graph):
    index, _ = graph
    assert index.recall.value is None
    assert "not measured" in str(index.recall)
    recall = measure_recall(index, queries=unit_vectors(30, seed=1))
    assert recall.value > 0.9
    assert recall.how == "recall@10 measured with 30 given queries among 3,000 vectors"
    index.ef_search = 1  # a walk that gives up at once
    assert measure_recall(index, queries=unit_vectors(30, seed=1)).value < recall.value
    with pytest.raises(QueryError, match=r"recall@3000 needs more"):
        measure_recall(index, top_k=3000)


def test_an_exact_search_goes_on_while_another_thread_adds_and_deletes():
    index = ExactIndex()
    vectors = unit_vectors(2000)
    index.add(vectors[:500])
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(_churn, index, vectors)
        while not writing.done():
            scores, ids = index.search(vectors[:4], 3)
            assert ids[:, 0].tolist() == [0, 1, 2, 3]
            assert torch.allclose(scores[:, 0], torch.ones(4))
        writing.result()
    assert len(index) == 2000 - 30


def _churn(index, vectors):
    for first in range(500, 2000, 50):
        added = index.add(vectors[first : first + 50])
        index.delete(added[:1])
