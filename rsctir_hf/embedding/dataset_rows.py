"""Data sets on either side of the pipeline: rows as pictures to embed, embeddings as a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from rsctir_hf.embedding.records import FilePicture
from rsctir_hf.embedding.store import finished_record
from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files.metadata import NAME_COLUMNS, plain_name
from rsctir_hf.vector_index.shards import SHARDS_FOLDER


def load_embeddings(folder: str | Path) -> datasets.Dataset:
    """Open a folder of embeddings as a data set, each picture once.

    Columns: ``id``, ``content_hash``, ``stamp``, ``embedding`` and what the source said.
    ``datasets`` maps its own copy of the shards from disk, so that they need not fit in memory.

    Raises:
        DataLayoutError: no embeddings there, or none whose run has come to an end.
    """
    record = finished_record(Path(folder))
    paths = [str(Path(folder) / SHARDS_FOLDER / name) for name in record.shards]
    if not paths:
        raise DataLayoutError(f"{folder} holds no embedding: no picture could be read.")
    if gone := [path for path in paths if not Path(path).is_file()]:
        raise DataLayoutError(
            f"{gone[0]} is missing, which {folder} names. Run rsctir embed again; it embeds anew "
            "what was in it."
        )
    return datasets.Dataset.from_parquet(paths)


@dataclass(frozen=True)
class RowPicture:
    """A row of a ``datasets.Dataset`` whose column ``image`` is not decoded.

    Attributes:
        id: a file name, or the row's number.
        table: the data set.
        row: position in it.
        metadata: see ``PictureRecord``.
    """

    id: str
    table: datasets.Dataset
    row: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def stamp(self) -> str:
        """Return nothing: rows are compared by content, which is cheap to get at."""
        return ""

    def load(self) -> bytes | Image.Image:
        """Return the row's file.

        Raises:
            ImageReadError: the row has no picture, or its file cannot be read.
        """
        found = self.table[self.row]["image"] or {}
        if found.get("bytes"):
            return found["bytes"]
        if not found.get("path"):
            raise ImageReadError(f"{self.id} holds no picture. Leave the row out.")
        return FilePicture(self.id, Path(found["path"])).load()


def table_pictures(table: datasets.Dataset) -> list[RowPicture]:
    """List the rows of a data set with a column ``image``.

    Raises:
        DataLayoutError: it has no such column.
    """
    if "image" not in table.column_names:
        raise DataLayoutError(
            f"The data set has the columns {', '.join(table.column_names)}; expected one called "
            "'image' (rename_column)."
        )
    stored = table.cast_column("image", datasets.Image(decode=False))
    names = _names_of(table)
    return [RowPicture(name, stored, row) for row, name in enumerate(names)]


def _names_of(table: datasets.Dataset) -> Sequence[str]:
    """Return file names where the table has some that are all different, else row numbers."""
    for column in NAME_COLUMNS:
        if column in table.column_names:
            names = [plain_name(str(name)) for name in table[column]]
            if len(set(names)) == len(names):
                return names
    return [str(row) for row in range(len(table))]
