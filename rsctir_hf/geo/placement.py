"""Where a raster lies on the earth: longitudes and latitudes, and metres a pixel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.geo.gdal import require_rasterio
from rsctir_hf.geo.tiling import Transform, map_points

DEGREES = "EPSG:4326"
_POLE = 90.0  # degrees of latitude
_STEP = 50  # pixels either side of the centre over which the ground sample distance is measured
_EQUATOR, _FLATTENING = 6_378_137.0, 1 / 298.257223563  # WGS 84, metres


def place_of(source: Any) -> tuple[Transform | None, str | None, tuple[float, float] | None]:  # noqa: ANN401
    """Return transform, WKT and metres a pixel; nothing where the file has no place on earth.

    Coordinates that its CRS does not reach count as none: PROJ moves them to a pole or beyond.
    """
    transform = tuple(source.transform)[:6]
    if source.crs is None or source.transform.is_identity or source.transform.is_degenerate:
        return None, None, None
    crs = source.crs.to_wkt()
    column, row = source.width / 2, source.height / 2
    aside, along = min(_STEP, column / 4), min(_STEP, row / 4)  # within the raster
    around = np.array(
        [(column - aside, row), (column + aside, row), (column, row - along), (column, row + along)]
    )
    places = lonlat(crs, map_points(around, transform))
    west, east, north, south = _on_the_ellipsoid(places)
    across = float(np.linalg.norm(east - west)) / (2 * aside)
    down = float(np.linalg.norm(south - north)) / (2 * along)
    on_earth = np.isfinite(places).all() and np.abs(places[:, 1]).max() <= _POLE
    if not on_earth or min(across, down) == 0:
        return None, None, None
    return transform, crs, (across, down)


def lonlat(crs: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitude, within -180..180, and latitude (n, 2) of map coordinates (n, 2).

    NaN, all of them, where the CRS does not reach one of the points, or no place on the earth at
    all, as a local engineering grid.
    """
    beyond_crs = require_rasterio("errors").RasterioError, require_rasterio("_err").CPLE_BaseError
    try:
        longitude, latitude = require_rasterio("warp").transform(crs, DEGREES, *points.T.tolist())
    except beyond_crs:  # the second is what PROJ's errors arrive as
        return np.full_like(points, np.nan)
    turned = np.asarray(longitude)
    beyond = np.isfinite(turned) & (np.abs(turned) > 180)
    turned[beyond] = (turned[beyond] + 180) % 360 - 180
    return np.stack([turned, latitude], axis=1)


def _on_the_ellipsoid(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x, y, z (n, 3) in metres from the earth's centre: no trouble at poles and at 180."""
    longitude, latitude = np.radians(lonlat).T
    squared = _FLATTENING * (2 - _FLATTENING)
    across = _EQUATOR / np.sqrt(1 - squared * np.sin(latitude) ** 2)
    ring = across * np.cos(latitude)
    up = across * (1 - squared) * np.sin(latitude)
    return np.stack([ring * np.cos(longitude), ring * np.sin(longitude), up], axis=1)
