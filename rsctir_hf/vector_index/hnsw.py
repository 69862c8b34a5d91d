"""faiss's HNSW: a graph of neighbours in memory, for one to some ten million pictures.

HNSW: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs", 2018. A graph cannot lose a node, so a deleted entry
stays as a tombstone that no search returns, until ``rebuild``, which ``save`` calls where they are
many. A filter that few entries pass is answered exactly instead, by a product over those.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsctir_hf.entries import BoundingBox, Entry, Metadata, Recall, SearchFilter, noted_recall
from rsctir_hf.errors import IndexMismatchError, MissingDependencyError, UnsupportedError
from rsctir_hf.vector_index.batch import (
    checked_batch,
    checked_query,
    distinct_ids,
    evenly_spaced,
    id_list,
    in_order,
    no_hits,
)
from rsctir_hf.vector_index.folder import SavedIndex, write_folder
from rsctir_hf.vector_index.nearest import nearest_rows
from rsctir_hf.vector_index.records import Records

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
_TOO_MANY_TOMBSTONES = 0.2  # share of the graph


class HNSWIndex:
    """Unit vectors (n, D) in a faiss HNSW graph; implements ``protocols.VectorIndex``.

    Args:
        neighbours: links of each node, M; memory and recall grow with it.
        ef_construction: candidates looked at for each new node; build time and recall grow with it.
        ef_search: candidates looked at for each query; query time and recall grow with it.
    """

    def __init__(
        self,
        *,
        neighbours: int = NEIGHBOURS,
        ef_construction: int = EF_CONSTRUCTION,
        ef_search: int = EF_SEARCH,
    ) -> None:
        self.record: Mapping[str, Any] = {}
        self.ef_search = ef_search
        self._neighbours = neighbours
        self._ef_construction = ef_construction
        self._graph: Any = None
        self._records = Records()
        self._lock = RLock()  # faiss cannot search a graph that grows
        self._loaded: Path | None = None

    def __len__(self) -> int:
        return len(self._records)

    @property
    def persistent(self) -> bool:
        """No: it lives in memory."""
        return False

    @property
    def place(self) -> str:
        """The folder it was loaded from or saved to."""
        return "memory" if self._loaded is None else str(self._loaded.parent)

    @property
    def recall(self) -> Recall:
        """As ``recall.measure_recall`` noted it."""
        return noted_recall(self.record)

    @property
    def dimension(self) -> int | None:
        """The length D of the vectors; None while there are none."""
        return None if self._graph is None else self._graph.d

    @property
    def tombstones(self) -> int:
        """How many deleted entries are still nodes of the graph."""
        return self._records.rows - len(self._records)

    def add(
        self,
        vectors: Tensor,
        *,
        ids: Sequence[int] | Tensor | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> Tensor:
        """See ``protocols.VectorIndex.add``."""
        batch = checked_batch(vectors, ids, metadata, boxes, dimension=self.dimension)
        with self._lock:
            given = self._records.append(batch)
            if given:
                self._grow(batch.vectors.numpy())
        return torch.tensor(given, dtype=torch.int64)

    def upsert(
        self,
        vectors: Tensor,
        ids: Sequence[int] | Tensor,
        *,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> None:
        """See ``protocols.VectorIndex.upsert``."""
        checked_batch(vectors, ids, metadata, boxes, dimension=self.dimension)
        with self._lock:
            self._records.forget(self._records.held(id_list(ids)))
            self.add(vectors, ids=ids, metadata=metadata, boxes=boxes)

    def delete(self, ids: Sequence[int] | Tensor) -> None:
        """See ``protocols.VectorIndex.delete``; leaves tombstones."""
        gone = distinct_ids(ids)
        with self._lock:
            self._records.forget(gone)

    def rebuild(self) -> None:
        """Build the graph anew without tombstones; takes as long as adding all entries did."""
        with self._lock:
            vectors = self._matrix()
            self._records, kept = self._records.compacted()
            kept_vectors = vectors[kept]
            self._graph = None
            if len(kept):
                self._grow(kept_vectors)

    def ids(self, only: SearchFilter | None = None, *, most: int | None = None) -> Tensor:
        """See ``protocols.VectorIndex.ids``."""
        with self._lock:
            rows = self._records.rows
            passing = self._records.passing(only, rows)
            found = np.sort(self._records.ids_of_rows(rows)[passing])
        return torch.from_numpy(found[evenly_spaced(len(found), most=most)])

    def vectors_of(self, ids: Sequence[int] | Tensor) -> Tensor:
        """See ``protocols.VectorIndex.vectors_of``."""
        with self._lock:
            return torch.from_numpy(self._matrix()[self._records.rows_of(id_list(ids))])

    def entries_of(self, ids: Sequence[int] | Tensor) -> list[Entry]:
        """See ``protocols.VectorIndex.entries_of``."""
        with self._lock:
            return [self._records.entry(row) for row in self._records.rows_of(id_list(ids))]

    def search(
        self, queries: Tensor, top_k: int, *, only: SearchFilter | None = None
    ) -> tuple[Tensor, Tensor]:
        """See ``protocols.VectorIndex.search``."""
        asked = checked_query(queries, top_k, dimension=self.dimension)
        with self._lock:
            if len(self) == 0 or len(asked) == 0:
                return no_hits(len(asked))
            passing = self._records.passing(only, self._records.rows)
            count = int(passing.sum())
            if count <= max(top_k, _EXACT_BELOW * len(self)):
                scores, rows = self._search_exactly(asked, top_k, passing)
            else:
                scores, rows = self._search_graph(asked, top_k, passing, share=count / len(passing))
            ids = torch.from_numpy(self._records.ids_of_rows(self._records.rows))
            found = torch.where(rows < 0, -1, ids[rows.clamp(min=0)])
        return in_order(scores, found)

    def save(self, folder: Path | None = None) -> None:
        """Write the index below ``folder``, without tombstones where those are many.

        Raises:
            UnsupportedError: no folder.
            FolderBusyError, StorageError: see ``folder.write_folder``.
        """
        if folder is None:
            raise UnsupportedError("The HNSW index lives in memory. Give save() a folder.")
        with self._lock:
            if self.tombstones > _TOO_MANY_TOMBSTONES * self._records.rows:
                self.rebuild()
            self._loaded = write_folder(
                Path(folder),
                engine="hnsw",
                record=self.record,
                write=self._write,
                loaded=self._loaded,
            )

    def close(self) -> None:
        """See ``protocols.VectorIndex.close``: nothing to do."""

    @classmethod
    def load(cls, saved: SavedIndex) -> "HNSWIndex":
        """Read what ``save`` wrote.

        Raises:
            IndexMismatchError: a file is missing or damaged.
        """
        path = saved.data / GRAPH_FILE
        index = cls()
        index.record, index._loaded = saved.record, saved.data
        if path.exists():
            try:
                index._graph = _library.read_index(str(path))
            except RuntimeError as error:
                raise IndexMismatchError(
                    f"{path} is damaged ({str(error).splitlines()[0]}). Build the index anew."
                ) from error
        rows = 0 if index._graph is None else index._graph.ntotal
        index._records = Records.load(saved.data, rows=rows)
        return index

    def _write(self, folder: Path) -> None:
        if self._graph is not None:
            _library.write_index(self._graph, str(folder / GRAPH_FILE))
        self._records.save(folder)

    def _grow(self, vectors: NDArray[np.float32]) -> None:
        if self._graph is None:
            self._graph = _library.IndexHNSWFlat(
                vectors.shape[1], self._neighbours, _library.METRIC_INNER_PRODUCT
            )
            self._graph.hnsw.efConstruction = self._ef_construction
        self._graph.add(vectors)

    def _matrix(self) -> NDArray[np.float32]:
        """View the vectors (rows, D) that the graph holds, tombstones among them."""
        if self._graph is None:
            return np.zeros((0, 0), np.float32)
        stored = _library.downcast_index(self._graph.storage)
        flat = _library.rev_swig_ptr(stored.get_xb(), self._graph.ntotal * self._graph.d)
        return flat.reshape(-1, self._graph.d)

    def _search_exactly(
        self, queries: Tensor, top_k: int, passing: NDArray[np.bool_]
    ) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(np.flatnonzero(passing))
        scores, found = nearest_rows(torch.from_numpy(self._matrix()[passing]), queries, top_k)
        return scores, rows[found]

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
            scores[short], rows[short] = self._search_exactly(queries[short], top_k, passing)
        return scores, rows
