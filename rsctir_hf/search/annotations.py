"""What a ``metadata.jsonl`` beside the pictures says of them, as an imagefolder has it.

A line is one picture: ``file_name``, relative to the file; ``caption`` or the first of
``captions``; ``bounding_box`` with min_lon, min_lat, max_lon, max_lat in degrees; and any further
text, number or truth value, which becomes metadata that searches can filter by. Anything else is
passed over.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.vector_index.contract import BoundingBox, Scalar

ANNOTATIONS_FILE = "metadata.jsonl"
_NAME, _BOX = "file_name", "bounding_box"
_CAPTION, _CAPTIONS = "caption", "captions"
_OWN_KEYS = {_NAME, _BOX, _CAPTION, _CAPTIONS}


def read_annotations(folder: Path, pictures: Sequence[PictureSource]) -> PictureNotes:
    """Read what is said of pictures by every ``metadata.jsonl`` in a folder and its subfolders.

    Args:
        folder: of the pictures.
        pictures: n files; nothing is known about those that no line names.

    Raises:
        DataLayoutError: a line is damaged.
    """
    rows: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.rglob(ANNOTATIONS_FILE)):
        for number, row in _lines(file):
            try:
                rows[os.path.abspath(file.parent / row[_NAME])] = _known(row)
            except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
                raise DataLayoutError(
                    f"Line {number} of {file} is not understood ({error!r}). Expected an object "
                    f"with {_NAME!r} and, if at all, {_BOX!r} as four degrees."
                ) from error
    found = [rows.get(os.path.abspath(str(picture)), {}) for picture in pictures]
    return PictureNotes(
        [row.get("caption") for row in found],
        [row.get("metadata", {}) for row in found],
        [row.get("box") for row in found],
    )


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and content of every line that is not empty."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataLayoutError(f"{file} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, parse_json(line)
            except ValueError as error:
                raise DataLayoutError(f"Line {number} of {file} is no JSON ({error}).") from error


def _known(row: dict[str, Any]) -> dict[str, Any]:
    """Return caption, metadata and box of one line."""
    corners, captions = row.get(_BOX), row.get(_CAPTIONS) or [None]
    caption = row.get(_CAPTION) or (captions if isinstance(captions, str) else captions[0])
    if not isinstance(caption, str | None):
        raise TypeError(f"the caption {caption!r} is no text")
    more = {
        name: value for name, value in row.items() if name not in _OWN_KEYS and _is_plain(value)
    }
    return {
        "caption": caption,
        "metadata": more,
        "box": None if corners is None else BoundingBox(*map(float, corners)),
    }


def _is_plain(value: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    return isinstance(value, Scalar) and (not isinstance(value, float) or math.isfinite(value))
