"""Boxes on the map as GeoJSON (RFC 7946): longitude before latitude, outer rings anticlockwise."""

from collections.abc import Sequence
from typing import Any

Point = tuple[float, float]  # longitude, latitude in degrees
Box = tuple[float, float, float, float]  # west, south, east, north in degrees

_DIGITS = 8  # a millimetre
_HALF, _WHOLE = 180.0, 360.0


def polygon(corners: Sequence[Point]) -> dict[str, Any]:
    """Return the geometry of a box; two polygons where it crosses the antimeridian (section 3.1.9).

    Args:
        corners: longitude and latitude in order around the box, either way.
    """
    ring = _anticlockwise(_unrolled(corners))
    parts = [part for part in (_cut(ring, keep_west=True), _cut(ring, keep_west=False)) if part]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": [_closed(parts[0])]}
    return {"type": "MultiPolygon", "coordinates": [[_closed(part)] for part in parts]}


def bounding_box(corners: Sequence[Point]) -> Box:
    """Return west, south, east, north; west is above east over the antimeridian (section 5.2).

    Only the corners are looked at: around a pole, where they lie at all longitudes and the pole is
    none of them, the box is wrong.
    """
    longitudes = [longitude for longitude, _ in _unrolled(corners)]
    latitudes = [latitude for _, latitude in corners]
    east = max(longitudes)
    east = east - _WHOLE if east > _HALF else east
    return min(longitudes), min(latitudes), east, max(latitudes)


def _unrolled(corners: Sequence[Point]) -> list[Point]:
    """Let longitudes run on beyond 180 degrees where the box crosses the antimeridian."""
    longitudes = [longitude for longitude, _ in corners]
    crosses = max(longitudes) - min(longitudes) > _HALF
    return [(x + _WHOLE if crosses and x < 0 else x, y) for x, y in corners]


def _anticlockwise(ring: list[Point]) -> list[Point]:
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    doubled_area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)
    return ring if doubled_area >= 0 else ring[::-1]


def _cut(ring: list[Point], *, keep_west: bool) -> list[Point]:
    """Return the part of a convex ring on one side of the antimeridian; empty if there is none."""
    sign = 1 if keep_west else -1
    kept: list[Point] = []
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        inside, next_inside = sign * (_HALF - x1) >= 0, sign * (_HALF - x2) >= 0
        kept += [(x1, y1)] if inside else []
        if inside != next_inside and _HALF not in (x1, x2):
            kept.append((_HALF, y1 + (y2 - y1) * (_HALF - x1) / (x2 - x1)))
    if not any(sign * (_HALF - x) > 0 for x, _ in kept):
        return []  # it only touches the antimeridian
    return kept if keep_west else [(x - _WHOLE, y) for x, y in kept]


def _closed(ring: list[Point]) -> list[list[float]]:
    rounded = [[round(x, _DIGITS), round(y, _DIGITS)] for x, y in ring]
    return [*rounded, rounded[0]]
