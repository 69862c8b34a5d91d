"""Hits as tables: CSV for spreadsheets, JSON rows, and GeoParquet for GeoDataFrames and GIS."""

import csv
import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from rsctir_hf.collection.features import TakenHome, parts_of, rows_of
from rsctir_hf.files.atomic import replacing
from rsctir_hf.files.rows import FORMULA

_LITTLE_ENDIAN, _POLYGON, _MULTI_POLYGON = 1, 3, 6  # of well-known binary
_GEO_VERSION = "1.1.0"
_LARGEST_INTEGER = 2**63 - 1


def write_csv(taken: TakenHome, path: Path) -> None:
    """Write a row for each picture; the file appears whole or not at all.

    UTF-8 with a byte order mark, which spreadsheets need to see. A text that a spreadsheet would
    run as a formula has an apostrophe in front.

    Raises:
        StorageError: it cannot be written.
    """
    with replacing(path) as unfinished:
        unfinished.write_bytes(csv_text(rows_of(taken)).encode("utf-8-sig"))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; see ``write_csv``."""
    lines = list[str]()

    class _Lines:
        write = lines.append

    table = csv.writer(_Lines())
    table.writerow(map(_cell, rows[0]) if rows else ["file"])
    table.writerows([map(_cell, row.values()) for row in rows])
    return "".join(lines)


def write_json(taken: TakenHome, path: Path) -> None:
    """Write the same rows as JSON, with what they are of.

    Raises:
        StorageError: it cannot be written.
    """
    about = {"title": taken.title, "link": taken.link, **taken.made_by}
    with replacing(path) as unfinished:
        unfinished.write_text(
            json.dumps({**about, "hits": rows_of(taken)}, indent=1), encoding="utf-8"
        )


def write_geoparquet(taken: TakenHome, path: Path) -> None:
    """Write GeoParquet 1.1: what ``geopandas.read_parquet``, QGIS and DuckDB open.

    The geometry of a picture without a place is null. Vectors, where they are at hand, are a column
    ``embedding``.

    Raises:
        StorageError: it cannot be written.
    """
    rows = rows_of(taken)
    columns = {name: _column([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    columns.pop("bounding_box", None)  # the geometry says it
    columns.pop("geometry", None)
    if taken.vectors is not None:
        columns["embedding"] = _vectors(taken.vectors)
    geometries = [feature["geometry"] for feature in taken]
    wkb = [None if geometry is None else well_known_binary(geometry) for geometry in geometries]
    table = pa.table({**columns, "geometry": pa.array(wkb, pa.binary())})
    kinds = sorted({geometry["type"] for geometry in geometries if geometry})
    about = {"encoding": "WKB", "geometry_types": kinds, "orientation": "counterclockwise"}
    geo = {"version": _GEO_VERSION, "primary_column": "geometry", "columns": {"geometry": about}}
    said = {"geo": json.dumps(geo), "rsctir": json.dumps({**taken.made_by, "link": taken.link})}
    with replacing(path) as unfinished:
        pq.write_table(table.replace_schema_metadata(said), unfinished)


def well_known_binary(geometry: Mapping[str, Any]) -> bytes:
    """Return a Polygon or MultiPolygon of GeoJSON as ISO well-known binary."""
    polygons = [_polygon(rings) for rings in parts_of(geometry)]
    if geometry["type"] == "Polygon":
        return polygons[0]
    head = struct.pack("<BII", _LITTLE_ENDIAN, _MULTI_POLYGON, len(polygons))
    return head + b"".join(polygons)


def _polygon(rings: Sequence[Sequence[Sequence[float]]]) -> bytes:
    written = struct.pack("<BII", _LITTLE_ENDIAN, _POLYGON, len(rings))
    for ring in rings:
        flat = [float(number) for point in ring for number in point]
        written += struct.pack(f"<I{len(flat)}d", len(ring), *flat)
    return written


def _column(cells: Sequence[Any]) -> pa.Array:
    """Return values of one kind as they are; those of several as text."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {int} and all(abs(cell or 0) <= _LARGEST_INTEGER for cell in cells):
        return pa.array(cells, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    if kinds == {bool}:
        return pa.array(cells, pa.bool_())
    return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())


def _vectors(vectors: Tensor) -> pa.Array:
    """Return vectors (n, D) as lists of one length."""
    flat = pa.array(vectors.float().cpu().contiguous().numpy().reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False
