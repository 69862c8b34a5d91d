"""Opening rasters with rasterio, which is loaded when the first of them is met and not before.

Most searches meet none, and rasterio brings GDAL and PROJ with it.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rsctir_hf.errors import RasterError
from rsctir_hf.files.gdal_pictures import require_rasterio

# Of decoded blocks, so that rows of windows over a raster in strips read a strip once. rasterio
# takes bytes here, where GDAL's own option of this name takes megabytes.
_CACHE_BYTES = 128 * 2**20


@contextmanager
def opened(path: str | Path, formats: Sequence[str] | None = None) -> Iterator[Any]:
    """Open a raster with a bounded block cache.

    Args:
        path: a file, or an address that GDAL knows.
        formats: GDAL drivers that may open a file; all that are there by default.

    Yields:
        A dataset of rasterio that has bands.

    Raises:
        MissingDependencyError: rasterio is absent.
        RasterError: no such file, no raster, or damaged.
    """
    rasterio = require_rasterio()
    text = str(path)
    address = is_address(text)
    if not address and not os.path.exists(path):
        raise RasterError(f"{path} does not exist. Give the path of a raster, such as a GeoTIFF.")
    options = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": _CACHE_BYTES}
    with rasterio.Env(**options), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            # Nobody takes an absolute path for an address; rasterio.open takes only one driver.
            place = text if address else os.path.abspath(path)
            if formats and not address:
                source = rasterio.DatasetReader(place, driver=list(formats))
            else:
                source = rasterio.open(place)
        except rasterio.errors.RasterioError as error:
            raise RasterError(
                f"{Path(text).name} is not a raster that can be opened, or it is damaged "
                f"({error}). Expected a GeoTIFF, JPEG 2000, or another format that GDAL reads."
            ) from error
        with source:
            if not source.count:
                inside = ", ".join(source.subdatasets[:3]) or "nothing else either"
                raise RasterError(f"{Path(text).name} holds no bands itself. It holds: {inside}.")
            yield source


def data_files(source: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return all files of an open dataset, with those beside the sources of a VRT; sorted.

    What lies beside it counts where GDAL reads it: masks, overviews, headers, world files.
    """
    found, left = set[str](), [*source.files]
    nested = source.driver == "VRT"
    while left:
        file = left.pop()
        if file in found:
            continue
        found.add(file)
        if nested and os.path.isfile(file):
            left += _files_of_a_source(file)
    return tuple(sorted(found))


def _files_of_a_source(file: str) -> list[str]:
    rasterio = require_rasterio()
    try:
        with rasterio.open(file) as source:
            return list(source.files)
    except rasterio.errors.RasterioError:  # a mask or a header, no dataset itself
        return []


def is_address(path: str) -> bool:
    """Return whether GDAL is to make sense of a path; a file's name may hold colons too."""
    if os.path.abspath(path).startswith("/vsi"):
        return True
    return not os.path.exists(path) and ("://" in path or path.count(":") > 1)
