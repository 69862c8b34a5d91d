"""What is drawn over a raster, as a picture for a map or as a GeoTIFF."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rsctir_hf.files.atomic import replacing
from rsctir_hf.geo.gdal import require_rasterio
from rsctir_hf.geo.placement import DEGREES
from rsctir_hf.geo.raster import Raster
from rsctir_hf.geo.tiling import Size, Transform, Window


def overview_in_degrees(
    raster: Raster, picture: Image.Image
) -> tuple[Image.Image, tuple[float, float, float, float]] | None:
    """Move an overview to EPSG:4326, for a map.

    Args:
        raster: the raster.
        picture: all of it, of ``overview``.

    Returns:
        The picture (RGBA, clear where the raster does not reach) and its west, south, east and
        north in degrees; None where the raster has no place on the map or crosses the antimeridian.
    """
    rasterio = require_rasterio()
    places = raster.to_lonlat(Window(0, 0, *raster.size).corners)
    if places is None or raster.transform is None or np.ptp(places[:, 0]) > 180:
        return None
    (west, south), (east, north) = places.min(axis=0), places.max(axis=0)
    squeeze = float(np.cos(np.radians((south + north) / 2)))
    longest = max(picture.size) / max((east - west) * squeeze, north - south)
    size = round((east - west) * squeeze * longest), round((north - south) * longest)
    layers = np.moveaxis(np.asarray(picture.convert("RGBA")), 2, 0)
    moved = np.zeros((4, max(size[1], 1), max(size[0], 1)), np.uint8)
    across, down = (whole / part for whole, part in zip(raster.size, picture.size, strict=True))
    corners = west, south, east, north
    require_rasterio("warp").reproject(
        layers,
        moved,
        src_transform=rasterio.Affine(*_scaled(raster.transform, across, down)),
        src_crs=raster.crs,
        dst_transform=rasterio.transform.from_bounds(*corners, moved.shape[2], moved.shape[1]),
        dst_crs=DEGREES,
        resampling=rasterio.enums.Resampling.bilinear,
    )
    shown = Image.fromarray(np.ascontiguousarray(np.moveaxis(moved, 0, 2)))
    return shown, (float(west), float(south), float(east), float(north))


def write_grid(path: str | Path, grid: NDArray[np.float32], raster: Raster, *, cell: Size) -> None:
    """Write numbers on a grid over a raster as a GeoTIFF with its place on the map; NaN: no data.

    Args:
        path: of the new file, which appears whole or not at all.
        grid: (rows, columns).
        raster: what the grid lies over; without coordinates the file has none either.
        cell: width and height of a cell in pixels of the raster.

    Raises:
        OSError: it cannot be written.
    """
    placed = _scaled(raster.transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), *cell)
    write_geotiff(path, grid[None], transform=placed, crs=raster.crs, nodata=float("nan"))


def write_geotiff(
    path: str | Path,
    values: NDArray[Any],
    *,
    transform: Transform,
    crs: str | None,
    nodata: float | None = None,
) -> None:
    """Write values (bands, rows, columns) as a tiled, compressed GeoTIFF, whole or not at all.

    Raises:
        MissingDependencyError: rasterio is absent.
        OSError: it cannot be written.
    """
    rasterio = require_rasterio()
    count, height, width = values.shape
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": count,
        "dtype": values.dtype, "crs": crs, "transform": rasterio.Affine(*transform),
        "nodata": nodata, "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with warnings.catch_warnings(), replacing(path) as unfinished:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(unfinished, "w", **profile) as target:
                target.write(values)
        except rasterio.errors.RasterioError as error:
            raise OSError(f"{path} cannot be written ({error}).") from error


def _scaled(transform: Transform, across: float, down: float) -> Transform:
    """Return the transform of pixels that are this many times as large."""
    a, b, c, d, e, f = transform
    return a * across, b * down, c, d * across, e * down, f
