"""What a visitor has marked and collected, and where the pictures of a gallery lie."""

from collections.abc import Mapping, Sequence
from typing import Any

from rsctir_hf.collection.collected import Collection
from rsctir_hf.collection.features import key_of
from rsctir_hf.ui.server.messages import counted
from rsctir_hf.ui.views.cards import ACTS, escape
from rsctir_hf.vector_index.contract import BoundingBox

_WIDE, _HIGH = 640, 320  # of the map, in its own units
_MARGIN = 0.05
MOST_PLACES = 2000  # dots on the map


def marks_strip(kinds: Mapping[str, bool], names: Mapping[str, str], collection: Collection) -> str:
    """Return the marks as buttons that take them back; ``app.js`` shows both on the cards.

    Args:
        kinds: by path whether a picture is good.
        names: of the pictures of the gallery, by path.
        collection: what is collected.
    """
    chips = "".join(
        _chip(item, names.get(path, path.rpartition("/")[2]), "good" if good else "bad")
        for item, (path, good) in enumerate(kinds.items())
    )
    kept = "".join(
        f'<i hidden data-of="{escape(names.get(path, path))}" data-kind="keep"></i>'
        for path in map(key_of, collection.features)
    )
    good = sum(kinds.values())
    said = f"{good} good, {len(kinds) - good} bad. Press one to take it back."
    note = f'<p class="rs-note" role="status">{said}</p>' if kinds else ""
    return f'{note}<div class="rs-saveds">{chips}</div>{kept}'


def _chip(item: int, name: str, kind: str) -> str:
    name = escape(name)
    return (
        f'<button type="button" class="rs-saved rs-mark-{kind}" data-item="{item}" '
        f'data-of="{name}" data-kind="{kind}" aria-label="{kind}: {name}, take back">'
        f'<span aria-hidden="true">{ACTS[kind][0]}</span> {name}</button>'
    )


def collected_rows(collection: Collection, names: Mapping[str, str]) -> list[list[Any]]:
    """Return a row for each collected picture: its name, score and note."""
    return [
        [
            names.get(key_of(feature), feature["properties"]["file"]),
            round(feature["properties"].get("score") or 0, 3),
            feature["properties"].get("note") or "",
        ]
        for feature in collection.features
    ]


def collected_words(collection: Collection) -> str:
    """Say how many pictures a collection has."""
    return f"{counted(len(collection), 'picture')} collected."


def place_map(boxes: Sequence[BoundingBox], chosen: BoundingBox | None, *, made_up: str) -> str:
    """Draw where pictures lie, as dots, and the box that is asked for; ``app.js`` draws another.

    West is left and north is up, longitudes and latitudes at one scale each.
    """
    if not boxes:
        return '<p class="rs-note">These pictures do not say where on the Earth they lie.</p>'
    west, south = min(box.min_x for box in boxes), min(box.min_y for box in boxes)
    east, north = max(box.max_x for box in boxes), max(box.max_y for box in boxes)
    across, up = max(east - west, 1e-4) * _MARGIN, max(north - south, 1e-4) * _MARGIN
    bounds = (
        max(west - across, -180),
        max(south - up, -90),
        min(east + across, 180),
        min(north + up, 90),
    )
    dots = "".join(
        '<circle cx="{:.1f}" cy="{:.1f}" r="4"/>'.format(
            *_at((box.min_x + box.max_x) / 2, (box.min_y + box.max_y) / 2, bounds)
        )
        for box in boxes[:MOST_PLACES]
    )
    drawn = "".join(_rectangle(part, bounds) for part in (chosen.parts if chosen else ()))
    said = f"Where the pictures lie{made_up}: drag a box over those that you want"
    corners = ",".join(f"{each:.9g}" for each in bounds)
    return (
        f'<p class="rs-note">{escape(said)}. {_degrees(bounds)}</p>'
        f'<svg class="rs-places" viewBox="0 0 {_WIDE} {_HIGH}" data-bounds="{corners}" role="img" '
        f'aria-label="{escape(said)}">{dots}<g>{drawn}</g></svg>'
    )


def _at(x: float, y: float, bounds: Sequence[float]) -> tuple[float, float]:
    west, south, east, north = bounds
    return (x - west) / (east - west) * _WIDE, (north - y) / (north - south) * _HIGH


def _rectangle(box: BoundingBox, bounds: Sequence[float]) -> str:
    left, top = _at(box.min_x, box.max_y, bounds)
    right, bottom = _at(box.max_x, box.min_y, bounds)
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - top:.1f}"/>'
    )


def _degrees(bounds: Sequence[float]) -> str:
    west, south, east, north = bounds
    return f"Longitudes {west:.4g} to {east:.4g}, latitudes {south:.4g} to {north:.4g} degrees."
