"""Pictures with the labels of what they show: which files there are, and what each says.

A table names pictures and labels, a row a picture. It is ``multilabels.jsonl`` (or ``.csv``,
``.tsv``, ``.parquet``) in the folder, or a ``metadata.jsonl`` beside the pictures. A row has
``labels``, a list or a text in which commas, semicolons or bars part them; or a column of 0 and 1
for each label, as releases of multi-labels have. A column ``split`` says which split it is of; the
pictures lie in the folder, or in a folder of their split.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import datasets
import torch
from torch import Tensor

from rsctir_hf.data.row_facts import LABELS
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import METADATA_FILES, NAME_COLUMNS, PICTURE_COLUMNS, plain_name
from rsctir_hf.files.rows import TABLE_SUFFIXES, read_rows, row_error

LABEL_FILES = tuple(f"multilabels{suffix}" for suffix in TABLE_SUFFIXES)
SPLIT = "split"
_PARTED = re.compile(r"\s*[,;|]\s*")
_EXAMPLE = '{"file_name": "a.jpg", "labels": ["ship", "water"]}'
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """B pictures and which of L labels each shows.

    Attributes:
        files: B paths.
        labels: L names, sorted.
        shown: (B, L) bool.
    """

    files: tuple[Path, ...]
    labels: tuple[str, ...]
    shown: Tensor

    def at(self, rows: Sequence[int]) -> "LabelledPictures":
        """Return some of them."""
        return LabelledPictures(
            tuple(self.files[row] for row in rows), self.labels, self.shown[list(rows)]
        )


def read_labelled(data: str | Path, *, split: str | None = None) -> LabelledPictures:
    """Read labelled pictures of a folder.

    Args:
        data: the folder, or the table itself.
        split: only these; None, or a table that names no splits: all.

    Raises:
        DataLayoutError: no table, no labels in it, no such split, or pictures that are missing.
    """
    rows = read_label_rows(data, split=split)
    missing = [row.file for row in rows if not row.file.is_file()]
    if missing:
        named = ", ".join(map(str, missing[:_MOST_NAMED]))
        raise DataLayoutError(
            f"{len(missing)} of {len(rows)} labelled pictures are missing, such as {named}. Put "
            "them beside the table, or in a folder of their split."
        )
    labels = sorted({label for row in rows for label in row.labels})
    shown = torch.tensor([[label in row.labels for label in labels] for row in rows])
    return LabelledPictures(tuple(row.file for row in rows), tuple(labels), shown)


@dataclass(frozen=True)
class LabelRow:
    """What a row says of a picture: where it lies, its split ("" unnamed) and its labels."""

    file: Path
    split: str
    labels: frozenset[str]


def read_label_rows(data: str | Path, *, split: str | None = None) -> list[LabelRow]:
    """Read what the tables of a folder say, whether the pictures are there or not.

    Raises:
        DataLayoutError: see ``read_labelled``.
    """
    rows = [row for file, of in _tables(Path(data).expanduser()) for row in _rows(file, of)]
    named = sorted({row.split for row in rows} - {""})
    kept = [row for row in rows if split is None or row.split in ("", split)]
    if rows and not kept:
        raise DataLayoutError(f"{data} has no split {split!r}; it has {', '.join(named)}.")
    if not any(row.labels for row in kept):
        raise DataLayoutError(f"{data} names no label of any picture. A row is {_EXAMPLE}.")
    return kept


def with_labels(table: datasets.Dataset, data: str | Path, *, split: str) -> datasets.Dataset:
    """Return a table of pictures with a column of labels where ``LABEL_FILES`` beside them say any.

    Pictures are known by their names; of one that has no row the labels are None.

    Raises:
        DataLayoutError: see ``read_labelled``.
    """
    if not any((Path(data).expanduser() / name).is_file() for name in LABEL_FILES):
        return table
    rows = {row.file.name: sorted(row.labels) for row in read_label_rows(data, split=split)}
    names = [PurePath(name).name for name in table["file_name"]]
    return table.add_column(LABELS, [rows.get(name) for name in names])


def label_splits(data: str | Path) -> set[str]:
    """Return the splits that a folder's tables name; raises as ``read_label_rows`` does."""
    return {row.split for row in read_label_rows(data)} - {""}


def _tables(place: Path) -> list[tuple[Path, str]]:
    """Return the tables of a folder, each with the split that its place says, "" none."""
    if place.is_file():
        return [(place, "")]
    for name in (*LABEL_FILES, *METADATA_FILES):
        if (place / name).is_file():
            return [(place / name, "")]
    below = [file for name in METADATA_FILES for file in sorted(place.glob(f"*/{name}"))]
    if not below:
        raise DataLayoutError(
            f"{place} holds no table of labels. Expected {LABEL_FILES[0]} or {METADATA_FILES[0]} "
            f"there (also .csv, .tsv, .parquet), whose rows are such as {_EXAMPLE}."
        )
    return [(file, file.parent.name) for file in below]


def _rows(file: Path, of_split: str) -> Iterator[LabelRow]:
    for number, row in read_rows(file, texts=(*NAME_COLUMNS, *PICTURE_COLUMNS, LABELS)):
        if not isinstance(row, Mapping):
            raise row_error(file, number, "is no object")
        column = next((each for each in (*NAME_COLUMNS, *PICTURE_COLUMNS) if each in row), "")
        name, split = row.get(column), str(row.get(SPLIT) or of_split)
        if not isinstance(name, str) or not name:
            raise row_error(file, number, f"names no picture; its fields are {', '.join(row)}")
        rest = {key: value for key, value in row.items() if key not in (column, SPLIT)}
        try:
            labels = _labels(rest)
        except ValueError as error:
            raise row_error(file, number, error) from error
        yield LabelRow(_file(file.parent, split, plain_name(name)), split, labels)


def _file(folder: Path, split: str, name: str) -> Path:
    """Return where a picture lies: in the folder of its split, where there is one."""
    below = folder / split / name
    path = below if split and below.is_file() else folder / name
    return Path(os.path.normpath(path))


def _labels(row: Mapping[str, Any]) -> frozenset[str]:
    """Return the labels of a row.

    Raises:
        ValueError: it says none, or something that is no label.
    """
    said = row.get(LABELS)
    if said is None and LABELS not in row:
        flags = {name: value for name, value in row.items() if value in (0, 1)}
        if not flags:
            raise ValueError(f"has no {LABELS}; a row is such as {_EXAMPLE}")
        return frozenset(name.strip() for name, value in flags.items() if value)
    parts = _PARTED.split(said) if isinstance(said, str) else said or ()
    if not isinstance(parts, list | tuple) or not all(isinstance(each, str) for each in parts):
        raise ValueError(f"has {said!r} as {LABELS}; expected texts, such as {_EXAMPLE}")
    return frozenset(each.strip() for each in parts) - {""}
