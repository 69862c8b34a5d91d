"""What a ``metadata.jsonl`` says of the pictures beside it: the imagefolder layout, read once here.

It may also be ``metadata.csv``, ``.tsv`` or ``.parquet`` (see ``files.rows``). A row is one
picture, and rows of one picture are joined. Of its fields only ``file_name`` must be there:

- ``file_name`` (or another of ``NAME_COLUMNS``): relative to the file, with slashes of either kind;
- ``captions``, ``text`` or another of ``CAPTION_NAMES``, also numbered (``caption_1``): one
  sentence or a list of them, each a text or, as in Karpathy's files, an object with one (``raw``);
- ``category`` or ``class``: the kind of scene;
- ``bounding_box``: min_lon, min_lat, max_lon, max_lat in degrees;
- ``geotransform`` and ``crs``: where its pixels lie;
- ``objects``: ``bbox``, each left, top, width, height in pixels, and as many ``category``.

Whatever else is a text, a number or a truth value is metadata of the picture's own. A row that
cannot be read is refused, never passed over.
"""

import logging
import math
import os
import re
import reprlib
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.listing import lies_inside
from rsctir_hf.files.rows import TABLE_SUFFIXES, read_rows, row_error
from rsctir_hf.files.sentences import sound_captions

logger = logging.getLogger(__name__)

