"""Data sets in files of ``datasets`` and WebDataset, which hold pictures or their paths.

``datasets`` reads them into its own cache, a memory map: none of it need fit in memory.
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from tarfile import TarError
from typing import Any

import datasets
import pyarrow.compute as pc

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import Columns, no_column
from rsctir_hf.files.pictures import IMAGE_SUFFIXES

#: What ``datasets`` calls the readers of files with these suffixes.
SHARD_SUFFIXES: Mapping[str, str] = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}
_SAVED = ("dataset_dict.json", "state.json")
_TEXTS = ("txt", "text", "caption")
_OBJECT = "json"


def is_saved(folder: Path) -> bool:
    """Tell whether a folder was written by ``save_to_disk``."""
    return any((folder / name).is_file() for name in _SAVED)


def read_saved(folder: Path) -> dict[str, datasets.Dataset]:
    """Read what ``save_to_disk`` wrote, by the names of its splits; a single one is "".

    Raises:
        DataLayoutError: a file is missing or damaged.
    """
    with _explained(folder):
        found = datasets.load_from_disk(str(folder))
    return {"": found} if isinstance(found, datasets.Dataset) else dict(found)


@dataclass(frozen=True)
class Shards:
    """A table, and what stands beside it.

    Attributes:
        table: as it was read; of WebDataset the column ``image`` only.
        captions: of each row, where no column of the table holds them.
    """

    table: datasets.Dataset
    captions: list[list[Any]] | None = None


def read_shards(files: Sequence[Path], columns: Columns) -> list[Shards]:
    """Read files of one kind, as one table for each kind of picture in them.

    Raises:
        DataLayoutError: a file is damaged, or they do not fit together.
    """
    kind = SHARD_SUFFIXES[files[0].suffix.lower()]
    asked: dict[str, Any] = {"data_files": {"train": list(map(str, files))}, "split": "train"}
    with _explained(files[0]):
        if kind == "webdataset":
            return _read_archives(files, columns, asked)
        return [Shards(datasets.load_dataset(kind, **asked))]


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    """Say which file another package could not read."""
    try:
        yield
    except DataLayoutError:
        raise
    except (OSError, ValueError, TypeError, TarError, datasets.exceptions.DatasetsError) as error:
        cause = error.__cause__ or error
        raise DataLayoutError(
            f"{source} cannot be read ({type(cause).__name__}: {cause}). Write it again, or give "
            "files of one kind with the same columns."
        ) from error


def _read_archives(
    files: Sequence[Path], columns: Columns, asked: Mapping[str, Any]
) -> list[Shards]:
    """Read shards of WebDataset, a table for each kind of picture.

    ``datasets`` would pass over a kind of file that the first five samples do not have, so it is
    told which there are.
    """
    fields = _fields(files)
    kinds: dict[str, Any] = {}
    for name in fields:
        if f".{name.lower()}" in IMAGE_SUFFIXES:
            kinds[name] = datasets.Image(decode=False)
        elif name in _TEXTS:
            kinds[name] = datasets.Value("string")
        elif name == _OBJECT:
            kinds[name] = datasets.Json()
    pictures = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
    if not pictures:
        raise no_column(files[0], fields, "image")
    table = datasets.load_dataset("webdataset", features=datasets.Features(kinds), **asked)
    said = [_said(row, columns) for row in table.remove_columns(pictures)]
    if not any(said):
        keys = table[_OBJECT][0] if _OBJECT in kinds else ()
        raise no_column(files[0], [*fields, *(keys or ())], "caption", named=columns.caption)
    return [_present(table, name, said) for name in pictures]


def _fields(files: Sequence[Path]) -> list[str]:
    """Return what stands behind the first dot of the names in some archives."""
    found: dict[str, None] = {}
    for file in files:
        with tarfile.open(file) as archive:
            for entry in archive:
                name = PurePosixPath(entry.name).name
                if entry.isfile() and not name.startswith("."):
                    found.setdefault(name.partition(".")[2])
    return list(found)


def _said(row: Mapping[str, Any], columns: Columns) -> list[Any]:
    """Return the captions of a sample: the lines of its text, or what its object says."""
    texts = [name for name in _TEXTS if row.get(name) and columns.caption in (None, name)]
    if texts:
        return row[texts[0]].splitlines()
    told = row.get(_OBJECT)
    cells = [told[name] for name in columns.caption_columns(told)] if told else []
    return list(chain.from_iterable(each if isinstance(each, list) else [each] for each in cells))


def _present(table: datasets.Dataset, column: str, captions: Sequence[list[Any]]) -> Shards:
    """Return the rows that have a picture of one kind."""
    pictures = table.select_columns([column])
    there = pc.is_valid(pictures.with_format("arrow")[:][column]).to_pylist()
    rows = [row for row, is_there in enumerate(there) if is_there]
    if len(rows) < len(table):
        pictures = pictures.select(rows)
    return Shards(pictures.rename_column(column, "image"), [captions[row] for row in rows])
