"""The two engines that live in memory and are saved to a folder."""

import pytest

from rsctir_hf.vector_index.exact import ExactIndex
from rsctir_hf.vector_index.hnsw import HNSWIndex
from rsctir_hf.vector_index.opening import open_index

from .contract import VectorIndexContract, fill


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
    made_by = HNSWIndex