METADATA_FILE = "metadata.jsonl"  # what is written here; the first of those that are read
METADATA_FILES = tuple(f"metadata{suffix}" for suffix in TABLE_SUFFIXES)
_ANY_CASE = "".join(f"[{letter}{letter.upper()}]" for letter in "metadata")
#: What the same field is called; the first that says something is taken.
NAME_COLUMNS = ("file_name", "filename", "image_name", "filepath", "file_path", "image_path")
#: What holds a picture in tables of pictures, and its name in tables of text.
PICTURE_COLUMNS = ("image", "img", "picture", "path")
CAPTION_NAMES: tuple[str, ...] = ("captions", "caption", "sentences", "sentence", "text", "raw")
CAPTION_NAMES += ("title", "description", "descriptions")
CATEGORY_NAMES = ("category", "class")
_NAME, _BOX = NAME_COLUMNS[0], "bounding_box"
_OWN_NAMES = {*NAME_COLUMNS, _BOX, *CAPTION_NAMES} - {"title", "description"}  # may be no caption
_NUMBERED = re.compile(rf"({'|'.join(CAPTION_NAMES)})[ _]?\d+")
_PLAIN = str | int | float | bool
_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Columns:
    """Which columns hold what.

    Attributes:
        image: pictures or their names; None: the first of the usual names that is there.
        caption: sentences; None: likewise.
    """

    image: str | None = None
    caption: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What the column of names may be called."""
        return (self.image,) if self.image else (*NAME_COLUMNS, *PICTURE_COLUMNS)

    @property
    def captions(self) -> tuple[str, ...]:
        """What the column of captions may be called."""
        return (self.caption,) if self.caption else CAPTION_NAMES

    def caption_columns(self, columns: Iterable[str]) -> list[str]:
        """Return those that hold captions: the first of its names, and the numbered ones."""
        there = list(columns)
        first = next((name for name in self.captions if name in there), None)
        numbered = [] if self.caption else filter(_is_numbered, there)
        return [*([first] if first else []), *numbered]


USUAL = Columns()


@dataclass(frozen=True)
class BoxedObject:
    """One thing in a picture: its box (left, top, width, height) in pixels, and what it is."""

    box: tuple[float, float, float, float]
    category: str | int


@dataclass(frozen=True)
class PictureRow:
    """What one row says of one picture.

    Attributes:
        file_name: relative to the folder of the file.
        captions: its sentences without blank ones; None where the row has no field for them.
        blank: how many captions said nothing.
        category: the kind of scene.
        bounding_box: min_lon, min_lat, max_lon, max_lat in degrees.
        geotransform: six numbers in GDAL's order (x of the corner, x per column, x per row, y of
            the corner, y per column, y per row).
        crs: reference system of the geotransform.
        objects: what stands in it; None where the line has no such field.
        metadata: the other plain values by name, category and crs as they are written included.
        file: it was read from.
        number: of the line or row, from 1.
    """

    file_name: str = ""
    captions: tuple[str, ...] | None = None
    blank: int = 0
    category: str | None = None
    bounding_box: tuple[float, ...] | None = None
    geotransform: tuple[float, ...] | None = None
    crs: str | None = None
    objects: tuple[BoxedObject, ...] | None = None
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    file: Path = Path()
    number: int = 0

    @property
    def caption(self) -> str | None:
        """The first sentence, if there is one."""
        return self.captions[0] if self.captions else None

    def joined(self, other: "PictureRow") -> "PictureRow":
        """Return this row with what another one says of the same picture besides."""
        return replace(
            self,
            captions=_sum(self.captions, other.captions),
            blank=self.blank + other.blank,
            category=self.category or other.category,
            bounding_box=self.bounding_box or other.bounding_box,
            geotransform=self.geotransform or other.geotransform,
            crs=self.crs or other.crs,
            objects=_sum(self.objects, other.objects),
            metadata={**other.metadata, **self.metadata},
        )

    @property
    def path(self) -> Path:
        """Where the picture is.

        Raises:
            DataLayoutError: the name leads out of the folder.
        """
        folder = self.file.parent
        if not lies_inside(folder / self.file_name, folder):
            raise self.error(
                f"names a picture outside of it: {self.file_name!r}. Expected names of pictures in "
                "that folder"
            )
        return folder / self.file_name

    def centre(self, size: tuple[int, int]) -> tuple[float, float] | None:
        """Return x, y of the middle of a picture of ``size`` (W, H) in the units of ``crs``."""
        if self.geotransform is None:
            return None
        x0, dx, rx, y0, ry, dy = self.geotransform
        column, row = size[0] / 2, size[1] / 2
        return x0 + dx * column + rx * row, y0 + ry * column + dy * row

    def error(self, found: object) -> DataLayoutError:
        """Return the error that names this row and says what was found and expected there."""
        return row_error(self.file, self.number, found)


def metadata_file(folder: Path) -> Path | None:
    """Return the file that says what stands in the pictures of a folder; of several the first."""
    return next(iter(_metadata_files(folder)), None)


def _metadata_files(folder: Path) -> list[Path]:
    return [folder / name for name in METADATA_FILES if (folder / name).is_file()]


def metadata_folders(pattern: str, root: Path) -> list[Path]:
    """Return the folders below ``root`` with such a file, ``pattern`` deep: ``*`` or ``**``."""
    files = [*root.glob(f"{pattern}/{_ANY_CASE}.*")]
    unread = [file for file in files if file.name not in METADATA_FILES]
    if unread:
        logger.warning(
            "%s is not read: metadata of pictures are %s.", unread[0], ", ".join(METADATA_FILES)
        )
    return sorted({file.parent for file in files if file.name in METADATA_FILES})


def read_metadata(folder: Path) -> list[PictureRow]:
    """Read the ``metadata.jsonl``, ``.csv``, ``.tsv`` or ``.parquet`` of a folder.

    Raises:
        DataLayoutError: there is none, or a row is damaged.
    """
    file = chosen_metadata(folder)
    return _joined(file, read_rows(file, texts=(*USUAL.names, *USUAL.captions)), USUAL)


def chosen_metadata(folder: Path) -> Path:
    """Return the file of a folder that is read; others beside it have a line in the log.

    Raises:
        DataLayoutError: there is none.
    """
    found = _metadata_files(folder)
    if not found:
        raise DataLayoutError(
            f"{folder / METADATA_FILE} is missing. Expected pictures and one of "
            f"{', '.join(METADATA_FILES)} in {folder}."
        )
    file, *others = found
    if others:
        names = ", ".join(other.name for other in others)
        logger.warning("%s is read; %s beside it is not. Keep one.", file, names)
    return file


@dataclass(frozen=True)
class PictureTable:
    """A table of pictures: its file, a row a picture, and its columns as they are mentioned."""

    file: Path
    rows: list[PictureRow]
    fields: tuple[str, ...]


def read_table(file: Path, columns: Columns = USUAL, *, captioned: bool = True) -> PictureTable:
    """Read a table of captioned pictures; rows of one picture are joined.

    Args:
        file: JSON lines, a JSON list, CSV, TSV or Parquet.
        columns: which hold names and captions.
        captioned: captions must be there.

    Raises:
        DataLayoutError: a row is damaged, or there is no column of names or captions.
    """
    content = list(read_rows(file, texts=(*columns.names, *columns.captions)))
    objects = (row for _, row in content if isinstance(row, Mapping))
    fields = tuple(dict.fromkeys(chain.from_iterable(objects)))
    if content and not any(name in fields for name in columns.names):
        raise no_column(file, fields, "image", named=columns.image)
    if content and captioned and not columns.caption_columns(fields):
        raise no_column(file, fields, "caption", named=columns.caption)
    first = columns.caption_columns(fields)[:1]
    if file.suffix.lower() in TABLE_SUFFIXES[1:3]:  # where an empty cell is none
        content = [(number, {**dict.fromkeys(first, ""), **row}) for number, row in content]
    return PictureTable(file, _joined(file, content, columns), fields)


def _joined(file: Path, content: Iterable[tuple[int, Any]], columns: Columns) -> list[PictureRow]:
    pictures: dict[str, PictureRow] = {}
    for number, row in content:
        found = read_row(row, file=file, number=number, columns=columns)
        name = os.path.normpath(found.file_name)
        pictures[name] = pictures[name].joined(found) if name in pictures else found
    return list(pictures.values())


def no_column(
    source: object, columns: Iterable[str], what: str, *, named: str | None = None
) -> DataLayoutError:
    """Return the error of a table without a column of ``what``: the ``named`` or a usual one."""
    known: tuple[str, ...] = (*PICTURE_COLUMNS, *NAME_COLUMNS)
    more = ""
    if what == "caption":
        known, more = CAPTION_NAMES, " Captions of classes are made by --class_templates default."
    return DataLayoutError(
        f"{source} has the columns {', '.join(map(str, columns)) or '(none)'}. None of them is "
        f"known to hold the {what}s; expected {repr(named) if named else ', '.join(known)}. Say "
        f"which one does: --{what}_column NAME, or {what}_column= in Python.{more}"
    )


def read_metadata_below(folder: Path) -> dict[str, PictureRow]:
    """Read such files in a folder and its subfolders.

    Returns:
        Each row by the absolute path of its picture, which need not be there.

    Raises:
        DataLayoutError: a row is damaged.
    """
    return {
        os.path.abspath(row.file.parent / row.file_name): row
        for below in metadata_folders("**", folder)
        for row in read_metadata(below)
    }


def read_row(
    row: Any,  # noqa: ANN401
    *,
    file: Path = Path(),
    number: int = 0,
    columns: Columns = USUAL,
) -> PictureRow:
    """Read what one row of a table says of its picture.

    Args:
        row: whatever stands there.
        file: it stands in.
        number: of the line or row, from 1.
        columns: which of its fields hold name and captions.

    Raises:
        DataLayoutError: it is no object, or one of its fields is not as expected.
    """
    try:
        if not isinstance(row, Mapping):
            raise ValueError(f"is not an object: {reprlib.repr(row)}")
        crs = row.get("crs")
        name, said = _name_of(row, columns), _captions(row, columns)
        captions = None if said is None else caption_texts(said)
        own = {*_OWN_NAMES, name, columns.caption}
        return PictureRow(
            file_name=plain_name(row[name]),
            captions=captions,
            blank=len(said or ()) - len(captions or ()),
            category=_category(row),
            bounding_box=_numbers(row, _BOX, "min_lon, min_lat, max_lon, max_lat in degrees", 4),
            geotransform=_numbers(row, "geotransform", "six numbers in GDAL's order", 6),
            # A bare number is an EPSG code.
            crs=f"EPSG:{crs}" if isinstance(crs, int) else str(crs) if crs else None,
            objects=_objects(row.get("objects")),
            metadata={
                name: value
                for name, value in row.items()
                if name not in own and not _is_numbered(name) and _is_plain(value)
            },
            file=file,
            number=number,
        )
    except ValueError as error:
        raise row_error(file, number, error) from error


def _sum(first: tuple[Any, ...] | None, second: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    return second if first is None else first + (second or ())


def plain_name(name: str) -> str:
    """Return the name of a file with slashes, wherever it was written."""
    return name.replace("\\", "/")


def caption_texts(said: object) -> tuple[str, ...]:
    """Return the captions that a field holds: one or several, texts or objects with one.

    Raises:
        ValueError: it holds something else.
    """
    texts = [_sentence(each) for each in (said if isinstance(said, list) else [said])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"has captions that are no texts: {reprlib.repr(said)}")
    return sound_captions(map(str, texts))


def _sentence(said: object) -> object:
    """Return the text of an object such as ``{"raw": ..., "tokens": ...}``."""
    if not isinstance(said, Mapping):
        return said
    return next((said[name] for name in reversed(CAPTION_NAMES) if name in said), said)


def _name_of(row: Mapping[str, Any], columns: Columns) -> str:
    """Return which field names the picture."""
    name = next((name for name in columns.names if name in row), "")
    found = row.get(name)
    if not isinstance(found, str) or not found:
        raise ValueError(
            f"has {reprlib.repr(found)} as {name or _NAME}; expected the name of a picture. Its "
            f"fields: {', '.join(map(str, row))}"
        )
    return name


def _captions(row: Mapping[str, Any], columns: Columns) -> list[Any] | None:
    """Return all that the row says of the picture, blank texts included; None: no such field."""
    there = [row[name] for name in columns.captions if name in row]
    numbered = [] if columns.caption else [row[name] for name in row if _is_numbered(name)]
    if not there and not numbered:
        return None
    cells = [next(filter(None, there), ""), *numbered] if there else numbered
    texts = [each if isinstance(each, list) else [each or ""] for each in cells]
    return list(chain.from_iterable(texts))


def _is_numbered(name: object) -> bool:
    return bool(_NUMBERED.fullmatch(str(name)))


def _category(row: Mapping[str, Any]) -> str | None:
    found = next((row[name] for name in CATEGORY_NAMES if row.get(name) is not None), None)
    if not isinstance(found, _PLAIN | None):
        raise ValueError(f"has the category {reprlib.repr(found)}; expected a text or a number")
    return None if found is None else str(found)


def _numbers(
    row: Mapping[str, Any], name: str, meaning: str, count: int
) -> tuple[float, ...] | None:
    found = row.get(name)
    if found is None:
        return None
    if isinstance(found, str) and found.count(",") == count - 1:  # in a cell of CSV
        with suppress(ValueError):
            found = [float(each) for each in found.split(",")]
    if not _are_numbers(found, count):
        raise ValueError(f"has {reprlib.repr(found)} as {name}; expected {meaning}")
    return tuple(map(float, found))


def _objects(found: object) -> tuple[BoxedObject, ...] | None:
    if found is None:
        return None
    parts = found if isinstance(found, Mapping) else {}
    boxes, kinds = parts.get("bbox"), parts.get("category")
    if (
        not isinstance(boxes, list)
        or not isinstance(kinds, list)
        or len(boxes) != len(kinds)
        or not all(_are_numbers(box, 4) for box in boxes)
        or not all(isinstance(kind, str | int) for kind in kinds)
    ):
        raise ValueError(
            f"has {reprlib.repr(found)} as objects; expected an object with bbox (each left, top, "
            "width, height in pixels) and as many category (texts or whole numbers)"
        )
    return tuple(BoxedObject(tuple(box), kind) for box, kind in zip(boxes, kinds, strict=True))


def _are_numbers(found: object, count: int) -> bool:
    """Tell whether this is a list of so many finite numbers."""
    return (
        isinstance(found, list)
        and len(found) == count
        # math.isfinite takes no whole number beyond that limit
        and all(isinstance(each, int | float) and abs(each) <= _LARGEST for each in found)
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) and (not isinstance(value, float) or math.isfinite(value))
