"""The exact engine: a matrix of unit vectors in memory, searched by one product.

The default, and torch rather than faiss's flat index, because it needs no further package and its
speed is that of a bare product and ``topk`` (``benchmarks/vector_search.py``). Fine up to about a
million pictures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rsctir_hf.entries import EXACT, BoundingBox, Entry, Metadata, Recall, SearchFilter
from rsctir_hf.errors import IndexMismatchError, UnsupportedError
from rsctir_hf.vector_index.batch import (
    checked_batch,
    checked_query,
    distinct_ids,
    evenly_spaced,
    id_list,
    no_hits,
)
from rsctir_hf.vector_index.folder import SavedIndex, write_folder
from rsctir_hf.vector_index.nearest import nearest_rows
from rsctir_hf.vector_index.records import Records

VECTORS_FILE = "vectors.safetensors"
_KEY = "vectors"


class ExactIndex:
    """Unit vectors (n, D) in memory; implements ``protocols.VectorIndex``.

    May be searched while another thread adds.
    """

    def __init__(self) -> None:
        self.record: Mapping[str, Any] = {}
        self._parts: list[Tensor] = []  # joined when first searched, not at each addition
        self._records = Records()
        self._lock = RLock()
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
        """1, exact."""
        return EXACT

    @property
    def dimension(self) -> int | None:
        """The length D of the vectors; None while there are none."""
        return self._parts[0].shape[1] if self._parts else None

    @property
    def vectors(self) -> Tensor:
        """All vectors (n, D) float32, in the order they were added."""
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [torch.cat(self._parts)]
            return self._parts[0] if self._parts else torch.zeros(0, 0)

    def everything(self) -> tuple[Tensor, Tensor]:
        """Return the ids (n,) and vectors (n, D) of all entries, row by row.

        Until the index changes, the vectors are the same object in every call.
        """
        with self._lock:
            vectors = self.vectors
            return torch.from_numpy(self._records.ids_of_rows(len(vectors))), vectors

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
                self._parts.append(batch.vectors)
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
            self.delete(self._records.held(id_list(ids)))
            self.add(vectors, ids=ids, metadata=metadata, boxes=boxes)

    def delete(self, ids: Sequence[int] | Tensor) -> None:
        """See ``protocols.VectorIndex.delete``."""
        gone = distinct_ids(ids)
        with self._lock:
            self._records.forget(gone)
            if not gone:
                return
            vectors = self.vectors
            # A new matrix and new records: a search under way keeps the older ones.
            self._records, kept = self._records.compacted()
            self._parts = [vectors[torch.from_numpy(kept)]] if len(kept) else []

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
            rows, vectors = self._records.rows_of(id_list(ids)), self.vectors
        return vectors if rows == list(range(len(vectors))) else vectors[rows]

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

    def save(self, folder: Path | None = None) -> None:
        """Write the index below ``folder``; an older one stays whole until then.

        Raises:
            UnsupportedError: no folder.
            FolderBusyError, StorageError: see ``folder.write_folder``.
        """
        if folder is None:
            raise UnsupportedError("The exact index lives in memory. Give save() a folder.")
        with self._lock:
            self._loaded = write_folder(
                Path(folder),
                engine="exact",
                record=self.record,
                write=self._write,
                loaded=self._loaded,
            )

    def close(self) -> None:
        """See ``protocols.VectorIndex.close``: nothing to do."""

    def _write(self, folder: Path) -> None:
        save_file({_KEY: self.vectors.contiguous()}, folder / VECTORS_FILE)
        self._records.save(folder)

    @classmethod
    def load(cls, saved: SavedIndex) -> "ExactIndex":
        """Read what ``save`` wrote.

        Raises:
            IndexMismatchError: a file is missing or damaged.
        """
        path = saved.data / VECTORS_FILE
        try:
            vectors = load_file(path)[_KEY]
        except (OSError, SafetensorError, KeyError) as error:
            raise IndexMismatchError(
                f"{path} is missing or damaged ({error}). Build the index anew."
            ) from error
        index = cls()
        index.record, index._loaded = saved.record, saved.data
        index._parts = [vectors] if len(vectors) else []
        if saved.entries is None:
            index._records = Records.load(saved.data, rows=len(vectors))
        elif len(saved.entries) == len(vectors):
            index._records = Records.of(saved.entries)
        else:
            raise IndexMismatchError(
                f"The index lists {len(saved.entries)} pictures and holds {len(vectors)} vectors. "
                "Build it anew."
            )
        return index
