"""Pictures to embed, each with an id, and a cheap way to tell that it has not changed.

The pipeline takes anything with the attributes of ``PictureRecord``: files and pictures in memory
are here, rows of a data set in ``dataset_rows``; the tiles of a scene are another case.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.files.listing import stamp_of
from rsctir_hf.files.names import as_text
from rsctir_hf.files.pictures import IMAGE_SUFFIXES, list_images, read_image, unreadable


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
        id: its path within the gallery, with forward slashes, as text (``files.names``).
        path: where it lies.
        metadata: see ``PictureRecord``.
    """

    id: str
    path: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def stamp(self) -> str:
        """Return that of the file and its side-cars (``files.listing.stamp_of``)."""
        return stamp_of([self.path, *self._side_cars])

    def load(self) -> bytes | Image.Image:
        """Read the file; with side-cars, which its content does not hold, the picture.

        Raises:
            ImageReadError: it is gone or may not be read.
        """
        if self._side_cars:
            return read_image(self.path, name=self.id)
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise unreadable(self.id, error) from error

    @property
    def _side_cars(self) -> list[Path]:
        """Mask and nodata value beside a TIFF."""
        if self.path.suffix.lower() not in (".tif", ".tiff"):
            return []
        beside = (Path(f"{self.path}{ending}") for ending in (".msk", ".aux.xml"))
        return [file for file in beside if file.is_file()]


@dataclass(frozen=True)
class HeldPicture:
    """A picture in memory; see ``PictureRecord``."""

    id: str
    picture: Image.Image
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def stamp(self) -> str:
        """Return nothing: pictures in memory are compared by content."""
        return ""

    def load(self) -> Image.Image:
        """Return the picture."""
        return self.picture


def source_records(sources: Sequence[PictureSource]) -> tuple[list[PictureRecord], str]:
    """Turn paths and PIL pictures into records, and return the folder that holds all, as text."""
    paths = {
        place: os.path.abspath(source)
        for place, source in enumerate(sources)
        if not isinstance(source, Image.Image)
    }
    root = os.path.commonpath([os.path.dirname(path) for path in paths.values()]) if paths else ""
    records = list[PictureRecord]()
    for place, source in enumerate(sources):
        if isinstance(source, Image.Image):
            records.append(HeldPicture(f"picture {place}", source))
        else:
            records.append(file_picture(Path(paths[place]), Path(root)))
    return records, as_text(root)


def folder_pictures(folder: str | Path) -> list[FilePicture]:
    """List the picture files of a folder and its subfolders, in the order of their names.

    Raises:
        DataLayoutError: the folder is missing or holds no picture.
    """
    root = Path(folder)
    paths = [Path(str(source)) for source in picture_sources(root)]
    return [file_picture(path, root) for path in paths]


def file_picture(path: Path, root: Path) -> FilePicture:
    """Return the record of a picture file below the folder ``root``."""
    return FilePicture(as_text(path.relative_to(root).as_posix()), path)


def picture_sources(
    images: str | Path | Image.Image | Iterable[PictureSource],
) -> Sequence[PictureSource]:
    """List the pictures of a folder, or pass a sequence on; one picture alone is a list of one.

    Raises:
        DataLayoutError: the folder is missing or holds no picture.
        QueryError: the sequence holds something else, by its first element.
    """
    if isinstance(images, str | Path):
        file = Path(images).expanduser()
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file():
            return [images]
        found = list_images(images)
        if not found:
            raise DataLayoutError(
                f"{images} holds no picture. Looked in it and its subfolders for files ending in "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}. Name the folder that holds the pictures."
            )
        return found
    if isinstance(images, Image.Image):
        return [images]
    # A lazy sequence, such as an image column, stays one.
    sources = images if isinstance(images, Sequence) else list(images)
    if len(sources) and not isinstance(sources[0], str | Path | Image.Image):
        raise QueryError(
            f"Pictures are given as a {type(sources[0]).__name__}; expected paths or PIL pictures. "
            "Of a data set pass its image column (dataset['image']), of arrays "
            "[Image.fromarray(array) for array in arrays]."
        )
    return sources
