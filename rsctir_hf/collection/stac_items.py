"""Hits as a static STAC catalogue: a collection, an item for each, and their vectors.

STAC 1.0.0; where vectors are at hand, with the embeddings extension 0.0.1 (``emb:`` fields, a
proposal of geo-embeddings/embeddings-stac-specification): ``emb:type`` chip, an asset
``embeddings`` in GeoParquet, and links to model and source.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsctir_hf.collection.features import (
    Feature,
    TakenHome,
    box_of,
    file_name_of,
    file_of,
    is_tile,
)
from rsctir_hf.collection.table_files import write_geoparquet
from rsctir_hf.errors import QueryError
from rsctir_hf.files.atomic import new_folder
from rsctir_hf.files.names import as_text
from rsctir_hf.search.facets import DATE_COLUMNS
from rsctir_hf.vector_index.conditions import date_digits

VERSION = "1.0.0"
EMBEDDINGS = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
CATALOGUE, VECTORS = "collection.json", "embeddings.parquet"
_EARLIEST = "1850-01-01T00:00:00Z"  # no picture from above is older (Nadar's first is of 1858)
_FIRST = "00000101000000"  # month and day begin at 1
_OWN = ("properties", "geometry", "links", "assets", "id", "type", "datetime")
_PARQUET = "application/vnd.apache.parquet"


def write_stac(taken: TakenHome, folder: Path) -> None:
    """Write a folder: ``collection.json``, ``items/*.json`` and, of vectors, a GeoParquet file.

    The time of a picture is that of its metadata (``facets.DATE_COLUMNS``); where those say
    nothing, it lies between the first photograph from the air and now.

    Raises:
        QueryError: there is no picture, or none has a place on earth.
        OutputExistsError, StorageError: see ``files.atomic.new_folder``.
    """
    boxes = [box_of(feature) for feature in taken]
    known = [box for box in boxes if box is not None]
    if not known:
        raise QueryError(
            f"None of the {len(taken)} pictures has a place on earth, which a STAC collection "
            "needs. Write CSV, HTML or ZIP instead."
        )
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    items = [_item(number, feature, taken, now) for number, feature in enumerate(taken, start=1)]
    with new_folder(folder) as partial:
        (partial / "items").mkdir()
        for item in items:
            _write(partial / "items" / f"{item['id']}.json", item)
        _write(partial / CATALOGUE, _collection(taken, items, now))
        if taken.vectors is not None:
            write_geoparquet(taken, partial / VECTORS)


def _collection(taken: TakenHome, items: list[dict[str, Any]], now: str) -> dict[str, Any]:
    boxes = [item["bbox"] for item in items if "bbox" in item]
    over = any(box[0] > box[2] for box in boxes)  # then all around the earth
    west = -180.0 if over else min(box[0] for box in boxes)
    east = 180.0 if over else max(box[2] for box in boxes)
    whole = [west, min(box[1] for box in boxes), east, max(box[3] for box in boxes)]
    links = [_link("root", f"./{CATALOGUE}")]
    links += [_link("item", f"./items/{item['id']}.json", "application/geo+json") for item in items]
    said: dict[str, Any] = {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [EMBEDDINGS] if taken.vectors is not None else [],
        "id": _plain(taken.title) or "hits",
        "title": taken.title or "Hits",
        "description": f"{len(items)} pictures found by rsctir_hf. {taken.link}".strip(),
        "license": "other",
        "extent": {
            "spatial": {"bbox": [whole]},
            "temporal": {"interval": [[_EARLIEST, now]]},
        },
        "links": links,
    }
    if taken.vectors is not None:
        said |= {
            "emb:type": "chip",
            "emb:dimensions": taken.vectors.shape[1],
            "data_type": "float32",
            "emb:fit_for_use": ["retrieval"],
            "assets": {"embeddings": _asset(f"./{VECTORS}", _PARQUET)},
        }
        said["links"] += [
            _link("emb:model", str(taken.made_by.get("model") or "unknown"), None),
            _link("emb:source-data", str(taken.made_by.get("index") or "unknown"), None),
        ]
    return said


def _item(number: int, feature: Feature, taken: TakenHome, now: str) -> dict[str, Any]:
    """Return the item of one picture; vectors stand in the row of its number."""
    said = feature["properties"]
    more = {f"rsctir:{name}": value for name, value in said.items() if value not in (None, "")}
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [EMBEDDINGS] if taken.vectors is not None else [],
        "id": f"{number:04}-{_plain(Path(file_name_of(feature)).stem)}",
        "geometry": feature["geometry"],
        "properties": {**_time(said, now), **more},
        "links": [
            _link("root", f"../{CATALOGUE}"),
            _link("parent", f"../{CATALOGUE}"),
            _link("collection", f"../{CATALOGUE}"),
        ],
        "assets": {"image": _asset(as_text(file_of(feature)), None)},
        "collection": _plain(taken.title) or "hits",
    }
    box = box_of(feature)
    if box is not None:
        item["bbox"] = list(box)
    if taken.vectors is not None:
        item["assets"]["embeddings"] = _asset(f"../{VECTORS}", _PARQUET)
        item["properties"]["emb:runtime_parameters"] = {**taken.made_by, "row": number - 1}
        if is_tile(feature):
            left, top, right, bottom = said["pixels"]
            parameters = item["properties"]["emb:runtime_parameters"]
            parameters |= {"window": [left, top, right - left, bottom - top]}
        item["links"].append(_link("emb:source-data", as_text(file_of(feature)), None))
    return item


def _time(said: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return when a picture was taken, as STAC says it: a moment, or that nobody knows."""
    by_name = {name.lower(): value for name, value in said.items()}
    for name in DATE_COLUMNS:
        digits = date_digits(by_name.get(name) or "")
        if digits:
            filled = digits + _FIRST[len(digits) :]
            try:
                return {"datetime": f"{datetime.strptime(filled, '%Y%m%d%H%M%S').isoformat()}Z"}
            except ValueError:  # no such day
                continue
    return {"datetime": None, "start_datetime": _EARLIEST, "end_datetime": now}


def _link(rel: str, href: str, kind: str | None = "application/json") -> dict[str, str]:
    return {"rel": rel, "href": href, **({"type": kind} if kind else {})}


def _asset(href: str, kind: str | None) -> dict[str, Any]:
    return {"href": href, **({"type": kind} if kind else {}), "roles": ["data"]}


def _plain(text: str) -> str:
    """Return a text as an id that is a file name everywhere."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:60]


def _write(file: Path, said: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(said, indent=1), encoding="utf-8")
