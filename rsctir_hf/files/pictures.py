"""Reading pictures: any file, array or PIL image becomes an 8-bit RGB picture or a clear error.

Rules, in the order they are applied:

- EXIF orientation is applied.
- An animation gives its first frame.
- Transparency (palette, grey or RGB with alpha) is laid over black, the usual no-data value of
  remote-sensing pictures.
- Grey values of more than 8 bits, and arrays of 16 bits or of float values, are stretched so that
  the 2nd and 98th percentile become 0 and 255. Floats that already lie in 0..1 are only scaled.
- CMYK and the other 8-bit colour modes are converted by Pillow.

Pillow's guard against decompression bombs stays as it is.
"""

import io
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rsctir_hf.errors import ImageReadError, QueryError
from rsctir_hf.files.listing import list_files
from rsctir_hf.files.names import as_text, named_path
from rsctir_hf.files.stretch import stretch_range, stretch_to_bytes

logger = logging.getLogger(__name__)

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

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif", ".bmp"))
IMAGE_SUFFIXES |= frozenset((".dib", ".gif", ".jp2", ".ppm", ".pgm"))
# Named one by one: Pillow also opens EPS, which it hands to Ghostscript, and other formats that
# nobody stores imagery in.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "AVIF")
_WIDE_MODES = frozenset(("I", "F", "I;16", "I;16B", "I;16L", "I;16N"))
_ALPHA_MODES = frozenset(("RGBA", "LA", "PA", "La", "RGBa"))
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
        ImageReadError: the source is missing, empty, no picture, damaged, too small or too large.
    """
    name = name or _describe(source)
    if isinstance(source, np.ndarray):
        picture = _from_array(source, name)
        check_size(picture.size, max_pixels=max_pixels, name=name)
        return _flatten(picture)
    try:
        picture = source if isinstance(source, Image.Image) else _open(source, name)
        check_size(picture.size, max_pixels=max_pixels, name=name)
        return _decode(picture)
    except ImageReadError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(f"{error}", max_pixels, name) from error
    except Image.UnidentifiedImageError as error:
        raise ImageReadError(
            f"{name} is not a picture in a known format. Expected one of "
            f"{', '.join(_FORMATS)}. Convert it to an 8-bit RGB PNG or JPEG file first; for "
            "a scene of more than four bands choose three of them (gdal_translate -b 1 -b 2 -b 3)."
        ) from error
    except _DECODER_ERRORS as error:
        raise ImageReadError(
            f"{name} is damaged or cut short and cannot be decoded ({error}). "
            "Copy or download the file again, or leave it out."
        ) from error


def list_images(folder: str | Path) -> list[Path]:
    """List the picture files below a folder; see ``listing.list_files``."""
    return list_files(folder, IMAGE_SUFFIXES, what="pictures")


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """Return (W, H) of a picture file as it is stored, or None where it cannot be opened."""
    try:
        with Image.open(named_path(path), formats=_FORMATS) as picture:
            return picture.size
    except _DECODER_ERRORS:
        return None


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


def _open(source: str | Path | bytes, name: str) -> Image.Image:
    if isinstance(source, bytes):
        content: Path | io.BytesIO = io.BytesIO(source)
        size = len(source)
    elif isinstance(source, str | Path):
        content = Path(named_path(source))
        if not content.is_file():
            raise ImageReadError(f"{name} is not a file. Give the path of a picture.")
        size = content.stat().st_size
    else:
        raise ImageReadError(
            f"{name} cannot be read as a picture. Expected a path, bytes, a PIL image or an array."
        )
    if size == 0:
        raise ImageReadError(f"{name} is empty (0 bytes). Copy or download the file again.")
    return Image.open(content, formats=_FORMATS)


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


def _decode(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    if picture.format == "JPEG" and width * height > DRAFT_PIXELS:
        scale = next((s for s in (2, 4) if width * height <= DRAFT_PIXELS * s * s), 8)
        picture.draft(None, (width // scale, height // scale))
        logger.info("A JPEG of %d x %d px is read at %d x %d px", width, height, *picture.size)
    picture.load()
    return _flatten(ImageOps.exif_transpose(picture))


def _flatten(picture: Image.Image) -> Image.Image:
    """Bring any Pillow mode to RGB."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode in _WIDE_MODES:
        return Image.fromarray(_array_to_bytes(np.asarray(picture), picture.mode)).convert("RGB")
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        # Pillow turns premultiplied grey (La) into LA only.
        layer = picture.convert("LA") if picture.mode == "La" else picture
        layer = layer if layer.mode == "RGBA" else layer.convert("RGBA")
        ground = Image.new("RGB", layer.size)
        ground.paste(layer, mask=layer.getchannel("A"))  # takes half the memory of a composite
        return ground
    return picture.convert("RGB")


def _from_array(array: NDArray, name: str) -> Image.Image:
    values = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise ImageReadError(
            f"{name} is not laid out as a picture. Expected (height, width) or "
            "(height, width, 3 or 4); move the channels last and choose three bands."
        )
    if values.size == 0:
        raise ImageReadError(f"{name} is empty. Expected at least {MIN_SIDE} pixels a side.")
    return Image.fromarray(np.ascontiguousarray(_array_to_bytes(values, name)))


def _array_to_bytes(values: NDArray, name: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise ImageReadError(f"{name} does not hold numbers. Expected integers or floats.")
    colours = values[..., :3] if values.ndim == 3 else values  # alpha of wide arrays: dropped
    if np.issubdtype(values.dtype, np.floating):
        finite = colours[np.isfinite(colours)]
        if finite.size and finite.min() >= 0.0 and finite.max() <= 1.0:
            known = np.nan_to_num(colours, posinf=0, neginf=0)
            return (known * 255.0 + 0.5).astype(np.uint8)
    return stretch_to_bytes(colours, *stretch_range(colours))
