"""What a ``metadata.jsonl`` says of the pictures beside it: the imagefolder layout, read once here.

A line is one picture, as a JSON object. Of its fields only ``file_name`` must be there:

- ``file_name``: relative to the file, with slashes of either kind;
- ``captions``, ``caption``, ``sentences`` or ``text``: one sentence or a list of them;
- ``category`` or ``class``: the kind of scene;
- ``bounding_box``: min_lon, min_lat, max_lon, max_lat in degrees;
- ``geotransform`` and ``crs``: where its pixels lie;
- ``objects``: ``bbox``, each left, top, width, height in pixels, and as many ``category``.

Whatever else is a text, a number or a truth value is metadata of the picture's own. A line that
cannot be read is refused, never passed over.
"""

import math
import os
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.files.pictures import lies_inside
from rsctir_hf.files.sentences import sound_captions

METADATA_FILE = "metadata.jsonl"
#: What the same field is called; the first that says something is taken.
CAPTION_NAMES = ("captions", "caption", "sentences", "text")
CATEGORY_NAMES = ("category", "class")
_NAME, _BOX = "file_name", "bounding_box"
_OWN_NAMES = {_NAME, _BOX, *CAPTION_NAMES}
_PLAIN = str | int | float | bool
_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class BoxedObject:
    """One thing in a picture: its box (left, top, width, height) in pixels, and what it is."""

    box: tuple[float, float, float, float]
    category: str | int


@dataclass(frozen=True)
class PictureRow:
    """What one line says of one picture.

    Attributes:
        file_name: relative to the folder of the file.
        captions: its sentences without blank ones; None where the line has no field for them.
        category: the kind of scene.
        bounding_box: min_lon, min_lat, max_lon, max_lat in degrees.
        geotransform: six numbers in GDAL's order (x of the corner, x per column, x per row, y of
            the corner, y per column, y per row).
        crs: reference system of the geotransform.
        objects: what stands in it; None where the line has no such field.
        metadata: the other plain values by name, category and crs as they are written included.
        file: it was read from.
        number: of the line, from 1.
    """

    file_name: str = ""
    captions: tuple[str, ...] | None = None
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
        """Return the error that names this line and says what was found and expected there."""
        return _line_error(self.file, self.number, found)


def read_metadata(folder: Path) -> list[PictureRow]:
    """Read the ``metadata.jsonl`` of a folder.

    Raises:
        DataLayoutError: there is none, or a line is damaged.
    """
    file = folder / METADATA_FILE
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise DataLayoutError(
            f"{file} is missing. Expected pictures and {METADATA_FILE} in {folder}."
        ) from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise _line_error(file, number, f"is not UTF-8 text ({error.reason})") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise _line_error(file, number, f"is not JSON ({error})") from error
        rows.append(read_row(row, file=file, number=number))
    return rows


def read_metadata_below(folder: Path) -> dict[str, PictureRow]:
    """Read every ``metadata.jsonl`` in a folder and its subfolders.

    Returns:
        Each row by the absolute path of its picture, which need not be there.

    Raises:
        DataLayoutError: a line is damaged.
    """
    return {
        os.path.abspath(file.parent / row.file_name): row
        for file in sorted(folder.rglob(METADATA_FILE))
        for row in read_metadata(file.parent)
    }


def read_row(row: Any, *, file: Path = Path(), number: int = 0) -> PictureRow:  # noqa: ANN401
    """Read what one line, or a row of a table with the same columns, says of its picture.

    Args:
        row: whatever the JSON held.
        file: it stands in.
        number: of the line, from 1.

    Raises:
        DataLayoutError: it is no object, or one of its fields is not as expected.
    """
    try:
        if not isinstance(row, Mapping):
            raise ValueError(f"is not an object: {reprlib.repr(row)}")
        crs = row.get("crs")
        return PictureRow(
            file_name=_file_name(row.get(_NAME)),
            captions=_captions(row),
            category=_category(row),
            bounding_box=_numbers(row, _BOX, "min_lon, min_lat, max_lon, max_lat in degrees", 4),
            geotransform=_numbers(row, "geotransform", "six numbers in GDAL's order", 6),
            # A bare number is an EPSG code.
            crs=f"EPSG:{crs}" if isinstance(crs, int) else str(crs) if crs else None,
            objects=_objects(row.get("objects")),
            metadata={
                name: value
                for name, value in row.items()
                if name not in _OWN_NAMES and _is_plain(value)
            },
            file=file,
            number=number,
        )
    except ValueError as error:
        raise _line_error(file, number, error) from error


def _line_error(file: Path, number: int, found: object) -> DataLayoutError:
    return DataLayoutError(
        f'Line {number} of {file} {found}. A line is one object, such as {{"{_NAME}": "a.jpg", '
        '"captions": ["a pier"]}. Mend it, or take it out.'
    )


def _file_name(found: object) -> str:
    if not isinstance(found, str) or not found:
        raise ValueError(f"has {reprlib.repr(found)} as {_NAME}; expected the name of a picture")
    return found.replace("\\", "/")


def _captions(row: Mapping[str, Any]) -> tuple[str, ...] | None:
    said = next((row[name] for name in CAPTION_NAMES if row.get(name)), None)
    if said is None:
        return None
    texts = [said] if isinstance(said, str) else said
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"has captions that are no texts: {reprlib.repr(said)}")
    return sound_captions(texts)


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
