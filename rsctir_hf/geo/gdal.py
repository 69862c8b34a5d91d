"""Opening rasters with rasterio, which is loaded when the first of them is met and not before.

Most searches meet none, and rasterio brings GDAL and PROJ with it.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rsctir_hf.errors import RasterError
from rsctir_hf.files.gdal_pictures import require_rasterio
from rsctir_hf.files.names import as_text, is_utf_8, named_path

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
    text = named_path(path)
    address = is_address(text)
    if not address and not os.path.exists(text):
        raise RasterError(f"{path} does not exist. Give the path of a raster, such as a GeoTIFF.")
    options = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": _CACHE_BYTES}
    with rasterio.Env(**options), warnings.catch_warnings(), ExitStack() as linked:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        # Nobody takes an absolute path for an address; rasterio.open takes only one driver.
        place = text if address else linked.enter_context(_utf_8_place(os.path.abspath(text)))
        try:
            if formats and not address:
                source = rasterio.DatasetReader(place, driver=list(formats))
            else:
                source = rasterio.open(place)
        except rasterio.errors.RasterioError as error:
            raise RasterError(
                f"{as_text(Path(text).name)} is not a raster that can be opened, or it is damaged "
                f"({error}). Expected a GeoTIFF, JPEG 2000, or another format that GDAL reads."
            ) from error
        with source:
            if not source.count:
                inside = ", ".join(source.subdatasets[:3]) or "nothing else either"
                raise RasterError(f"{Path(text).name} holds no bands itself. It holds: {inside}.")
            yield source


@contextmanager
def _utf_8_place(path: str) -> Iterator[str]:
    """Yield a path of a file that is UTF-8, which rasterio needs: its own, or that of a link to it.

    Its side-cars are linked too.
    """
    folder, name = os.path.split(path)
    if is_utf_8(path):
        yield path
        return
    with TemporaryDirectory() as links:
        if is_utf_8(name):
            os.symlink(folder, os.path.join(links, "folder"))
            yield os.path.join(links, "folder", name)
            return
        for beside in os.listdir(folder):
            if beside.startswith(os.path.splitext(name)[0]):
                os.symlink(os.path.join(folder, beside), os.path.join(links, as_text(beside)))
        yield os.path.join(links, as_text(name))


def data_files(source: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return all files of an open dataset, with those beside the sources of a VRT; sorted.

    What lies beside it counts where GDAL reads it: masks, overviews, headers, world files. Nothing
    where that cannot be told.
    """
    try:
        found, left = set[str](), [*source.files]
    except UnicodeDecodeError:  # names that are no UTF-8, which rasterio cannot hand out
        return ()
    nested = source.driver == "VRT"
    while left:
        file = left.pop()
        if file in found:
            continue
        found.add(file)
        if nested and os.path.isfile(file):
            left += _files_of_a_source(file)
    return tuple(sorted(os.path.realpath(file) if os.path.exists(file) else file for file in found))


def _files_of_a_source(file: str) -> list[str]:
    rasterio = require_rasterio()
    try:
        with rasterio.open(file) as source:
            return list(source.files)
    except (rasterio.errors.RasterioError, UnicodeError):  # a mask or a header, no dataset itself
        return []


def is_address(path: str) -> bool:
    """Return whether GDAL is to make sense of a path; a file's name may hold colons too."""
    if os.path.abspath(path).startswith("/vsi"):
        return True
    return not os.path.exists(path) and ("://" in path or path.count(":") > 1)
