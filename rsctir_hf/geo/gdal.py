"""Opening rasters with rasterio, which is loaded when the first of them is met and not before.

Most searches meet none, and rasterio brings GDAL and PROJ with it.
"""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

from rsctir_hf.errors import RasterError
from rsctir_hf.files.gdal_pictures import require_rasterio
from rsctir_hf.files.names import as_text, is_utf_8, named_path

# Of decoded blocks, so that rows of windows over a raster in strips read a strip once. rasterio
# takes bytes here, where GDAL's own option of this name takes megabytes.
_CACHE_BYTES = 128 * 2**20
# A server that is slow or busy is waited for, but not for ever. What may lie beside a raster there
# is not asked for: that takes a dozen requests.
_NETWORK = {
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}
_SCHEME = re.compile(r"([a-z][a-z0-9+]+):/+", re.IGNORECASE)
_PACKED = {".zip": "zip://{}!/NAME.tif", ".tar": "tar://{}!/NAME.tif", ".tgz": "tar://{}!/NAME.tif"}
_PACKED |= {".tar.gz": "tar://{}!/NAME.tif", ".gz": "gzip://{}"}
_USER = re.compile(r"//[^/@]+@")  # name and password in an address
_ELSEWHERE = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)|(^|\+)(https?|ftp|s3|gs|az|oss)://",
    re.IGNORECASE,
)


@contextmanager
def opened(path: str | Path, formats: Sequence[str] | None = None) -> Iterator[Any]:
    """Open a raster with a bounded block cache.

    Args:
        path: a file, or an address that GDAL knows, as text.
        formats: GDAL drivers that may open a file; all that are there by default.

    Yields:
        A dataset of rasterio that has bands.

    Raises:
        MissingDependencyError: rasterio is absent.
        RasterError: no such file, no raster, damaged, or it cannot be fetched.
    """
    rasterio = require_rasterio()
    text = address_of(path)
    address = is_address(text)
    if not address and not os.path.exists(text):
        raise RasterError(
            f"{as_text(text)} does not exist. Give the path of a raster, such as a GeoTIFF."
        )
    options = {"GDAL_CACHEMAX": _CACHE_BYTES, **(_NETWORK if is_elsewhere(text) else {})}
    options = {name: value for name, value in options.items() if name not in os.environ}
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
            raise _not_opened(text, error) from error
        with source:
            if not source.count:
                inside = ", ".join(source.subdatasets[:3]) or "nothing else either"
                raise RasterError(f"{name_of(text)} holds no bands itself. It holds: {inside}.")
            try:
                yield source
            except require_rasterio("_err").CPLE_BaseError as error:  # found when asked for more
                raise _not_opened(text, error) from error


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
    where that cannot be told, and of one that is fetched from elsewhere.
    """
    if is_elsewhere(source.name):
        return ()
    try:
        beside = prj_beside(source.name)
        found, left = set[str](), [*source.files, *([beside] if beside else [])]
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


def prj_beside(path: str) -> str | None:
    """Return the file beside a raster and its world file that names their reference system."""
    stem = os.path.splitext(path)[0]
    return next(filter(os.path.isfile, (f"{stem}.prj", f"{stem}.PRJ")), None)


def _files_of_a_source(file: str) -> list[str]:
    rasterio = require_rasterio()
    try:
        with rasterio.open(file) as source:
            return list(source.files)
    except (rasterio.errors.RasterioError, UnicodeError):  # a mask or a header, no dataset itself
        return []


def address_of(path: str | Path) -> str:
    """Return where a raster is as text: ``file://`` as a path, with the slash that a Path drops."""
    text = named_path(path)
    found = None if os.path.exists(text) else _SCHEME.match(text)
    if found is None:
        return text
    scheme, rest = found[1].lower(), text[found.end() :]
    if scheme == "file":
        return f"/{rest}" if os.path.exists(f"/{rest}") else f"/{unquote(rest)}"
    if text.startswith("//", found.end(1) + 1):
        return text
    return f"{scheme}://{rest}" if is_elsewhere(f"{scheme}://") else f"{scheme}:///{rest}"


def name_of(path: str | Path) -> str:
    """Return the name of a raster's file, without what an address says behind it (``?``)."""
    text = address_of(path)
    return as_text(Path(text.partition("?")[0] if is_elsewhere(text) else text).name)


def is_elsewhere(path: str) -> bool:
    """Return whether GDAL fetches what a path names from another machine."""
    return _ELSEWHERE.search(path) is not None and not os.path.exists(path)


def unreadable(path: str, pixels: tuple[int, ...], error: Exception) -> RasterError:
    """Return the error of a raster that was opened and of which some pixels cannot be read."""
    why = error.__cause__ or error
    if is_elsewhere(path):
        return RasterError(
            f"{name_of(path)} cannot be fetched any further: pixels {pixels} did not come ({why}). "
            "Try again, or download it first."
        )
    return RasterError(
        f"{name_of(path)} is damaged or cut short: pixels {pixels} cannot be read ({why}). Copy or "
        "download the file again."
    )


def _not_opened(path: str, error: Exception) -> RasterError:
    place, _, secret = _USER.sub("//", path).partition("?")
    why = _USER.sub("//", str(error)).replace(f"?{secret}", "")
    if os.path.isdir(path):
        return RasterError(
            f"{path} is a folder. Give one raster of it, or search all: rsctir index --rasters."
        )
    if os.path.isfile(path) and not os.path.getsize(path):
        return RasterError(f"{name_of(path)} is empty (0 bytes). Copy or download the file again.")
    if not is_elsewhere(path) or "not recognized as being in" in why:
        within = next((how for end, how in _PACKED.items() if path.lower().endswith(end)), None)
        advice = within and f"Name the raster in it: {within.format(name_of(path))}."
        return RasterError(
            f"{name_of(path)} is not a raster that can be opened, or it is damaged ({why}). "
            f"{advice or 'Expected a GeoTIFF, JPEG 2000, or another format that GDAL reads.'}"
        )
    advice = "Check the address and the network, or download it first."
    if re.search(r"\b40[13]\b", why):
        advice = (
            "It asks for credentials, which GDAL takes from the environment: GDAL_HTTP_BEARER, "
            "GDAL_HTTP_USERPWD, AWS_ACCESS_KEY_ID and their like."
        )
    elif re.search(r"\b404\b", why):
        advice = "There is no such file. Check the address."
    return RasterError(f"{place} cannot be fetched ({why}). {advice}")


def is_address(path: str) -> bool:
    """Return whether GDAL is to make sense of a path; a file's name may hold colons too."""
    if os.path.abspath(path).startswith("/vsi"):
        return True
    return not os.path.exists(path) and ("://" in path or path.count(":") > 1)
