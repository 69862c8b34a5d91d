"""Plane geometry for the drawn scenes: signed distances, curves, points along a curve.

A signed distance is negative inside a shape, zero on its edge and positive outside, in metres.
All functions take coordinate arrays ``x, y`` of equal shape and return an array of that shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Array = np.ndarray
Point = tuple[float, float]


def box(x: Array, y: Array, half_length: float, half_width: float, corner: float = 0.0) -> Array:
    """Rectangle around the origin, long side along x, with rounded corners."""
    dx = np.abs(x) - (half_length - corner)
    dy = np.abs(y) - (half_width - corner)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - corner


def disc(x: Array, y: Array, radius: float) -> Array:
    """Disc around the origin."""
    return np.hypot(x, y) - radius


def ellipse(x: Array, y: Array, half_length: float, half_width: float) -> Array:
    """Ellipse around the origin (first-order distance, exact on the edge)."""
    k = np.hypot(x / half_length, y / half_width)
    return (k - 1) * min(half_length, half_width)


def capsule(x: Array, y: Array, start: Point, end: Point, radius: float) -> Array:
    """Segment of a given thickness with round ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    t = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
    return np.hypot(x - start[0] - t * dx, y - start[1] - t * dy) - radius


def convex(x: Array, y: Array, corners: Sequence[Point]) -> Array:
    """Convex polygon given by its corners in either order (exact on the edge)."""
    pairs = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs)
    turn = 1.0 if area > 0 else -1.0
    distance = np.full(np.shape(x), -1e9, dtype=np.float32)
    for a, b in pairs:
        dx, dy = b[0] - a[0], b[1] - a[1]
        edge = turn * ((x - a[0]) * dy - (y - a[1]) * dx) / (np.hypot(dx, dy) + 1e-9)
        distance = np.maximum(distance, edge)
    return distance


def union(*distances: Array) -> Array:
    """Union of shapes."""
    return np.minimum.reduce(distances)


@dataclass(frozen=True)
class Track:
    """Where each pixel lies with respect to a curve.

    Attributes:
        side: signed distance across the curve in metres, negative to its left.
        along: distance travelled along the curve in metres.
    """

    side: Array
    along: Array

    @property
    def distance(self) -> Array:
        """Unsigned distance from the curve in metres."""
        return np.abs(self.side)


def smooth_curve(knots: Sequence[Point], steps: int = 8) -> list[Point]:
    """Catmull-Rom curve through all knots, ``steps`` pieces between two of them."""
    points = np.asarray([knots[0], *knots, knots[-1]], dtype=float)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for p0, p1, p2, p3 in zip(points, points[1:], points[2:], points[3:], strict=False):
        pieces.append(
            0.5
            * (
                2 * p1
                + (p2 - p0) * t
                + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
                + (3 * p1 - p0 - 3 * p2 + p3) * t**3
            )
        )
    curve = np.concatenate([*pieces, points[-1:]])
    return [(float(u), float(v)) for u, v in curve]


def follow(x: Array, y: Array, curve: Sequence[Point]) -> Track:
    """Project every pixel on the nearest point of a polyline."""
    best = np.full(np.shape(x), 1e9, dtype=np.float32)
    side = best.copy()
    along = np.zeros_like(best)
    travelled = 0.0
    for (ax, ay), (bx, by) in pairwise(curve):
        length = float(np.hypot(bx - ax, by - ay)) + 1e-9
        tx, ty = (bx - ax) / length, (by - ay) / length
        t = np.clip((x - ax) * tx + (y - ay) * ty, 0, length)
        distance = np.hypot(x - ax - t * tx, y - ay - t * ty)
        closer = distance < best
        best = np.where(closer, distance, best)
        cross = (y - ay) * tx - (x - ax) * ty
        side = np.where(closer, np.where(cross < 0, -distance, distance), side)
        along = np.where(closer, travelled + t, along)
        travelled += length
    return Track(side, along)


def curve_length(curve: Sequence[Point]) -> float:
    """Length of a polyline in metres."""
    points = np.asarray(curve)
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def point_along(curve: Sequence[Point], travelled: float, side: float = 0.0) -> tuple[Point, float]:
    """Point and heading (radians) after a distance along a polyline, moved sideways by ``side``."""
    points = np.asarray(curve)
    steps = np.hypot(*np.diff(points, axis=0).T)
    ends = np.cumsum(steps)
    i = min(int(np.searchsorted(ends, travelled)), len(steps) - 1)
    tx, ty = (points[i + 1] - points[i]) / (steps[i] + 1e-9)
    rest = travelled - (ends[i] - steps[i])
    u, v = points[i, 0] + rest * tx - side * ty, points[i, 1] + rest * ty + side * tx
    return (float(u), float(v)), float(np.arctan2(ty, tx))
