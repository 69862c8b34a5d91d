"""The project's columns of a data set, and columns put side by side without copying pictures."""

import os
from collections.abc import Sequence

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from rsctir_hf.files.listing import state_of

#: What each of our columns holds.
FEATURES = {
    "image": datasets.Image(),
    "captions": datasets.List(datasets.Value("string")),
    "file_name": datasets.Value("string"),
    "category": datasets.Value("string"),
}


def own_dataset(columns: dict[str, list]) -> datasets.Dataset:
    """Build a data set of some of our columns."""
    features = datasets.Features({name: FEATURES[name] for name in columns})
    return datasets.Dataset.from_dict(columns, features=features)


def with_captions(table: datasets.Dataset, captions: Sequence[Sequence[str]]) -> datasets.Dataset:
    """Return a table with other captions."""
    words = own_dataset({"captions": [list(each) for each in captions]})
    rest = table.remove_columns("captions")
    whole = datasets.concatenate_datasets([rest, words], axis=1)
    return whole.select_columns(table.column_names)


def with_pictures(
    table: datasets.Dataset, column: str, paths: Sequence[str | None]
) -> datasets.Dataset:
    """Return a table with the pictures of some files in one of its columns."""
    pictures = datasets.Dataset.from_dict(
        {column: list(paths)}, features=datasets.Features({column: datasets.Image()})
    )
    rest = table.remove_columns(column)
    return datasets.concatenate_datasets([pictures, rest], axis=1) if rest.features else pictures


def file_sizes(table: datasets.Dataset) -> list[int | None]:
    """Return the bytes of each picture's file, without reading it; None where there is none."""
    cells = stored_cells(table, "image")
    paths = pc.struct_field(cells, "path").to_pylist()
    inside = pc.binary_length(pc.struct_field(cells, "bytes")).to_pylist()
    return [
        size if size is not None else file_size(path)
        for size, path in zip(inside, paths, strict=True)
    ]


def stored_cells(table: datasets.Dataset, column: str) -> pa.ChunkedArray:
    """Return a column of pictures as Arrow holds it: ``bytes`` and ``path`` of each."""
    one = table.select_columns(column).cast_column(column, datasets.Image(decode=False))
    return one.with_format("arrow")[:][column]


def file_size(path: str | None) -> int | None:
    """Return the bytes of a file, or None where there is none."""
    state = state_of(path) if path and os.path.isfile(path) else None
    return state[0] if state else None


def joined_tables(tables: Sequence[datasets.Dataset]) -> datasets.Dataset:
    """Put tables one below the other, with the columns that all have."""
    shared = [name for name in tables[0].column_names if all(name in t.features for t in tables)]
    return datasets.concatenate_datasets([table.select_columns(shared) for table in tables])
