"""faiss's HNSW: a graph of neighbours in memory, for one to some ten million pictures.

HNSW: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs", 2018. A graph cannot lose a node, so a deleted entry
stays as a tombstone that no search returns, until ``rebuild``, which ``save`` calls where they are
many. A filter that few entries pass is answered exactly instead, by a product over those.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError, MissingDependencyError
from rsctir_hf.vector_index.folder import SavedIndex
from rsctir_hf.vector_index.memory import MemoryIndex
from rsctir_hf.vector_index.shards import read_vectors

try:
    import faiss
except ImportError as error:
    raise MissingDependencyError("faiss", "faiss") from error

_library: Any = faiss  # its type hints lag behind what it offers

GRAPH_FILE = "hnsw.faiss"
NEIGHBOURS = 32  # links of a node (M)
EF_CONSTRUCTION = 80
EF_SEARCH = 128
_EXACT_BELOW = 0.1  # share of entries that pass a filter; for fewer a product is quicker and exact


class HNSWIndex(MemoryIndex):
    """Unit vectors (n, D) in a faiss HNSW graph.

    Args:
        neighbours: links of each node, M; memory and recall grow with it.
        ef_construction: candidates looked at for each new node; build time and recall grow with it.
        ef_search: candidates looked at for each query; query time and recall grow with it.
    """

    engine = "hnsw"
    approximate = True

    def __init__(
        self,
        *,
        neighbours: int = NEIGHBOURS,
        ef_construction: int = EF_CONSTRUCTION,
        ef_search: int = EF_SEARCH,
    ) -> None:
        super().__init__()
        self.ef_search = ef_search
        self._neighbours = neighbours
        self._ef_construction = ef_construction

    def _clear(self) -> None:
        self._graph: Any = None

    def _grow(self, vectors: Tensor) -> None:
        if self._graph is None:
            self._graph = _library.IndexHNSWFlat(
                vectors.shape[1], self._neighbours, _library.METRIC_INNER_PRODUCT
            )
            self._graph.hnsw.efConstruction = self._ef_construction
        self._graph.add(vectors.numpy())

    def _matrix(self) -> Tensor:
        """View the vectors (rows, D) that the graph holds, tombstones among them."""
        if self._graph is None:
            return torch.zeros(0, 0)
        stored = _library.downcast_index(self._graph.storage)
        flat = _library.rev_swig_ptr(stored.get_xb(), self._graph.ntotal * self._graph.d)
        return torch.from_numpy(flat.reshape(-1, self._graph.d))

    def _nearest(
        self, queries: Tensor, top_k: int, passing: NDArray[np.bool_]
    ) -> tuple[Tensor, Tensor]:
        count = int(passing.sum())
        if count <= max(top_k, _EXACT_BELOW * len(self)):
            return super()._nearest(queries, top_k, passing)
        return self._search_graph(queries, top_k, passing, share=count / len(passing))

    def _search_graph(
        self, queries: Tensor, top_k: int, passing: NDArray[np.bool_], *, share: float
    ) -> tuple[Tensor, Tensor]:
        """Walk the graph; the fewer nodes pass, the longer. What it misses is found exactly."""
        options = _library.SearchParametersHNSW(efSearch=int(max(self.ef_search, top_k) / share))
        if share < 1:
            options.sel = _library.IDSelectorBitmap(np.packbits(passing, bitorder="little"))
        scores, rows = map(
            torch.from_numpy, self._graph.search(queries.numpy(), top_k, params=options)
        )
        short = (rows < 0).any(dim=1)
        if short.any():
            scores[short], rows[short] = super()._nearest(queries[short], top_k, passing)
        return scores, rows

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        if self._graph is not None:  # the vectors lie in the shards
            path = str(folder / GRAPH_FILE)
            _library.write_index(self._graph, path, _library.IO_FLAG_SKIP_STORAGE)

    def _read(self, saved: SavedIndex) -> None:
        path = saved.data / GRAPH_FILE
        if not path.exists():
            return
        try:
            graph = _library.read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            raise IndexMismatchError(
                f"{path} is damaged ({str(error).splitlines()[0]}). Build the index anew."
            ) from error
        self._stored = _library.IndexFlat(graph.d, _library.METRIC_INNER_PRODUCT)
        for vectors in read_vectors(saved.data.parent, saved.shards):
            self._stored.add(vectors.numpy())
        if self._stored.ntotal != graph.ntotal:
            raise IndexMismatchError(
                f"{path} links {graph.ntotal} vectors and there are {self._stored.ntotal}. Build "
                "the index anew."
            )
        graph.storage, graph.own_fields = self._stored, False  # kept by this object
        self._graph, self._dimension = graph, graph.d
