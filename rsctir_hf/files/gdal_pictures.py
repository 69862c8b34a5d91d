"""Pictures through GDAL, where rasterio is installed: TIFF, and what Pillow cuts down to 8 bits.

Bands, mask, palette and stretch are those that a scene of the same file has (``rsctir_hf.geo``). A
file is opened by the one driver that its first bytes ask for, so that no upload becomes a VRT or
another format that names further files.
"""

import io
import logging
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from rsctir_hf.errors import ImageReadError, MissingDependencyError
from rsctir_hf.files.bands import (
    choose_bands,
    known_limits,
    mask_kinds,
    palette_of,
    shows_least_as_white,
)
from rsctir_hf.files.names import as_text
from rsctir_hf.files.stretch import numbers_to_rgb

logger = logging.getLogger(__name__)

TIFF, JPEG_2000 = "GTiff", "JP2OpenJPEG"
_TOLD: set[str] = set()  # what was said of bands already; a folder of chips is told once
_BIG = (b"+\0", b"\0+")
# Of a TIFF: no further directory, 3 samples of 8 bits, RGB, pixel by pixel; without loss.
_PLAIN = {0: 0, 258: (8, 8, 8), 262: 2, 277: 3, 284: 1}
_COMPRESSIONS = (1, 5, 8, 32773, 32946)
_MORE = {338, 339, 42112, 42113}  # alpha, kind of numbers, GDAL's metadata and nodata
_DRIVERS = {b"II*\0": TIFF, b"MM\0*": TIFF, b"II+\0": TIFF, b"MM\0+": TIFF}  # + is BigTIFF
_DRIVERS |= {b"\xff\x4f\xff\x51": JPEG_2000, b"\0\0\0\x0cjP  ": JPEG_2000}
_DRIVERS |= {b"P6": "PNM"}


def require_rasterio(part: str = "") -> Any:  # noqa: ANN401 - a module
    """Load rasterio and return it, or a part of it such as ``warp``.

    Raises:
        MissingDependencyError: it is absent.
    """
    try:
        whole = import_module("rasterio")
        return import_module(f"rasterio.{part}") if part else whole
    except ImportError as error:
        raise MissingDependencyError("rasterio", "geo") from error


def driver_of(head: bytes) -> str | None:
    """Return the driver for a file by its first bytes; None where there is no help in rasterio."""
    found = next((driver for start, driver in _DRIVERS.items() if head.startswith(start)), None)
    try:
        return found and require_rasterio() and found
    except MissingDependencyError:
        return None


@contextmanager
def opened_picture(source: Path | bytes, driver: str, name: str) -> Iterator[Any]:
    """Open a file, or the bytes of one, by a driver and no other.

    Yields:
        A dataset of rasterio.

    Raises:
        ImageReadError: it is damaged, here or where pixels are read.
    """
    rasterio, beyond = require_rasterio(), require_rasterio("_err").CPLE_BaseError
    with ExitStack() as opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        opening.enter_context(rasterio.Env())
        try:
            if isinstance(source, Path) and as_text(source) != str(source):
                source = source.read_bytes()  # rasterio takes names in UTF-8 only
            if isinstance(source, bytes):
                place = opening.enter_context(rasterio.MemoryFile(source)).name
            else:
                place = os.path.abspath(source)
            yield opening.enter_context(rasterio.DatasetReader(place, driver=[driver]))
        except (rasterio.errors.RasterioError, beyond) as error:
            raise ImageReadError(
                f"{name} is damaged or cut short and cannot be decoded "
                f"({error.__cause__ or error}). Copy or download the file again, or leave it out."
            ) from error


def picture_of(dataset: Any, name: str) -> Image.Image:  # noqa: ANN401 - of rasterio
    """Make the RGB picture of a dataset, as a scene would show it at full size.

    Raises:
        ImageReadError: its numbers are complex.
    """
    bands, note = choose_bands(dataset)
    if note:
        logger.log(logging.DEBUG if note in _TOLD else logging.WARNING, "%s: %s", name, note)
        _TOLD.add(note)
    if any(dataset.dtypes[band - 1].startswith("complex") for band in bands):
        raise ImageReadError(
            f"{name} holds complex numbers. Make a picture of their amplitudes first."
        )
    values = np.moveaxis(dataset.read(list(bands)), 0, 2)  # (H, W, 1 or 3)
    declared = bool(mask_kinds(dataset, bands))
    known = np.moveaxis(dataset.read_masks(list(bands)) > 0, 0, 2) if declared else None
    limits, palette = known_limits(dataset, bands), palette_of(dataset, bands)
    if palette is not None:
        values, limits = palette[values[..., 0]], None
    colours = values if values.shape[2] == 3 else values[..., 0]
    shades = numbers_to_rgb(colours, known, limits=limits, declared=declared, name=name)
    return ImageOps.invert(shades) if shows_least_as_white(dataset) else shades


def tiff_tags(source: Path | bytes) -> dict[int, Any]:
    """Return what stands in the first directory of a TIFF, and at 0 where the next one lies."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            header = file.read(16)
            directory = ImageFileDirectory_v2(header if header[2:4] in _BIG else header[:8])
            file.seek(directory.next)
            directory.load(file)
            return {**dict(directory.items()), 0: directory.next}
    except (SyntaxError, struct.error, ValueError, TypeError, OverflowError):
        return {}  # GDAL says what is wrong


def is_plain(tags: dict[int, Any], source: Path | bytes) -> bool:
    """Tell whether a TIFF is nothing but 8-bit RGB, which Pillow reads as GDAL does, and sooner."""
    beside = () if isinstance(source, bytes) else (f"{source}.msk", f"{source}.aux.xml")
    return (
        all(tags.get(tag) == value for tag, value in _PLAIN.items())
        and tags.get(259, 1) in _COMPRESSIONS
        and not _MORE & tags.keys()
        and not any(map(os.path.exists, beside))
    )
