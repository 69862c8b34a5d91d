"""What is drawn over a raster, as a picture for a map or as a GeoTIFF."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rsctir_hf.files.atomic import replacing
from rsctir_hf.geo.gdal import require_rasterio
from rsctir_hf.geo.geojson import Box, bounding_box
from rsctir_hf.geo.placement import DEGREES, Place
from rsctir_hf.geo.raster import Raster
from rsctir_hf.geo.tiling import Size, Window


def overview_in_degrees(raster: Raster, picture: Image.Image) -> tuple[Image.Image, Box] | None:
    """Move an overview to EPSG:4326, for a map.

    Args:
        raster: the raster.
        picture: all of it, of ``overview``.

    Returns:
        The picture (RGBA, clear where the raster does not reach) and its west, south, east and
        north in degrees; None where the raster has no place on the map or crosses the antimeridian.
    """
    ring = raster.place.ring(Window(0, 0, *raster.size))
    if ring is None:
        return None
    west, south, east, north = corners = bounding_box(ring)
    if west >= east:
        return None
    squeeze = float(np.cos(np.radians((south + north) / 2)))
    longest = max(picture.size) / max((east - west) * squeeze, north - south)
    size = round((east - west) * squeeze * longest), round((north - south) * longest)
    layers = np.moveaxis(np.asarray(picture.convert("RGBA")), 2, 0)
    moved = np.zeros((4, max(size[1], 1), max(size[0], 1)), np.uint8)
    across, down = (whole / part for whole, part in zip(raster.size, picture.size, strict=True))
    transforms = require_rasterio("transform")
    require_rasterio("warp").reproject(
        layers,
        moved,
        dst_transform=transforms.from_bounds(*corners, moved.shape[2], moved.shape[1]),
        dst_crs=DEGREES,
        resampling=require_rasterio("enums").Resampling.bilinear,
        **raster.place.scaled(across, down).source_of_warp,
    )
    shown = Image.fromarray(np.ascontiguousarray(np.moveaxis(moved, 0, 2)))
    return shown, corners


def write_grid(path: str | Path, grid: NDArray[np.float32], raster: Raster, *, cell: Size) -> None:
    """Write numbers on a grid over a raster as a GeoTIFF with its place on the map; NaN: no data.

    Args:
        path: of the new file, which appears whole or not at all.
        grid: (rows, columns).
        raster: what the grid lies over, whose transform, ground control points or RPCs the file
            has, for larger cells; without coordinates those of its pixels.
        cell: width and height of a cell in pixels of the raster.

    Raises:
        OSError: it cannot be written.
    """
    place = raster.place
    if not place.stated:
        place = replace(place, transform=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    write_geotiff(path, grid[None], place=place.scaled(*cell), nodata=float("nan"))


def write_geotiff(
    path: str | Path, values: NDArray[Any], *, place: Place, nodata: float | None = None
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
        "dtype": values.dtype, "crs": None if place.rpcs else place.crs, "nodata": nodata,
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    placed = {"gcps": list(place.points), "rpcs": place.rpcs}
    if place.transform is not None:
        placed["transform"] = rasterio.Affine(*place.transform)
    profile |= {name: value for name, value in placed.items() if value}
    if place.points and place.crs is None:
        profile["crs"] = rasterio.crs.CRS()  # rasterio writes no points beside None
    with warnings.catch_warnings(), replacing(path) as unfinished:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(unfinished, "w", **profile) as target:
                target.write(values)
        except rasterio.errors.RasterioError as error:
            raise OSError(f"{path} cannot be written ({error}).") from error
