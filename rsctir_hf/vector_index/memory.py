"""What the engines in memory share: ids, metadata and boxes, filters, saving and loading.

An engine of its own says how it keeps vectors (``_clear``, ``_grow``, ``_matrix``) and, where it
knows a quicker way than a product with all of them, how it finds the nearest (``_nearest``).
CONTRIBUTING.md shows one.
"""

from abc import abstractmethod
from pathlib import Path
from threading import RLock
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError, UnsupportedError
from rsctir_hf.vector_index.contract import Batch, Entry, SearchFilter, VectorIndex
from rsctir_hf.vector_index.entries import Records
from rsctir_hf.vector_index.folder import SavedIndex, write_folder
from rsctir_hf.vector_index.nearest import evenly_spaced, in_order, nearest_rows
from rsctir_hf.vector_index.shards import read_vectors

MEMORY = "memory"  # the place of an index that was not saved yet
_TOO_MANY_TOMBSTONES = 0.2  # share of the rows


class MemoryIndex(VectorIndex):
    """Unit vectors (n, D) in memory, a row each.

    A deleted entry stays as a tombstone, a row that no search returns, until ``rebuild``.

    Attributes:
        engine: the name in ``index.json`` and in ``opening.ENGINES``.
    """

    engine: ClassVar[str]
    persistent = False
    approximate = False

    def __init__(self) -> None:
        self.record = {}
        self.place = MEMORY
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
    def dimension(self) -> int | None:
        """See ``contract.VectorIndex.dimension``."""
        with self._lock:  # none for a moment while all entries are replaced
            return self._dimension

    @property
    def tombstones(self) -> int:
        """How many deleted entries still have a row."""
        return self._records.rows - len(self._records)

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
            found = np.sort(self._records.ids[self._records.passing(only)])
        return torch.from_numpy(found[evenly_spaced(len(found), most=most)])

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
            self._lies_in(
                write_folder(
                    Path(folder),
                    engine=self.engine,
                    record=self.record,
                    vectors=self._matrix(),
                    write=self._write,
                    loaded=self._loaded,
                )
            )

    @classmethod
    def load(cls, saved: SavedIndex) -> Self:
        """Read what ``save`` wrote.

        Raises:
            IndexMismatchError: a file is missing or damaged.
        """
        index = cls()
        index.record = saved.record
        index._lies_in(saved.data)
        try:
            index._read(saved)
        except (RuntimeError, AssertionError) as error:  # torch's and faiss's, of other lengths
            raise IndexMismatchError(
                f"The vectors of {saved.data.parent} do not fit each other ({error}). Build the "
                "index anew."
            ) from error
        index._records = Records.load(saved.data, rows=len(index._matrix()))
        return index

    def _lies_in(self, data: Path) -> None:
        self._loaded, self.place = data, str(data.parent)

    def _put(self, batch: Batch, *, replace: bool) -> list[int]:
        with self._lock:
            if replace:
                self._forget(self._records.held(batch.ids or []))
            given = self._records.append(batch)
            self._take_in(batch.vectors)
        return given

    def _forget(self, ids: list[int]) -> None:
        """See ``contract.VectorIndex.delete``; leaves tombstones."""
        with self._lock:
            self._records.forget(ids)
            if not len(self):
                self.rebuild()  # vectors of any length may come now

    def _vectors(self, ids: list[int]) -> Tensor:
        with self._lock:
            return self._matrix()[self._records.rows_of(ids)]

    def _entries(self, ids: list[int]) -> list[Entry]:
        with self._lock:
            return self._records.entries_of(ids)

    def _search(
        self, queries: Tensor, top_k: int, only: SearchFilter | None
    ) -> tuple[Tensor, Tensor]:
        with self._lock:
            scores, rows = self._nearest(queries, top_k, self._records.passing(only))
            ids = torch.from_numpy(self._records.ids)
        return in_order(scores, torch.where(rows < 0, -1, ids[rows.clamp(min=0)]))

    def _take_in(self, vectors: Tensor) -> None:
        if len(vectors):
            self._dimension = vectors.shape[1]
            self._grow(vectors)

    def _write(self, folder: Path) -> None:
        """Write what ``load`` needs beside the vectors."""
        self._records.save(folder)

    def _read(self, saved: SavedIndex) -> None:
        """Hold the vectors of a saved index.

        Raises:
            IndexMismatchError: missing or damaged.
        """
        for vectors in read_vectors(saved.data.parent, saved.shards):
            self._take_in(vectors)
