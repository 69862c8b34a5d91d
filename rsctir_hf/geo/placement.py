"""Where a raster lies on the earth: longitudes and latitudes, and metres a pixel.

A raster is placed by its transform and reference system, else by its ground control points, else by
the rational polynomials (RPCs) of its camera, at the mean height that these name.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.errors import QueryError
from rsctir_hf.geo.gdal import name_of, prj_beside, require_rasterio
from rsctir_hf.geo.geojson import unrolled
from rsctir_hf.geo.tiling import Transform, Window, map_points

DEGREES = "EPSG:4326"
Points = NDArray[np.float64]  # (n, 2)

_POLE = 90.0  # degrees of latitude
_AT_POLE = 1e-7  # degrees from the pole within which a longitude says nothing
_STEP = 50  # pixels either side of the centre over which the ground sample distance is measured
_EDGE = 16  # points along a side of a window that is no straight line on the map
_SMALL = 1.0  # degrees that a window with straight sides may span: they are off by 0.2 % of it
_FEWEST_POINTS = 3  # that fix shift, scale and turn
_MOST_POINTS = 1000  # of a spline, which takes the cube of them
_RISE = 100.0  # metres of height that the error of RPCs is stated for
_EQUATOR, _FLATTENING = 6_378_137.0, 1 / 298.257223563  # WGS 84, metres

_NOWHERE = "This raster has no coordinates that could be put on a map: places are given in pixels."
_NO_CRS = (
    "This raster has coordinates but does not say in which reference system: places are given in "
    "them and in pixels. Name it to put the raster on a map: rsctir scene --crs EPSG:32632."
)
_OFF_EARTH = (
    "This raster has no coordinates that could be put on a map: those in the file lie nowhere on "
    "earth. Places are given in them and in pixels. If the reference system is wrong, name the "
    "right one: rsctir scene --crs EPSG:32632."
)
_GEOLOCATION = (
    "Arrays of longitudes and latitudes place this raster, which are not read here: places are "
    "given in pixels. Warp it first: gdalwarp -geoloc {} OUT.tif."
)
_POINTS_FAIL = (
    "{} ground control points do not place this raster ({}): places are given in pixels. Three or "
    "more are needed that do not lie on a line."
)
_BY_POINTS = "Placed by {} ground control points: {}."
_BY_RPCS = (
    "Placed by its RPCs at a height of {:.0f} m: places are off by {:.0f} m for every {:.0f} m "
    "that the ground is higher or lower. For exact ones warp it with a model of heights: gdalwarp "
    "-rpc -to RPC_DEM=HEIGHTS.tif {} OUT.tif."
)


@dataclass(frozen=True)
class Place:
    """Where a raster lies.

    Attributes:
        transform: from pixels to coordinates; None where points, RPCs or nothing place it.
        crs: WKT of the system of these coordinates or of the points; None where nobody says.
        points: rasterio's ground control points that place it.
        spline: a thin plate spline leads through the points; else a polynomial passes near them.
        rpcs: rasterio's rational polynomials that place it.
        height: of the ground in metres that ``rpcs`` are taken at.
        on_earth: whether its pixels have longitudes and latitudes.
        gsd: metres a pixel on the ground, across and down, at the centre; None where unknown.
        notes: what a user should know of it.
    """

    transform: Transform | None = None
    crs: str | None = None
    points: tuple[Any, ...] = ()
    spline: bool = False
    rpcs: Any = None
    height: float = 0.0
    on_earth: bool = False
    gsd: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def stated(self) -> bool:
        """Whether the raster has coordinates, on earth or not."""
        return self.transform is not None or bool(self.points) or self.rpcs is not None

    def to_map(self, pixels: Points) -> Points:
        """Return coordinates (n, 2), if any are stated, of columns and rows (n, 2)."""
        if self.transform is not None:
            return map_points(pixels, self.transform)
        columns, rows = pixels.T.tolist()
        return np.stack(self._transformer.xy(rows, columns, offset="ul"), axis=1)

    def to_lonlat(self, pixels: Points) -> Points | None:
        """Return longitude and latitude (n, 2) in EPSG:4326 of columns and rows (n, 2).

        None where the raster has no place on earth, or these points have none.
        """
        if not self.on_earth or self.crs is None:
            return None
        found = self.to_map(pixels)
        if self._in_degrees:  # what reaches beyond a pole ends at it
            found = np.stack([found[:, 0], np.clip(found[:, 1], -_POLE, _POLE)], axis=1)
        places = lonlat(self.crs, found)
        return places if np.isfinite(places).all() else None

    def ring(self, window: Window) -> Points | None:
        """Return the outline of a window (n, 2) in longitude and latitude; None without a place.

        Its four corners where it is small; else points along its sides, less than 180 degrees
        apart, which go up to the pole and around it where the window holds one.
        """
        places = self.to_lonlat(window.outline(_EDGE))
        if places is None or np.ptp(places[:, 1]) == 0:  # nothing lies beyond a pole
            return None
        if max(np.ptp(unrolled(places[:, 0])), np.ptp(places[:, 1])) < _SMALL:
            return places[::_EDGE]
        return places if self._in_degrees else _with_pole(places)

    def scaled(self, across: float, down: float) -> "Place":
        """Return the place of pixels that are this many times as large."""
        transform, rpcs = self.transform, self.rpcs
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = a * across, b * down, c, d * across, e * down, f
        if rpcs is not None:  # they count from the middle of a pixel
            told = rpcs.to_dict()
            for axis, times in (("samp", across), ("line", down)):
                told[f"{axis}_off"] = (told[f"{axis}_off"] + 0.5) / times - 0.5
                told[f"{axis}_scale"] /= times
            rpcs = type(rpcs)(**told)
        points = tuple(
            type(each)(row=each.row / down, col=each.col / across, x=each.x, y=each.y, z=each.z)
            for each in self.points
        )
        return replace(self, transform=transform, rpcs=rpcs, points=points)

    @property
    def source_of_warp(self) -> dict[str, Any]:
        """What ``rasterio.warp.reproject`` takes of it; it draws a polynomial for a spline."""
        if self.rpcs is not None:
            return {"rpcs": self.rpcs, "src_crs": self.crs, "RPC_HEIGHT": self.height}
        if self.transform is None:
            return {"gcps": list(self.points), "src_crs": self.crs}
        affine = require_rasterio().Affine(*self.transform)
        return {"src_transform": affine, "src_crs": self.crs}

    @cached_property
    def _in_degrees(self) -> bool:
        return bool(require_rasterio("crs").CRS.from_user_input(self.crs).is_geographic)

    @cached_property
    def _transformer(self) -> Any:  # noqa: ANN401
        transforms = require_rasterio("transform")
        if self.rpcs is not None:
            return transforms.RPCTransformer(self.rpcs, RPC_HEIGHT=self.height)
        return (Spline if self.spline else transforms.GCPTransformer)(self.points)


class Spline:
    """A thin plate spline through ground control points, used as rasterio's transformers are.

    rasterio's own spline is far off between points here and there (rasterio 1.4.4).
    """

    def __init__(self, points: Sequence[Any]) -> None:
        points = points[:: -(-len(points) // _MOST_POINTS)]
        self._at = np.array([(point.col, point.row) for point in points], float)
        told = np.array([(point.x, point.y) for point in points], float)
        self._size = max(np.ptp(self._at, axis=0).max(), 1.0)
        ones = self._terms(self._at)[:, len(points) :]  # (n, 3)
        whole = np.concatenate([self._terms(self._at), np.pad(ones.T, ((0, 0), (0, 3)))])
        self._weights = np.linalg.lstsq(whole, np.pad(told, ((0, 3), (0, 0))), rcond=None)[0]

    def xy(self, rows: Sequence[float], cols: Sequence[float], offset: str) -> Any:  # noqa: ANN401
        """Return x and y, two (n,), of rows and columns, which count from the upper left."""
        return (self._terms(np.stack([cols, rows], axis=1)) @ self._weights).T

    def _terms(self, pixels: Points) -> Points:
        """Return (m, n + 3): the bend around each of the points, and a plane."""
        there, here = pixels / self._size, self._at / self._size
        squared = ((there[:, None] - here) ** 2).sum(axis=2)  # (m, n)
        bends = squared * np.log(np.maximum(squared, np.finfo(float).tiny))
        return np.concatenate([bends, np.ones((len(there), 1)), there], axis=1)


def place_of(source: Any, crs: str | None = None) -> Place:  # noqa: ANN401
    """Return where an open dataset lies.

    Args:
        source: of rasterio.
        crs: the reference system of its coordinates, whatever the file says.

    Raises:
        QueryError: there is no such reference system.
    """
    stated = _stated(source, None if crs is None else read_crs(crs))
    if stated is None:
        if "X_DATASET" not in source.tags(ns="GEOLOCATION"):
            return Place(notes=(_NOWHERE,))
        return Place(notes=(_GEOLOCATION.format(shlex.quote(name_of(source.name))),))
    try:
        return _measured(_fitted(stated) if stated.points else stated, source)
    except _gdal_errors() as error:
        return Place(notes=(_POINTS_FAIL.format(len(stated.points), error),))


def read_crs(text: str) -> str:
    """Return the WKT of a reference system as users name it, such as EPSG:32632.

    Raises:
        QueryError: there is none of that name.
    """
    try:
        return str(require_rasterio("crs").CRS.from_user_input(text).to_wkt())
    except _gdal_errors() as error:
        raise QueryError(
            f"The reference system is {text!r}, which PROJ does not know; expected one such as "
            "EPSG:32632, or its WKT."
        ) from error


def lonlat(crs: str, points: Points) -> Points:
    """Return longitude, within -180..180, and latitude (n, 2) of map coordinates (n, 2).

    NaN, all of them, where the CRS does not reach one of the points, or no place on the earth at
    all, as a local engineering grid.
    """
    try:
        longitude, latitude = require_rasterio("warp").transform(crs, DEGREES, *points.T.tolist())
    except _gdal_errors():
        return np.full_like(points, np.nan)
    turned = np.asarray(longitude)
    beyond = np.isfinite(turned) & (np.abs(turned) > 180)
    turned[beyond] = (turned[beyond] + 180) % 360 - 180
    return np.stack([turned, latitude], axis=1)


def _stated(source: Any, crs: str | None) -> Place | None:  # noqa: ANN401
    """Return what the file says of its place, the best first; ``crs`` overrides its own."""
    points, of_points = source.gcps
    own, of_points = (crs or (each and each.to_wkt()) for each in (source.crs, of_points))
    moved = not (source.transform.is_identity or source.transform.is_degenerate)
    own = own or (_beside(source.name) if moved else None)
    rpcs = source.rpcs
    by_transform = Place(tuple(source.transform)[:6], own) if moved else None
    by_points = Place(points=tuple(points), crs=of_points) if points else None
    by_rpcs = Place(crs=DEGREES, rpcs=rpcs, height=rpcs.height_off) if rpcs else None
    on_a_map = (each for each in (by_transform, by_points) if each and each.crs)
    return next(filter(None, (*on_a_map, by_rpcs, by_transform, by_points)), None)


def _beside(path: str) -> str | None:
    """Return the system that a ``.prj`` beside a raster names, if any does."""
    found = prj_beside(path)
    try:
        return found and read_crs(Path(found).read_text("utf-8"))
    except (QueryError, UnicodeError):
        return None


def _fitted(place: Place) -> Place:
    """Lead a spline through ground control points that a polynomial misses by more than a pixel."""
    pixels = np.array([(point.col, point.row) for point in place.points], float)
    told = np.array([(point.x, point.y) for point in place.points], float)
    if len(pixels) < _FEWEST_POINTS or np.linalg.matrix_rank(pixels - pixels[0]) < 2:
        raise require_rasterio("errors").TransformError("too few, or all on one line")
    found = place.to_map(np.concatenate([pixels, [(0.0, 0.0), (1.0, 1.0)]]))
    missed = np.abs(found[:-2] - told).max()
    if missed > np.abs(found[-1] - found[-2]).max():
        fit, place = "a thin plate spline leads through them", replace(place, spline=True)
    else:
        ends = [lonlat(place.crs, each) for each in (told, found[:-2])] if place.crs else []
        off, unit = (_apart(*ends).max(), "m") if ends else (missed, "of their units")
        fit = f"they fit to {max(off, 0.01):.2g} {unit}"
    return replace(place, notes=(_BY_POINTS.format(len(pixels), fit),))


def _measured(place: Place, source: Any) -> Place:  # noqa: ANN401
    """Look whether a place lies on earth, and how many metres a pixel has there."""
    if place.crs is None:
        return replace(place, notes=(*place.notes, _NO_CRS))
    column, row = source.width / 2, source.height / 2
    aside, along = min(_STEP, column / 4), min(_STEP, row / 4)  # within the raster
    around = np.array(
        [(column - aside, row), (column, row - along), (column + aside, row), (column, row + along)]
    )
    places = lonlat(place.crs, place.to_map(around))
    across, down = (_apart(places[:2], places[2:]) / (2 * aside, 2 * along)).tolist()
    known = np.isfinite(places).all() and np.abs(places[:, 1]).max() <= _POLE
    if not known or min(across, down) == 0:  # PROJ moves what it does not reach to a pole
        return replace(
            place, gsd=_grid_metres(place.transform, place.crs), notes=(*place.notes, _OFF_EARTH)
        )
    found = replace(place, on_earth=True, gsd=(across, down))
    if place.rpcs is None:
        return found
    higher = replace(place, height=place.height + _RISE).to_map(around)
    shift = _apart(places, higher).max()
    note = _BY_RPCS.format(place.height, shift, _RISE, shlex.quote(name_of(source.name)))
    return replace(found, notes=(*place.notes, note))


def _grid_metres(transform: Transform | None, crs: str) -> tuple[float, float] | None:
    """Return metres a pixel of an engineering grid, which lies anywhere but has a scale."""
    if transform is None or not crs.startswith(("LOCAL_CS", "ENGCRS")):
        return None
    a, b, _, d, e, _ = transform
    unit = require_rasterio("crs").CRS.from_wkt(crs).units_factor[1]
    return float(np.hypot(a, d) * unit), float(np.hypot(b, e) * unit)


def _with_pole(places: Points) -> Points:
    """Let a ring around a pole, or through it, run along all of its longitudes there."""
    closed = np.concatenate([places, places[:1]])
    broken = np.abs(np.diff(unrolled(closed[:, 0]))) > 180 - _AT_POLE  # it passes over the pole
    at_pole = np.abs(places[:, 1]) > _POLE - _AT_POLE
    if at_pole.any() or broken.any():
        start = int(np.argmax(at_pole)) if at_pole.any() else int(np.argmax(broken))
        ring = np.roll(places, -start - 1, axis=0)
        ring = ring[np.abs(ring[:, 1]) <= _POLE - _AT_POLE]
    elif abs(np.ptp(unrolled(closed[:, 0])[[0, -1]])) < 180:
        return places
    else:
        ring = closed
    longitudes, pole = unrolled(ring[:, 0]), np.copysign(_POLE, ring[:, 1].mean())
    along = np.linspace(longitudes[-1], longitudes[0], 5)  # steps of 90 degrees at most
    top = np.stack([along, np.full_like(along, pole)], axis=1)
    return np.concatenate([np.stack([longitudes, ring[:, 1]], axis=1), top])


def _apart(here: Points, there: Points) -> NDArray[np.float64]:
    """Return metres (n,) between points in degrees, straight through the earth."""
    return np.linalg.norm(_on_the_ellipsoid(here) - _on_the_ellipsoid(there), axis=1)


def _on_the_ellipsoid(lonlat: Points) -> NDArray[np.float64]:
    """Return x, y, z (n, 3) in metres from the earth's centre: no trouble at poles and at 180."""
    longitude, latitude = np.radians(lonlat).T
    squared = _FLATTENING * (2 - _FLATTENING)
    across = _EQUATOR / np.sqrt(1 - squared * np.sin(latitude) ** 2)
    ring = across * np.cos(latitude)
    up = across * (1 - squared) * np.sin(latitude)
    return np.stack([ring * np.cos(longitude), ring * np.sin(longitude), up], axis=1)


def _gdal_errors() -> tuple[type[Exception], ...]:
    """Return what rasterio raises; the last is what PROJ's errors arrive as."""
    named = require_rasterio("errors")
    return named.RasterioError, named.CRSError, require_rasterio("_err").CPLE_BaseError
