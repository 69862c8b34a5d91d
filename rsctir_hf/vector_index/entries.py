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
from rsctir_hf.vector_index.contract import Batch, BoundingBox, Entry, SearchFilter

RECORDS_FILE = "records.jsonl"
_NO_BOX = (np.nan,) * 4  # compares false with everything


class Records:
    """What is known about each row of a matrix of vectors.

    Rows are only ever appended; a row whose entry was forgotten stays and has no id any more.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._row_of: dict[int, int] = {}
        self._alive = bytearray()  # a row each, 0 where its entry was forgotten
        self._next_id = 0
        self._ids = np.zeros(0, np.int64)
        self._boxes = np.zeros((0, 4))
        self._codes: dict[str, tuple[NDArray[np.int64], dict[tuple[bool, Scalar], int]]] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def rows(self) -> int:
        """How many rows there are, forgotten ones among them."""
        return len(self._entries)

    def append(self, batch: Batch) -> list[int]:
        """Append a batch; return the ids of its entries.

        Raises:
            QueryError: an id is held already.
        """
        ids = batch.ids
        if ids is None:
            ids = list(range(self._next_id, self._next_id + len(batch)))
        refuse_held(self.held(ids))
        self._next_id = max(self._next_id, *(one + 1 for one in ids)) if ids else self._next_id
        first = len(self._entries)
        self._entries += [
            Entry(*fields) for fields in zip(ids, batch.metadata, batch.boxes, strict=True)
        ]
        self._alive += b"\1" * len(ids)
        self._row_of.update(zip(ids, range(first, first + len(ids)), strict=True))
        return ids

    def forget(self, ids: Sequence[int]) -> None:
        """Forget entries; their rows stay.

        Raises:
            UnknownItemError: an id is not held; then all stay.
        """
        for row in self.rows_of(ids):
            self._alive[row] = 0
        for one in ids:
            self._row_of.pop(one, None)

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

    def entry(self, row: int) -> Entry:
        """Return what is known about a row."""
        return self._entries[row]

    def ids_of_rows(self, count: int) -> NDArray[np.int64]:
        """Return the ids (count,) of the first rows, whether forgotten or not."""
        known = len(self._ids)
        if known < count:
            newer = np.fromiter((entry.id for entry in self._entries[known:count]), np.int64)
            self._ids = np.concatenate([self._ids, newer])
        return self._ids[:count]

    def alive(self, count: int) -> NDArray[np.bool_]:
        """Tell of the first rows (count,) which are not forgotten."""
        return np.frombuffer(bytes(self._alive[:count]), np.bool_).copy()

    def passing(self, only: SearchFilter | None, count: int) -> NDArray[np.bool_]:
        """Tell of the first rows (count,) which are not forgotten and pass a filter."""
        passing = self.alive(count)
        if only is None:
            return passing
        for name, values in only.wanted.items():
            codes, known = self._coded(name, count)
            wanted = [known[typed(value)] for value in values if typed(value) in known]
            passing &= np.isin(codes, wanted)
        if only.box is not None:
            passing &= self._overlapping(only.box, count)
        return passing

    def compacted(self) -> tuple["Records", NDArray[np.int64]]:
        """Return records by id, without the forgotten rows, and which rows (n,) they were."""
        kept = np.flatnonzero(self.alive(self.rows))
        kept = kept[np.argsort(self.ids_of_rows(self.rows)[kept])]
        smaller = Records()
        smaller._entries = [self._entries[row] for row in kept.tolist()]
        smaller._alive = bytearray(b"\1" * len(kept))
        smaller._row_of = {entry.id: row for row, entry in enumerate(smaller._entries)}
        smaller._next_id = self._next_id
        return smaller, kept

    def save(self, folder: Path) -> None:
        """Write a line of JSON for each row; that of a forgotten row is ``null``."""
        with (folder / RECORDS_FILE).open("w", encoding="utf-8") as file:
            for alive, entry in zip(self._alive, self._entries, strict=True):
                file.write(json.dumps(_fields(entry) if alive else None, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path, *, rows: int) -> "Records":
        """Read what ``save`` wrote beside that many rows of vectors.

        Raises:
            IndexMismatchError: missing, damaged, or of another number of rows.
        """
        path = folder / RECORDS_FILE
        records = cls()
        try:
            with path.open(encoding="utf-8") as file:
                for line in file:
                    records._restore(parse_json(line))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise IndexMismatchError(
                f"{path} is missing or damaged ({error}). Build the index anew."
            ) from error
        if records.rows != rows:
            raise IndexMismatchError(
                f"{path} lists {records.rows} entries and there are {rows} vectors. Build the "
                "index anew."
            )
        return records

    def _restore(self, fields: dict[str, Any] | None) -> None:
        """Append one saved row."""
        self._alive.append(fields is not None)
        if fields is None:
            self._entries.append(Entry(-1))
            return
        box = None if fields["box"] is None else BoundingBox(*fields["box"])
        number = int(np.int64(fields["id"]))  # what is beyond 64 bits, tensors cannot hold
        entry = Entry(number, checked_metadata(fields["metadata"]), box)
        self._row_of[entry.id] = len(self._entries)
        self._entries.append(entry)
        self._next_id = max(self._next_id, entry.id + 1)

    def _coded(
        self, name: str, count: int
    ) -> tuple[NDArray[np.int64], dict[tuple[bool, Scalar], int]]:
        """Number the values of one name: a code for each of the first rows, -1 where absent."""
        codes, known = self._codes.get(name, (np.zeros(0, np.int64), {}))
        if len(codes) < count:
            values = [entry.metadata.get(name) for entry in self._entries[len(codes) : count]]
            newer = [
                -1 if value is None else known.setdefault(typed(value), len(known))
                for value in values
            ]
            codes = np.concatenate([codes, np.array(newer, np.int64)])
            self._codes[name] = codes, known
        return codes[:count], known

    def _overlapping(self, box: BoundingBox, count: int) -> NDArray[np.bool_]:
        """Tell of the first rows (count,) whose box overlaps or touches ``box``."""
        known = len(self._boxes)
        if known < count:
            newer = [
                entry.box.corners if entry.box else _NO_BOX for entry in self._entries[known:count]
            ]
            self._boxes = np.concatenate([self._boxes, np.array(newer)])
        min_x, min_y, max_x, max_y = self._boxes[:count].T
        overlapping = np.zeros(count, np.bool_)
        for part in box.parts:
            overlapping |= (
                (min_x <= part.max_x)
                & (max_x >= part.min_x)
                & (min_y <= part.max_y)
                & (max_y >= part.min_y)
            )
        return overlapping


def typed(value: Scalar) -> tuple[bool, Scalar]:
    """Return a key that tells ``True`` from ``1``, which Python takes for equal."""
    return isinstance(value, bool), value


def _fields(entry: Entry) -> dict[str, Any]:
    box = None if entry.box is None else entry.box.corners
    return {"id": entry.id, "metadata": entry.metadata, "box": box}
