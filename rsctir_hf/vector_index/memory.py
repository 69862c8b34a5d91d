"""What the engines in memory share: ids, metadata and boxes, filters, saving and loading.

An engine of its own says how it keeps vectors (``_clear``, ``_grow``, ``_matrix``) and, where it
knows a quicker way than a product with all of them, how it finds the nearest (``_nearest``).
CONTRIBUTING.md shows one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError, UnsupportedError
from rsctir_hf.vector_index.batch import (
    checked_batch,
    checked_query,
    distinct_ids,
    evenly_spaced,
    id_list,
    in_order,
    no_hits,
)
from rsctir_hf.vector_index.contract import (
    EXACT,
    BoundingBox,
    Entry,
    Metadata,
    Recall,
    SearchFilter,
)
from rsctir_hf.vector_index.entries import Records
from rsctir_hf.vector_index.folder import SavedIndex, write_folder
from rsctir_hf.vector_index.nearest import nearest_rows

VECTORS_FILE = "vectors.safetensors"
_KEY = "vectors"
_TOO_MANY_TOMBSTONES = 0.2  # share of the rows


class MemoryIndex(ABC):
    """Unit vectors (n, D) in memory, a row each; implements ``contract.VectorIndex``.

    A deleted entry stays as a tombstone, a row that no search returns, until ``rebuild``.

    Attributes:
        engine: the name in ``index.json`` and in ``opening.ENGINES``.
    """

    engine: ClassVar[str]

    def __init__(self) -> None:
        self.record: Mapping[str, Any] = {}
        self._records = Records()
        self._lock = RLock()
        self._loaded: Path | None = None
        self._dimension: int | None = None
        self._clear()

    @abstractmethod
    def _clear(self) -> None:
        """Hold no vectors."""

    @abstractmethod
    def _grow(self, vectors: Tensor) -> None:
        """Hold vectors (n, D), at least one, as the next n rows."""

    @abstractmethod
    def _matrix(self) -> Tensor:
        """Return the vectors (rows, D) float32 of all rows, (0, 0) where there are none."""

    def _nearest(
        self, queries: Tensor, top_k: int, passing: NDArray[np.bool_]
    ) -> tuple[Tensor, Tensor]:
        """Return scores (Q, K) and rows (Q, K) of the nearest among the rows that pass.

        Rows that were not found end in score -inf and row -1.
        """
        rows = torch.from_numpy(np.flatnonzero(passing))
        scores, found = nearest_rows(self._matrix().index_select(0, rows), queries, top_k)
        return scores, rows[found]

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
        """1, exact, unless the engine says otherwise."""
        return EXACT

    @property
    def dimension(self) -> int | None:
        """The length D of the vectors; None while there are none."""
        return self._dimension

    @property
    def tombstones(self) -> int:
        """How many deleted entries still have a row."""
        return self._records.rows - len(self._records)

    def add(
        self,
        vectors: Tensor,
        *,
        ids: Sequence[int] | Tensor | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> Tensor:
        """See ``contract.VectorIndex.add``."""
        batch = checked_batch(vectors, ids, metadata, boxes, dimension=self.dimension)
        with self._lock:
            given = self._records.append(batch)
            self._take_in(batch.vectors)
        return torch.tensor(given, dtype=torch.int64)

    def upsert(
        self,
        vectors: Tensor,
        ids: Sequence[int] | Tensor,
        *,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> None:
        """See ``contract.VectorIndex.upsert``."""
        checked_batch(vectors, ids, metadata, boxes, dimension=self.dimension)
        with self._lock:
            self.delete(self._records.held(id_list(ids)))
            self.add(vectors, ids=ids, metadata=metadata, boxes=boxes)

    def delete(self, ids: Sequence[int] | Tensor) -> None:
        """See ``contract.VectorIndex.delete``; leaves tombstones."""
        gone = distinct_ids(ids)
        with self._lock:
            self._records.forget(gone)
            if not len(self):
                self.rebuild()  # vectors of any length may come now

    def rebuild(self) -> None:
        """Hold the vectors anew, by id and without tombstones; takes as long as adding them did."""
        with self._lock:
            vectors = self._matrix()
            # New records: a search under way keeps the older ones.
            self._records, kept = self._records.compacted()
            vectors = vectors[torch.from_numpy(kept)]
            self._clear()
            if not len(vectors):
                self._dimension = None
            self._take_in(vectors)

    def ids(self, only: SearchFilter | None = None, *, most: int | None = None) -> Tensor:
        """See ``contract.VectorIndex.ids``."""
        with self._lock:
            rows = self._records.rows
            passing = self._records.passing(only, rows)
            found = np.sort(self._records.ids_of_rows(rows)[passing])
        return torch.from_numpy(found[evenly_spaced(len(found), most=most)])

    def vectors_of(self, ids: Sequence[int] | Tensor) -> Tensor:
        """See ``contract.VectorIndex.vectors_of``."""
        with self._lock:
            return self._matrix()[self._records.rows_of(id_list(ids))]

    def entries_of(self, ids: Sequence[int] | Tensor) -> list[Entry]:
        """See ``contract.VectorIndex.entries_of``."""
        with self._lock:
            return [self._records.entry(row) for row in self._records.rows_of(id_list(ids))]

    def search(
        self, queries: Tensor, top_k: int, *, only: SearchFilter | None = None
    ) -> tuple[Tensor, Tensor]:
        """See ``contract.VectorIndex.search``."""
        asked = checked_query(queries, top_k, dimension=self.dimension)
        with self._lock:
            if len(self) == 0 or len(asked) == 0:
                return no_hits(len(asked))
            passing = self._records.passing(only, self._records.rows)
            scores, rows = self._nearest(asked, top_k, passing)
            ids = torch.from_numpy(self._records.ids_of_rows(self._records.rows))
            found = torch.where(rows < 0, -1, ids[rows.clamp(min=0)])
        return in_order(scores, found)

    def save(self, folder: Path | None = None) -> None:
        """Write the index below ``folder``, without tombstones where those are many.

        An older index there stays whole until the new one is written.

        Raises:
            UnsupportedError: no folder.
            FolderBusyError, StorageError: see ``folder.write_folder``.
        """
        if folder is None:
            raise UnsupportedError("The index lives in memory. Give save() a folder.")
        with self._lock:
            if self.tombstones > _TOO_MANY_TOMBSTONES * self._records.rows:
                self.rebuild()
            self._loaded = write_folder(
                Path(folder),
                engine=self.engine,
                record=self.record,
                write=self._write,
                loaded=self._loaded,
            )

    def close(self) -> None:  # noqa: B027 - most engines have nothing to close
        """See ``contract.VectorIndex.close``: nothing to do."""

    @classmethod
    def load(cls, saved: SavedIndex) -> Self:
        """Read what ``save`` wrote.

        Raises:
            IndexMismatchError: a file is missing or damaged.
        """
        index = cls()
        index.record, index._loaded = saved.record, saved.data
        rows = index._read_vectors(saved.data)
        if saved.entries is None:
            index._records = Records.load(saved.data, rows=rows)
        elif len(saved.entries) == rows:
            index._records = Records.of(saved.entries)
        else:
            raise IndexMismatchError(
                f"The index lists {len(saved.entries)} pictures and holds {rows} vectors. "
                "Build it anew."
            )
        return index

    def _take_in(self, vectors: Tensor) -> None:
        if len(vectors):
            self._dimension = vectors.shape[1]
            self._grow(vectors)

    def _write(self, folder: Path) -> None:
        self._write_vectors(folder)
        self._records.save(folder)

    def _write_vectors(self, folder: Path) -> None:
        """Write what ``_read_vectors`` reads."""
        save_file({_KEY: self._matrix().contiguous()}, folder / VECTORS_FILE)

    def _read_vectors(self, folder: Path) -> int:
        """Hold the vectors that a folder keeps; return how many rows they are.

        Raises:
            IndexMismatchError: missing or damaged.
        """
        path = folder / VECTORS_FILE
        try:
            vectors = load_file(path)[_KEY]
        except (OSError, SafetensorError, KeyError) as error:
            raise IndexMismatchError(
                f"{path} is missing or damaged ({error}). Build the index anew."
            ) from error
        if vectors.dim() != 2 or not vectors.is_floating_point():
            raise IndexMismatchError(
                f"{path} holds {vectors.dtype} of shape {tuple(vectors.shape)}, expected vectors "
                "(n, D). Build the index anew."
            )
        self._take_in(vectors)
        return len(vectors)
