"""Reading pictures: any file, array or PIL image becomes an 8-bit RGB picture or a clear error.

How its values become shades is said in ``files.stretch``: 8-bit values stay, others are stretched,
missing pixels get the mean colour of the others. TIFF, JPEG 2000 of more than 8 bits or with bands
beside its colours, and PPM of more than 8 bits are read through GDAL where rasterio is installed
(``files.gdal_pictures``), as a scene is; all else by Pillow, whose guard against decompression
bombs stays as it is. Without rasterio a file that Pillow would read wrongly is refused.
"""

import io
import logging
import mimetypes
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rsctir_hf.errors import ImageReadError, QueryError
from rsctir_hf.files.gdal_pictures import (
    JPEG_2000,
    TIFF,
    driver_of,
    is_plain,
    opened_picture,
    picture_of,
    tiff_tags,
)
from rsctir_hf.files.listing import list_files
from rsctir_hf.files.names import as_text, named_path
from rsctir_hf.files.stretch import (
    ORIENTATION_TAG,
    WIDE_MODES,
    UnfitPictureError,
    array_to_rgb,
    channel_bits,
    content_of,
    picture_to_rgb,
    upright,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
Readable = str | Path | bytes | Image.Image | NDArray

#: Largest picture that is decoded; Pillow itself refuses files beyond this number of pixels.
MAX_PIXELS = 178_956_970
#: JPEG files beyond this number of pixels are decoded at a half, quarter or eighth of their size.
DRAFT_PIXELS = 50_000_000
#: Pictures with a shorter side below this many pixels show nothing that could be searched for.
MIN_SIDE = 4
#: The 8 symmetries of the square: None is the picture as it is, Pillow's members are exactly the
#: other seven. An overhead picture keeps its meaning under each; none needs interpolation.
SYMMETRIES: tuple[Image.Transpose | None, ...] = (None, *Image.Transpose)

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".tif", ".tiff"))
IMAGE_SUFFIXES |= frozenset((".webp", ".avif", ".avifs", ".bmp", ".dib", ".gif"))
IMAGE_SUFFIXES |= frozenset((".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"))
IMAGE_SUFFIXES |= frozenset((".ppm", ".pgm", ".pbm", ".pnm", ".pfm"))
#: Imagery that is not read as a picture, but passed over with a line in the log; with these all
#: that Python calls ``image/...`` by its suffix.
OTHER_IMAGERY = frozenset((".img", ".vrt", ".ecw", ".sid", ".ntf", ".nitf", ".nsf", ".hdf", ".h5"))
OTHER_IMAGERY |= frozenset(
    (".he5", ".nc", ".grib", ".grb2", ".bil", ".bip", ".bsq", ".dng", ".jxl")
)
OTHER_IMAGERY |= frozenset(
    (".heic", ".heif", ".hif", ".tga", ".dds", ".exr", ".psd", ".jxr", ".raw")
)
OTHER_IMAGERY |= frozenset((".gtif", ".gtiff", ".geotiff", ".btf", ".tf8", ".cog", ".npy", ".mrf"))
# Named one by one: Pillow also opens EPS, which it hands to Ghostscript, TGA, which it takes many
# other files for, and formats that nobody stores imagery in.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "AVIF")
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))  # of a PNG; nothing that is seen
# What Pillow's decoders raise on damaged files, beyond OSError.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(
    source: Readable, *, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> Image.Image:
    """Read one picture as 8-bit RGB.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3)
            or (H, W, 4) of bool, integers or floats.
        max_pixels: refuse pictures with more pixels than this; values above ``MAX_PIXELS`` do not
            help for files, since Pillow's own guard applies too.
        name: what messages call it; by default its path, or what it is.

    Returns:
        A picture of mode RGB, upright, with the size it was stored in. Only JPEG files above
        ``DRAFT_PIXELS`` come back at a half, quarter or eighth of their size.

    Raises:
        ImageReadError: the source is missing, empty, no picture, damaged, without data, too small
            or too large.
    """
    name = name or _describe(source)
    if isinstance(source, np.ndarray):
        return _read_array(source, max_pixels, name)
    try:
        if isinstance(source, Image.Image):
            return _decode(source, max_pixels, name)
        return _read_file(_file_of(source, name), max_pixels, name)
    except ImageReadError:
        raise
    except UnfitPictureError as error:
        raise ImageReadError(f"{error}") from error
    except Image.DecompressionBombError as error:
        raise _too_large(f"{error}", max_pixels, name) from error
    except Image.UnidentifiedImageError as error:
        raise ImageReadError(
            f"{name} is not a picture in a known format. Expected one of "
            f"{', '.join(_FORMATS)}. Convert it to a PNG, JPEG or GeoTIFF file first."
        ) from error
    except _DECODER_ERRORS as error:
        raise _not_decoded(name, error) from error


