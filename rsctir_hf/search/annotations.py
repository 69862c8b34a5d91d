"""What the ``metadata.jsonl`` files beside pictures say of them, as a gallery keeps it."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.files.capture import DATE, SENSOR, read_capture
from rsctir_hf.files.metadata import PictureRow, read_metadata_below
from rsctir_hf.search.facets import DATE_COLUMNS
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.vector_index.contract import BoundingBox

logger = logging.getLogger(__name__)

_SENSORS = ("sensor", "camera", "satellite", "platform", "instrument")


def read_annotations(folder: Path, pictures: Sequence[PictureSource]) -> PictureNotes:
    """Read first caption, metadata and place of pictures (see ``files.metadata``).

    Where no line has a column of dates, or of sensors, the files' own word counts
    (``files.capture``).

    Args:
        folder: of the pictures; its subfolders are read too.
        pictures: n files; nothing is known about those that no line names.

    Raises:
        DataLayoutError: a line is damaged.
    """
    rows = read_metadata_below(folder)
    _tell_of_missing([row for path, row in rows.items() if not os.path.exists(path)])
    return notes_of_rows(rows, pictures)


def notes_of_rows(
    rows: Mapping[str, PictureRow], pictures: Sequence[PictureSource], *, lenient: bool = False
) -> PictureNotes:
    """Return what rows, by path, say of pictures; see ``read_annotations``.

    ``lenient``: a place that is none is left out, with a line in the log.
    """
    boxes = _boxes(rows, lenient=lenient)
    paths = [os.path.abspath(str(picture)) for picture in pictures]
    found = [rows.get(path, PictureRow()) for path in paths]
    columns = {name.lower() for row in rows.values() for name in row.metadata}
    unsaid = [DATE] * columns.isdisjoint(DATE_COLUMNS) + [SENSOR] * columns.isdisjoint(_SENSORS)
    return PictureNotes(
        [row.caption for row in found],
        [
            {**_captured(path, unsaid), **row.metadata}
            for path, row in zip(paths, found, strict=True)
        ],
        [boxes.get(path) for path in paths],
    )


def _captured(path: str, names: Sequence[str]) -> dict[str, str]:
    """Return what a picture's own file says under some names."""
    said = read_capture(path) if names else {}
    return {name: said[name] for name in names if name in said}


def _tell_of_missing(rows: Sequence[PictureRow]) -> None:
    if rows:
        logger.warning(
            "%d rows of %s name pictures that are not there, such as %r. Check folders and the "
            "case of letters.",
            len(rows), rows[0].file, rows[0].file_name,
        )  # fmt: skip


def _boxes(rows: Mapping[str, PictureRow], *, lenient: bool) -> dict[str, BoundingBox | None]:
    found, refused = dict[str, BoundingBox | None](), list[DataLayoutError]()
    for path, row in rows.items():
        try:
            found[path] = _box(row)
        except DataLayoutError as error:
            if not lenient:
                raise
            refused.append(error)
    if refused:
        logger.warning("%d places are left out, such as: %s", len(refused), refused[0])
    return found


def _box(row: PictureRow) -> BoundingBox | None:
    try:
        return None if row.bounding_box is None else BoundingBox(*row.bounding_box).of_entry
    except QueryError as error:
        raise row.error(f"has no place on the Earth: {str(error).rstrip('.')}") from error
