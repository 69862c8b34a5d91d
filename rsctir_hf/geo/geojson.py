"""Areas on the map as GeoJSON (RFC 7946): longitude before latitude, outer rings anticlockwise.

A ring is a list of points in longitude and latitude, around an area either way. From one to the
next it goes the shorter way around the earth: they are less than 180 degrees apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Point = tuple[float, float]  # longitude, latitude in degrees
Box = tuple[float, float, float, float]  # west, south, east, north in degrees

_DIGITS = 8  # a millimetre
_LEAST = 10**-_DIGITS  # degrees by which an area must reach over the antimeridian to be cut there
_HALF, _WHOLE = 180.0, 360.0


def polygon(ring: Sequence[Point] | NDArray[np.float64]) -> dict[str, Any]:
    """Return the geometry of an area; two polygons where it crosses the antimeridian (3.1.9)."""
    whole = _anticlockwise(_from_the_west(ring))
    parts = [part for part in (_cut(whole, keep_west=True), _cut(whole, keep_west=False)) if part]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": [_closed(parts[0])]}
    return {"type": "MultiPolygon", "coordinates": [[_closed(part)] for part in parts]}


def bounding_box(ring: Sequence[Point] | NDArray[np.float64]) -> Box:
    """Return west, south, east, north; west is above east over the antimeridian (section 5.2)."""
    longitudes, latitudes = zip(*_from_the_west(ring), strict=True)
    west, east = min(longitudes), max(longitudes)
    if east - west >= _WHOLE - _LEAST:
        west, east = -_HALF, _HALF
    elif east > _HALF:
        east = _HALF if east < _HALF + _LEAST else east - _WHOLE
    return west, min(latitudes), east, max(latitudes)


def unrolled(longitudes: ArrayLike) -> NDArray[np.float64]:
    """Let longitudes (n,) run on beyond 180 degrees, each the shorter way from the one before."""
    first, steps = np.asarray(longitudes, float)[:1], np.diff(longitudes)
    return np.concatenate([first, first + np.cumsum(steps - _WHOLE * np.round(steps / _WHOLE))])


def _from_the_west(ring: Sequence[Point] | NDArray[np.float64]) -> list[Point]:
    """Return a ring that begins in -180..180 in the west and runs on eastwards, at most once."""
    points = np.asarray(ring, float)
    longitudes = unrolled(points[:, 0])
    west = longitudes.min()
    turns = np.floor((west + _HALF) / _WHOLE) * _WHOLE
    eastwards = np.minimum(longitudes, west + _WHOLE) - turns
    return list(zip(eastwards.tolist(), points[:, 1].tolist(), strict=True))


def _anticlockwise(ring: list[Point]) -> list[Point]:
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    doubled_area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)
    return ring if doubled_area >= 0 else ring[::-1]


def _cut(ring: list[Point], *, keep_west: bool) -> list[Point]:
    """Return the part of a ring on one side of the antimeridian; empty if there is none."""
    sign = 1 if keep_west else -1
    kept: list[Point] = []
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        inside, next_inside = sign * (_HALF - x1) >= 0, sign * (_HALF - x2) >= 0
        kept += [(x1, y1)] if inside else []
        if inside != next_inside and _HALF not in (x1, x2):
            kept.append((_HALF, y1 + (y2 - y1) * (_HALF - x1) / (x2 - x1)))
    if not any(sign * (_HALF - x) > _LEAST for x, _ in kept):
        return []  # it only touches the antimeridian
    return kept if keep_west else [(x - _WHOLE, y) for x, y in kept]


def _closed(ring: list[Point]) -> list[list[float]]:
    rounded = [[round(x, _DIGITS), round(y, _DIGITS)] for x, y in ring]
    return [*rounded, rounded[0]]