def unreadable(name: str, error: OSError) -> ImageReadError:
    """Return the error of a picture file that is gone or may not be read."""
    return ImageReadError(
        f"{name} cannot be read ({error.strerror}). Check that it is still there and that you may "
        "read it, or leave it out."
    )


def list_images(folder: str | Path) -> list[Path]:
    """List the picture files below a folder; see ``list_imagery``."""
    remedy = "Convert them to PNG, JPEG or GeoTIFF, or search rasters by --rasters."
    return list_imagery(folder, IMAGE_SUFFIXES, what="pictures", remedy=remedy)


def list_imagery(
    folder: str | Path, suffixes: frozenset[str], *, what: str, remedy: str
) -> list[Path]:
    """List the files of a kind below a folder; see ``listing.list_files``.

    Imagery in other formats has a line in the log: how many of which, and the remedy.
    """
    files = list_files(folder, suffixes | IMAGE_SUFFIXES | _other_suffixes(), what=what)
    found = [path for path in files if path.suffix.lower() in suffixes]
    if len(found) < len(files):
        endings = Counter(path.suffix.lower() for path in files)
        counts = [f"{n} {end}" for end, n in endings.items() if end not in suffixes]
        logger.warning(
            "%s: %d files of imagery that is not read as %s were passed over (%s). %s",
            as_text(folder), len(files) - len(found), what, ", ".join(counts), remedy,
        )  # fmt: skip
    return found


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """Return (W, H) of a picture file as it is stored, or None where it cannot be opened."""
    try:
        file = _file_of(path, str(path))
        if driver_of(_head(file)) == TIFF:
            with opened_picture(file, TIFF, str(path)) as dataset:
                return dataset.width, dataset.height
        return _opened(file, lambda picture: picture.size)
    except _DECODER_ERRORS:
        return None


def band_count(path: str | Path) -> int | None:
    """Return how many bands a picture file has, alpha left aside; None where it cannot be opened.

    Colours from a palette are three.
    """
    try:
        file = _file_of(path, str(path))
        if driver_of(_head(file)) == TIFF and not is_plain(tiff_tags(file), file):
            with opened_picture(file, TIFF, str(path)) as dataset:
                return dataset.count - sum(kind.name == "alpha" for kind in dataset.colorinterp)
        return _opened(file, lambda picture: 3 if picture.mode == "P" else _bands_of(picture))
    except _DECODER_ERRORS:
        return None


def _bands_of(picture: Image.Image) -> int:
    return len([band for band in picture.getbands() if band != "A"])


def first_symmetries(count: int) -> tuple[Image.Transpose | None, ...]:
    """Return the symmetries whose views are embedded: the picture as it is, or all 8.

    Raises:
        QueryError: ``count`` is neither 1 nor 8.
    """
    if count not in (1, len(SYMMETRIES)):
        raise QueryError(
            f"symmetries is {count}; expected 1 (each picture as it is) or {len(SYMMETRIES)} "
            "(all turned and mirrored views of a picture are averaged)."
        )
    return SYMMETRIES[:count]


def turned(picture: Image.Image, symmetry: Image.Transpose | None) -> Image.Image:
    """Return a picture under one of ``SYMMETRIES``; quarter turns swap width and height."""
    return picture if symmetry is None else picture.transpose(symmetry)


def _describe(source: Readable) -> str:
    if isinstance(source, str | Path):
        return as_text(source)
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, np.ndarray):
        return f"<array {source.shape} {source.dtype}>"
    return str(getattr(source, "filename", "") or f"<{type(source).__name__}>")


def check_size(size: tuple[int, int], *, max_pixels: int, name: str) -> None:
    """Refuse a picture of (W, H) pixels that is too large or too small.

    Raises:
        ImageReadError: it is; named ``name``.
    """
    width, height = size
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height} pixels", max_pixels, name)
    if min(size) < MIN_SIDE:
        raise ImageReadError(
            f"{name} has {width} x {height} pixels. "
            f"Expected a picture of at least {MIN_SIDE} pixels a side."
        )


def _too_large(found: str, max_pixels: int, name: str) -> ImageReadError:
    limit = min(max_pixels, MAX_PIXELS) / 1e6
    return ImageReadError(
        f"{name} is too large: {found}. Expected at most {limit:.0f} million pixels. "
        "Cut the scene into tiles or downsize it first."
    )


