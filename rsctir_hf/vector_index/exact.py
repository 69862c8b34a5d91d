"""The exact engine: a matrix of unit vectors in memory, searched by one product.

The default, and torch rather than faiss's flat index, because it needs no further package and its
speed is that of a bare product and ``topk`` (``benchmarks/vector_search.py``). Fine up to about a
million pictures.
"""

import numpy as np
import torch
from torch import Tensor

from rsctir_hf.vector_index.contract import Batch, SearchFilter
from rsctir_hf.vector_index.memory import MemoryIndex
from rsctir_hf.vector_index.nearest import nearest_rows


class ExactIndex(MemoryIndex):
    """Unit vectors (n, D) in memory.

    The rows stand by id, in which order equals come, and there are no tombstones. May be searched
    while another thread adds.
    """

    engine = "exact"

    def everything(self) -> tuple[Tensor, Tensor]:
        """Return the ids (n,) and vectors (n, D) of all entries, by id.

        Until the index changes, the vectors are the same object in every call.
        """
        with self._lock:
            return torch.from_numpy(self._records.ids), self._matrix()

    def _put(self, batch: Batch, *, replace: bool) -> list[int]:
        with self._lock:
            given = super()._put(batch, replace=replace)
            if (np.diff(self._records.ids) < 0).any():
                self.rebuild()
        return given

    def _forget(self, ids: list[int]) -> None:
        with self._lock:
            super()._forget(ids)
            if self.tombstones:
                self.rebuild()

    def _vectors(self, ids: list[int]) -> Tensor:
        with self._lock:
            rows, vectors = self._records.rows_of(ids), self._matrix()
        return vectors if rows == list(range(len(vectors))) else vectors[rows]

    def _search(
        self, queries: Tensor, top_k: int, only: SearchFilter | None
    ) -> tuple[Tensor, Tensor]:
        with self._lock:
            ids, vectors = self.everything()
            if only is not None:
                kept = torch.from_numpy(np.flatnonzero(self._records.passing(only)))
        if only is not None:
            vectors, ids = vectors.index_select(0, kept), ids[kept]  # (n', D), (n',)
        scores, rows = nearest_rows(vectors, queries, top_k)
        return scores, ids[rows]

    def _clear(self) -> None:
        self._parts: list[Tensor] = []  # joined when first searched, not at each addition

    def _grow(self, vectors: Tensor) -> None:
        self._parts.append(vectors)

    def _matrix(self) -> Tensor:
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return self._parts[0] if self._parts else torch.zeros(0, 0)
