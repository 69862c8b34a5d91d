"""Ids, metadata and boxes in memory, row by row, for the engines that hold them themselves."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.vector_index.arguments import Scalar, checked_metadata, refuse_held, refuse_unknown
from rsctir_hf.vector_index.conditions import Condition, typed
from rsctir_hf.vector_index.contract import Batch, BoundingBox, Entry, SearchFilter, Wanted

RECORDS_FILE = "records.jsonl"
_NO_BOX = (np.nan,) * 4  # compares false with everything


class Records:
    """What is known about each row of a matrix of vectors.

    Rows are only ever appended; a row whose entry was forgotten stays.

    Args:
        entries: of the first rows; None for one that was forgotten.
    """

    def __init__(self, entries: Sequence[Entry | None] = ()) -> None:
        self._entries = list(entries)
        self._alive = bytearray(entry is not None for entry in entries)  # to look at as an array
        self._row_of = {entry.id: row for row, entry in enumerate(entries) if entry is not None}
        self._next_id = max(self._row_of, default=-1) + 1
        # Columns of what is searched by: longer only when asked for, as additions come one by one.
        self._ids = np.zeros(0, np.int64)
        self._boxes = np.zeros((0, 4))
        self._codes: dict[str, tuple[NDArray[np.int64], dict[tuple[bool, Scalar], int]]] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def rows(self) -> int:
        """How many rows there are, forgotten ones among them."""
        return len(self._entries)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The id of each row (rows,), -1 or the older one where it was forgotten."""
        if len(self._ids) < self.rows:
            newer = self._entries[len(self._ids) :]
            newer_ids = [-1 if entry is None else entry.id for entry in newer]
            self._ids = np.concatenate([self._ids, np.array(newer_ids, np.int64)])
        return self._ids

    def append(self, batch: Batch) -> list[int]:
        """Append a batch; return the ids of its entries.

        Raises:
            QueryError: an id is held already.
        """
        ids = batch.ids
        if ids is None:
            ids = list(range(self._next_id, self._next_id + len(batch.vectors)))
        refuse_held(self.held(ids))
        self._next_id = max(self._next_id, *(one + 1 for one in ids))
        self._row_of.update(zip(ids, range(self.rows, self.rows + len(ids)), strict=True))
        self._entries += map(Entry, ids, batch.metadata, batch.boxes)
        self._alive += b"\1" * len(ids)
        return ids

    def forget(self, ids: Sequence[int]) -> None:
        """Forget entries; their rows stay.

        Raises:
            UnknownItemError: an id is not held; then all stay.
        """
        for one, row in zip(ids, self.rows_of(ids), strict=True):
            self._entries[row] = None
            self._alive[row] = 0
            del self._row_of[one]

    def rows_of(self, ids: Sequence[int]) -> list[int]:
        """Return the row of each id.

        Raises:
            UnknownItemError: an id is not held.
        """
        refuse_unknown([one for one in ids if one not in self._row_of], "the index")
        return [self._row_of[one] for one in ids]

    def held(self, ids: Iterable[int]) -> list[int]:
        """Return those of ``ids`` that are held."""
        return [one for one in ids if one in self._row_of]

    def entries_of(self, ids: Sequence[int]) -> list[Entry]:
        """Return what is known about each id; raises as ``rows_of`` does."""
        found = [self._entries[row] for row in self.rows_of(ids)]
        return [entry for entry in found if entry is not None]  # none is

    def passing(self, only: SearchFilter | None = None) -> NDArray[np.bool_]:
        """Tell which rows (rows,) are not forgotten and pass a filter."""
        passing = np.frombuffer(bytes(self._alive), np.bool_).copy()
        if only is None:
            return passing
        for name, values in only.wanted.items():
            codes, known = self._coded(name)
            passing &= np.isin(codes, _codes_of(values, known))
        if only.box is not None:
            passing &= self._overlapping(only.box)
        return passing

    def compacted(self) -> tuple["Records", NDArray[np.int64]]:
        """Return records by id, without the forgotten rows, and which rows (n,) they were."""
        kept = np.flatnonzero(self.passing())
        kept = kept[np.argsort(self.ids[kept])]
        smaller = Records([self._entries[row] for row in kept.tolist()])
        smaller._next_id = self._next_id
        return smaller, kept

    def save(self, folder: Path) -> None:
        """Write a line of JSON for each row; that of a forgotten row is ``null``."""
        with (folder / RECORDS_FILE).open("w", encoding="utf-8") as file:
            for entry in self._entries:
                file.write(json.dumps(_as_fields(entry), ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path, *, rows: int) -> "Records":
        """Read what ``save`` wrote beside that many rows of vectors.

        Raises:
            IndexMismatchError: missing, damaged, or of another number of rows.
        """
        path = folder / RECORDS_FILE
        try:
            with path.open(encoding="utf-8") as file:
                records = cls([_from_fields(parse_json(line)) for line in file])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise IndexMismatchError(
                f"{path} is missing or damaged ({error}). Build the index anew."
            ) from error
        if records.rows != rows:
            raise IndexMismatchError(
                f"{path} lists {records.rows} entries and there are {rows} vectors. Build the "
                "index anew."
            )
        if len(records) != sum(records._alive):
            raise IndexMismatchError(f"{path} lists an id twice. Build the index anew.")
        return records

    def _coded(self, name: str) -> tuple[NDArray[np.int64], dict[tuple[bool, Scalar], int]]:
        """Number the values of one name: a code for each row, -1 where absent."""
        codes, known = self._codes.get(name, (np.zeros(0, np.int64), {}))
        if len(codes) < self.rows:
            newer = [
                known.setdefault(typed(entry.metadata[name]), len(known))
                if entry and name in entry.metadata
                else -1
                for entry in self._entries[len(codes) :]
            ]
            codes = np.concatenate([codes, np.array(newer, np.int64)])
            self._codes[name] = codes, known
        return codes, known

    def _overlapping(self, box: BoundingBox) -> NDArray[np.bool_]:
        """Tell of the rows (rows,) whose box overlaps or touches ``box``."""
        if len(self._boxes) < self.rows:
            newer = [
                entry.box.corners if entry and entry.box else _NO_BOX
                for entry in self._entries[len(self._boxes) :]
            ]
            self._boxes = np.concatenate([self._boxes, np.array(newer)])
        min_x, min_y, max_x, max_y = self._boxes.T
        overlapping = np.zeros(self.rows, np.bool_)
        for part in box.parts:
            overlapping |= (
                (min_x <= part.max_x)
                & (max_x >= part.min_x)
                & (min_y <= part.max_y)
                & (max_y >= part.min_y)
            )
        return overlapping


def _codes_of(values: Iterable[Wanted], known: dict[tuple[bool, Scalar], int]) -> list[int]:
    """Return the codes of values and of those that meet a condition."""
    found: list[int] = []
    for value in values:
        if isinstance(value, Condition):
            found += [code for (_, each), code in known.items() if value.passes(each)]
        elif typed(value) in known:
            found.append(known[typed(value)])
    return found


def _as_fields(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    box = None if entry.box is None else entry.box.corners
    return {"id": entry.id, "metadata": entry.metadata, "box": box}


def _from_fields(fields: dict[str, Any] | None) -> Entry | None:
    if fields is None:
        return None
    number = int(np.int64(fields["id"]))  # what is beyond 64 bits, tensors cannot hold
    box = None if fields["box"] is None else BoundingBox(*fields["box"])
    return Entry(number, checked_metadata(fields["metadata"]), box)
