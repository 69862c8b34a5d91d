"""Hits as a ZIP of their pictures, with a table that says what is known of each.

Unpacked, it is a folder as ``rsctir index --images`` takes it: ``metadata.csv`` names each picture
with its caption, its place and its metadata.
"""

import io
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from rsctir_hf.collection.features import (
    Feature,
    TakenHome,
    file_name_of,
    file_of,
    is_there,
    is_tile,
    picture_of,
    rows_of,
)
from rsctir_hf.collection.table_files import csv_text
from rsctir_hf.errors import RsctirError, StorageError
from rsctir_hf.files.atomic import replacing
from rsctir_hf.files.names import as_text
from rsctir_hf.geo.addresses import read_tile_address

TABLE, MISSING = "metadata.csv", "missing.csv"
_UNFIT = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')  # for a name on some system
_LONGEST = 100  # characters of a name
_RESERVED = 4_000_000  # bytes for table and directory
_BYTES_A_PIXEL = 3  # of a tile, at most


def write_zip(taken: TakenHome, path: Path) -> None:
    """Write pictures and table; the file appears whole or not at all.

    A picture's file goes in byte for byte, a tile of a raster as PNG. Names are numbered, so that
    no two are alike. What is gone or unreadable stays out and is listed in ``missing.csv``.

    Raises:
        StorageError: it cannot be written, or would not fit.
    """
    check_room(taken, path)
    held: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    with (
        replacing(path) as unfinished,
        zipfile.ZipFile(unfinished, "w", allowZip64=True) as archive,
    ):
        for number, (feature, row) in enumerate(zip(taken, rows_of(taken), strict=True), start=1):
            name = _name(number, feature)
            try:
                _put(archive, name, feature)
                held.append({"file_name": name, **row})
            except (RsctirError, FileNotFoundError, PermissionError) as error:
                missing.append({"missing": taken.shortened(str(error)), **row})
        for table, rows in ((TABLE, held), (MISSING, missing)):
            if rows or table == TABLE:
                text = csv_text(rows).encode("utf-8-sig")
                archive.writestr(table, text, zipfile.ZIP_DEFLATED)


def check_room(taken: TakenHome, path: Path) -> None:
    """Raise ``StorageError`` where an archive of these pictures would not fit on the disk."""
    needed = _RESERVED + sum(_size(feature) for feature in taken)
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(nearest).free
    if needed > free:
        raise StorageError(
            f"{path} would hold about {needed / 1e6:,.0f} MB of pictures and {nearest} has "
            f"{free / 1e6:,.0f} MB left. Make room, choose another folder, or take fewer pictures "
            "(--top-k)."
        )


def _size(feature: Feature) -> int:
    tile = read_tile_address(file_of(feature)) or read_tile_address(
        str(feature["properties"].get("tile") or "")
    )
    if tile is not None:
        return tile.size[0] * tile.size[1] * _BYTES_A_PIXEL
    return os.path.getsize(file_of(feature)) if is_there(feature) else 0


def _put(archive: zipfile.ZipFile, name: str, feature: Feature) -> None:
    if not is_there(feature):
        raise FileNotFoundError(f"{file_of(feature)} is gone")
    if not is_tile(feature):
        info = zipfile.ZipInfo.from_file(file_of(feature), name, strict_timestamps=False)
        with open(file_of(feature), "rb") as source, archive.open(info, "w") as target:
            shutil.copyfileobj(source, target)  # stored: pictures are compressed already
        return
    buffer = io.BytesIO()
    picture_of(feature).save(buffer, format="PNG")
    archive.writestr(name, buffer.getvalue())


def _name(number: int, feature: Feature) -> str:
    """Return a name that is short, fits every system, and stands for this picture alone."""
    given = Path(as_text(file_name_of(feature)))
    suffix = ".png" if is_tile(feature) else _UNFIT.sub("_", given.suffix)
    return f"{number:04}_{_UNFIT.sub('_', given.stem)[:_LONGEST]}{suffix}"
