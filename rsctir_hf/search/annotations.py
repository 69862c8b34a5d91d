"""What the ``metadata.jsonl`` files beside pictures say of them, as a gallery keeps it."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import QueryError
from rsctir_hf.files.metadata import PictureRow, read_metadata_below
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.vector_index.contract import BoundingBox

logger = logging.getLogger(__name__)


def read_annotations(folder: Path, pictures: Sequence[PictureSource]) -> PictureNotes:
    """Read first caption, metadata and place of pictures (see ``files.metadata``).

    Args:
        folder: of the pictures; its subfolders are read too.
        pictures: n files; nothing is known about those that no line names.

    Raises:
        DataLayoutError: a line is damaged.
    """
    rows = read_metadata_below(folder)
    _tell_of_missing([row for path, row in rows.items() if not os.path.exists(path)])
    boxes = {path: _box(row) for path, row in rows.items()}
    paths = [os.path.abspath(str(picture)) for picture in pictures]
    found = [rows.get(path, PictureRow()) for path in paths]
    return PictureNotes(
        [row.caption for row in found],
        [row.metadata for row in found],
        [boxes.get(path) for path in paths],
    )


def _tell_of_missing(rows: Sequence[PictureRow]) -> None:
    if rows:
        logger.warning(
            "%d rows of %s name pictures that are not there, such as %r. Check folders and the "
            "case of letters.",
            len(rows), rows[0].file, rows[0].file_name,
        )  # fmt: skip


def _box(row: PictureRow) -> BoundingBox | None:
    try:
        return None if row.bounding_box is None else BoundingBox(*row.bounding_box).of_entry
    except QueryError as error:
        raise row.error(f"has no place on the Earth: {str(error).rstrip('.')}") from error
