"""Pictures to embed, each with an id, and a cheap way to tell that it has not changed.

The pipeline takes anything with the attributes of ``PictureRecord``: files of a folder and rows of
a data set are here, the tiles of a scene are another case.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import datasets
from PIL import Image

from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.gallery.pictures import picture_sources

#: A file that changed less than this many seconds ago may change again without a trace in its
#: times: FAT counts in steps of two seconds.
SETTLED_AFTER = 2.5

_NAME_COLUMNS = ("file_name", "filename", "image_name")


class PictureRecord(Protocol):
    """One picture to embed."""

    @property
    def id(self) -> str:
        """What it is called, different from all others."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is stored beside its vector, by column; the same columns in every record."""

    def stamp(self) -> str:
        """Return what changes whenever the picture may have, at no cost; empty if nothing does."""

    def load(self) -> bytes | Image.Image:
        """Return the content of the picture's file, or the picture where it has none.

        Raises:
            ImageReadError: it cannot be had.
        """


@dataclass(frozen=True)
class FilePicture:
    """A picture file.

    Attributes:
        id: its path within the gallery, with forward slashes.
        path: where it lies.
        metadata: see ``PictureRecord``.
    """

    id: str
    path: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def stamp(self) -> str:
        """Return size, time of change and time of the last change of the file's entry.

        The latter is there because a copy may be given the times of another file. Empty for a file
        that has only just changed (``SETTLED_AFTER``).
        """
        try:
            found = self.path.stat()
        except OSError:
            return ""
        if time.time() - max(found.st_mtime, found.st_ctime) < SETTLED_AFTER:
            return ""
        return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"

    def load(self) -> bytes:
        """Read the file.

        Raises:
            ImageReadError: it is gone or may not be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise ImageReadError(
                f"{self.id} cannot be read ({error.strerror}). Check that it is still there and "
                "that you may read it, or leave it out."
            ) from error


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

    def load(self) -> bytes:
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


def folder_pictures(folder: str | Path) -> list[FilePicture]:
    """List the picture files of a folder and its subfolders, in the order of their names.

    Raises:
        DataLayoutError: the folder is missing or holds no picture.
    """
    root = Path(folder)
    paths = [Path(str(source)) for source in picture_sources(root)]
    return [FilePicture(path.relative_to(root).as_posix(), path) for path in paths]


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
    for column in _NAME_COLUMNS:
        if column in table.column_names:
            names = [str(name) for name in table[column]]
            if len(set(names)) == len(names):
                return names
    return [str(row) for row in range(len(table))]
