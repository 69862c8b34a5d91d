"""The exact engine: a matrix of unit vectors in memory, searched by one product.

The default, and torch rather than faiss's flat index, because it needs no further package and its
speed is that of a bare product and ``topk`` (``benchmarks/vector_search.py``). Fine up to about a
million pictures.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rsctir_hf.vector_index.batch import checked_query, id_list, no_hits
from rsctir_hf.vector_index.contract import BoundingBox, Metadata, SearchFilter
from rsctir_hf.vector_index.memory import MemoryIndex
from rsctir_hf.vector_index.nearest import nearest_rows


class ExactIndex(MemoryIndex):
    """Unit vectors (n, D) in memory; implements ``contract.VectorIndex``.

    May be searched while another thread adds.
    """

    engine = "exact"

    @property
    def vectors(self) -> Tensor:
        """All vectors (n, D) float32, by id."""
        return self._matrix()

    def add(
        self,
        vectors: Tensor,
        *,
        ids: Sequence[int] | Tensor | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> Tensor:
        """See ``contract.VectorIndex.add``; keeps the rows by id, in which order equals come."""
        with self._lock:
            given = super().add(vectors, ids=ids, metadata=metadata, boxes=boxes)
            if (np.diff(self._records.ids_of_rows(self._records.rows)) < 0).any():
                self.rebuild()
        return given

    def everything(self) -> tuple[Tensor, Tensor]:
        """Return the ids (n,) and vectors (n, D) of all entries, by id.

        Until the index changes, the vectors are the same object in every call.
        """
        with self._lock:
            vectors = self.vectors
            return torch.from_numpy(self._records.ids_of_rows(len(vectors))), vectors

    def delete(self, ids: Sequence[int] | Tensor) -> None:
        """See ``contract.VectorIndex.delete``; leaves no tombstones."""
        with self._lock:
            super().delete(ids)
            if self.tombstones:
                self.rebuild()

    def vectors_of(self, ids: Sequence[int] | Tensor) -> Tensor:
        """See ``contract.VectorIndex.vectors_of``."""
        with self._lock:
            rows, vectors = self._records.rows_of(id_list(ids)), self.vectors
        return vectors if rows == list(range(len(vectors))) else vectors[rows]

    def search(
        self, queries: Tensor, top_k: int, *, only: SearchFilter | None = None
    ) -> tuple[Tensor, Tensor]:
        """See ``contract.VectorIndex.search``."""
        asked = checked_query(queries, top_k, dimension=self.dimension)
        with self._lock:
            vectors = self.vectors
            ids = torch.from_numpy(self._records.ids_of_rows(len(vectors)))
            if only is not None:
                passing = torch.from_numpy(self._records.passing(only, len(vectors)))
        if len(vectors) == 0:
            return no_hits(len(asked))
        if only is not None:
            kept = passing.nonzero().flatten()
            vectors, ids = vectors.index_select(0, kept), ids[kept]  # (n', D), (n',)
        scores, rows = nearest_rows(vectors, asked, top_k)
        return scores, ids[rows]

    def _clear(self) -> None:
        self._parts: list[Tensor] = []  # joined when first searched, not at each addition

    def _grow(self, vectors: Tensor) -> None:
        self._parts.append(vectors)

    def _matrix(self) -> Tensor:
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [torch.cat(self._parts)]
            return self._parts[0] if self._parts else torch.zeros(0, 0)