def _not_decoded(name: str, error: BaseException) -> ImageReadError:
    if isinstance(error, OSError) and error.errno is not None:  # the system's, no decoder's
        return unreadable(name, error)
    return ImageReadError(
        f"{name} is damaged or cut short and cannot be decoded ({error}). "
        "Copy or download the file again, or leave it out."
    )


def _other_suffixes() -> frozenset[str]:
    pictures = (end for end, kind in mimetypes.types_map.items() if kind.startswith("image/"))
    return OTHER_IMAGERY.union(pictures) - {".svg", ".ico"}  # drawings beside pictures


def _file_of(source: str | Path | bytes, name: str) -> Path | bytes:
    file: Path | bytes
    if isinstance(source, bytes):
        file, size = source, len(source)
    elif isinstance(source, str | Path):
        file = path = Path(named_path(source))
        if not path.is_file():
            raise ImageReadError(f"{name} is not a file. Give the path of a picture.")
        size = path.stat().st_size
    else:
        raise ImageReadError(
            f"{name} cannot be read as a picture. Expected a path, bytes, a PIL image or an array."
        )
    if size == 0:
        raise ImageReadError(f"{name} is empty (0 bytes). Copy or download the file again.")
    return file


def _head(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return file[:16]
    with file.open("rb") as stream:
        return stream.read(16)


def _read_file(file: Path | bytes, max_pixels: int, name: str) -> Image.Image:
    driver = driver_of(_head(file))
    if driver == TIFF:
        tags = tiff_tags(file)
        if not is_plain(tags, file):
            shades = _through_gdal(file, driver, max_pixels, name)
            return upright(shades, tags.get(ORIENTATION_TAG, 1))
    try:
        return _opened(file, lambda picture: _decode(picture, max_pixels, name))
    except Image.UnidentifiedImageError:
        if driver != JPEG_2000:
            raise
        return _through_gdal(file, driver, max_pixels, name)  # of five bands, say


def _opened(file: Path | bytes, use: Callable[[Image.Image], T]) -> T:
    """Use a picture opened by Pillow, which refuses a PNG for texts of more than a megabyte."""
    try:
        with Image.open(_stream(file), formats=_FORMATS) as picture:
            return use(picture)
    except ValueError:
        content = file if isinstance(file, bytes) else file.read_bytes()
        if not content.startswith(_PNG) or len(lighter := _without_texts(content)) == len(content):
            raise
        with Image.open(_stream(lighter), formats=("PNG",)) as picture:
            return use(picture)


def _stream(file: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(file) if isinstance(file, bytes) else file


def _without_texts(png: bytes) -> bytes:
    kept, place = [png[: len(_PNG)]], len(_PNG)
    while place + 12 <= len(png):  # length, kind, content, check sum
        end = place + 12 + int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] not in _TEXTS:
            kept.append(png[place:end])
        place = end
    return b"".join(kept)


def _decode(picture: Image.Image, max_pixels: int, name: str) -> Image.Image:
    check_size(picture.size, max_pixels=max_pixels, name=name)
    # Pillow takes whatever band comes last for alpha.
    more = picture.format == "JPEG2000" and picture.mode in ("RGBA", "LA")
    if more or (picture.mode not in WIDE_MODES and channel_bits(picture) > 8):
        content = content_of(picture)
        driver = driver_of(content)
        if driver == TIFF:
            return _read_file(content, max_pixels, name)
        if driver:
            return _through_gdal(content, driver, max_pixels, name)
    width, height = picture.size
    if picture.format == "JPEG" and width * height > DRAFT_PIXELS:
        scale = next((s for s in (2, 4) if width * height <= DRAFT_PIXELS * s * s), 8)
        picture.draft(None, (width // scale, height // scale))
        logger.info("A JPEG of %d x %d px is read at %d x %d px", width, height, *picture.size)
    shades = picture_to_rgb(picture, name)
    return shades.copy() if shades is picture else shades


def _through_gdal(file: Path | bytes, driver: str, max_pixels: int, name: str) -> Image.Image:
    with opened_picture(file, driver, name) as dataset:
        check_size((dataset.width, dataset.height), max_pixels=max_pixels, name=name)
        return picture_of(dataset, name)


def _read_array(array: NDArray, max_pixels: int, name: str) -> Image.Image:
    try:
        picture = array_to_rgb(array, name)
    except UnfitPictureError as error:
        raise ImageReadError(f"{error}") from error
    check_size(picture.size, max_pixels=max_pixels, name=name)
    return picture
