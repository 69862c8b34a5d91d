# Copied from rsctir_hf.files.stretch
"""Shades: how pictures and numbers of any kind become 8-bit RGB, in pictures and rasters alike.

- 8-bit values stay as they are. All others are stretched: the 2nd and 98th percentile of all bands
  together become black and white, so that hues keep. They are measured on every n-th row and column
  where a side has more than ``SAMPLED_SIDE`` pixels.
- Arrays of floats that lie in 0..1 are only scaled: so libraries hand on pictures. In a file they
  are reflectances, say, and stretched.
- Pixels without data stay out of the percentiles and get the mean colour of the others. Data is
  missing where alpha is 0, where the file says so (nodata, a mask), where a value is not finite,
  and, in a file that says nothing, where ``undeclared_nodata`` finds a fill value.
- Alpha is no colour and says nothing else: what it lets through in part keeps its own colour, as in
  ``Image.convert``. Programs declare near infrared as alpha where four bands have 8 bits.
- What EXIF calls turned is put upright; an animation gives its first frame.

Model folders hold copies of this file, so that their processors see what an index saw.
"""

import io
import logging
import os
import re
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageStat

logger = logging.getLogger(__name__)

#: Percentiles that become black and white.
STRETCH_PERCENTILES = (2.0, 98.0)
#: Pixels along the longer side that the percentiles are measured on, at most.
SAMPLED_SIDE = 1024
#: A fill value covers at least this share of the pixels: what is rarer the percentiles leave out.
FILL_SHARE = 0.02
#: What programs write where data is missing lies as far from the rest as the rest is wide.
FAR_NAMED = 1.0
#: 0 may be the sea or a shadow, so it has to lie farther off; any other value, such as one that a
#: sensor saturates at, farther still.
FAR_ZERO, FAR_OTHER = 3.0, 10.0
ORIENTATION_TAG = 0x0112  # of EXIF and TIFF
#: Pillow's modes of one channel with more than 8 bits.
WIDE_MODES = frozenset(("I", "F", "I;16", "I;16B", "I;16L", "I;16N"))

_ALPHA_MODES = frozenset(("RGBA", "LA", "PA", "La", "RGBa"))
_BITS_TAG, _PHOTOMETRIC_TAG = 258, 262
_SAMPLE_FORMAT_TAG, _NODATA_TAG = 339, 42113  # the second is GDAL's
_AT_ONCE = 2**22  # numbers that are stretched at once, which takes several times their memory
_HEAD = 4096  # bytes of a file in which its header says how many bits a channel has

_NINES = re.compile(r"-99+")  # -99, -9999, -99999
_NAMED = (-32767.0, -32768.0, 65535.0)  # also where integers were stored as floats
_HUGE = 1e20  # fill values of netCDF and of climate data, and the limit of float32, lie beyond
_REST_PERCENTILES = (0.1, 99.9)  # pixels resampled between data and fill lie in the gap
_FEWEST_VALUES = 32  # of the rest; masks and maps of classes have fewer
_TOLD: set[float] = set()  # fill values that a warning was given of


class UnfitPictureError(ValueError):
    """A picture or an array of which no true RGB picture can be made here."""


def sample_step(size: tuple[int, int]) -> int:
    """Return which rows and columns of (W, H) pixels the stretch is measured on: every n-th."""
    return -(-max(size) // SAMPLED_SIDE)


def stretch_range(values: NDArray) -> tuple[float, float]:
    """Return the numbers that become black and white.

    Args:
        values: of all bands, those that are data only, in any shape.
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return 0.0, 1.0
    low, high = np.percentile(numbers, STRETCH_PERCENTILES)
    if high <= low:  # nearly everything is one value: keep what little contrast there is
        low, high = numbers.min(), numbers.max()
    return float(low), float(max(high, low + max(abs(low), 1.0) * 1e-6))


def stretch_to_bytes(values: NDArray, low: float, high: float) -> NDArray[np.uint8]:
    """Bring numbers to 0..255: ``low``, which may be the larger, to 0; undefined ones too."""
    if values.dtype == np.uint16 and values.size > 2**16:  # a table takes a tenth of the time
        return stretch_to_bytes(np.arange(2**16, dtype=np.uint16), low, high)[values]
    if values.size > _AT_ONCE and len(values) > 1:
        parts = np.array_split(values, min(-(-values.size // _AT_ONCE), len(values)))
        return np.concatenate([stretch_to_bytes(part, low, high) for part in parts])
    numbers = np.nan_to_num(np.asarray(values, np.float32), nan=low, posinf=low, neginf=low)
    shares = np.clip((numbers - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return (shares * 255.0 + 0.5).astype(np.uint8)


def undeclared_nodata(values: NDArray) -> float | None:
    """Return the value that stands for missing data in a file that declares none, or None.

    It is the least or the largest value; whole pixels have it, at least ``FILL_SHARE`` of them; and
    nothing but resampled pixels lies near it. The gap to the others is measured in their width (of
    99.8 % of them): more than ``FAR_NAMED`` for what programs write as fill (-9999 and its like,
    the limits of integer types, numbers beyond 1e20), ``FAR_ZERO`` for 0, ``FAR_OTHER`` for any
    other. So clouds that saturate, the sea at 0, lamps in the night and masks are no fill values:
    other values lead up to them, they are rare or they lie near, or the rest is a few values only.
    8-bit values are shown as they are; nobody needs to ask for them.

    Args:
        values: (bands, n), at pixels that count as data so far.
    """
    pixels = values[:, np.isfinite(values).all(axis=0)]
    for value in (pixels.min(), pixels.max()) if pixels.size else ():
        filled = (pixels == value).all(axis=0)
        if FILL_SHARE <= filled.mean() < 1 and _lies_far(value, pixels[:, ~filled]):
            return float(value)
    return None


def fill_missing(
    shades: Image.Image, known: NDArray[np.bool_], name: str = "the picture"
) -> Image.Image:
    """Give an RGB picture the mean colour of its pixels with data, ``known`` (H, W), elsewhere.

    Raises:
        UnfitPictureError: there are none.
    """
    if known.all():
        return shades
    if not known.any():
        raise UnfitPictureError(
            f"{name} holds no data: every pixel is marked as missing (nodata, mask, alpha or NaN)."
        )
    seen = _image(known)
    mean = ImageStat.Stat(shades, seen).mean
    ground = Image.new("RGB", shades.size, tuple(round(each) for each in mean))
    ground.paste(shades, mask=seen)
    return ground


def numbers_to_rgb(
    values: NDArray,
    known: NDArray[np.bool_] | None = None,
    *,
    limits: tuple[float, float] | None = None,
    declared: bool = False,
    name: str = "a picture",
) -> Image.Image:
    """Make an RGB picture of numbers.

    Args:
        values: (H, W) or (H, W, 3), real.
        known: (H, W), or as ``values``: which are data. One band of a pixel is enough to show it.
        limits: what becomes black and white, where that is known; 8-bit values need none.
        declared: ``known`` says all; no fill value is looked for.
        name: what the log and errors call it.

    Raises:
        UnfitPictureError: no pixel is data.
    """
    if values.dtype == np.uint8 and known is None and limits in (None, (0, 255)):
        return _image(values).convert("RGB")
    bands = np.atleast_3d(values)
    there = np.isfinite(bands).all(axis=2, keepdims=True)  # (H, W, 1)
    there = there if known is None else there & np.atleast_3d(known)
    if limits is None and values.dtype != np.uint8:
        step = sample_step((values.shape[1], values.shape[0]))
        sample = bands[::step, ::step]
        kept = np.broadcast_to(there[::step, ::step], sample.shape)
        fill = None if declared else undeclared_nodata(sample[kept.any(axis=2)].T)
        if fill is not None:
            tell_of_fill(name, fill)
            there, kept = there & (bands != fill), kept & (sample != fill)
        limits = stretch_range(sample[kept])
    shades = values if limits in (None, (0, 255)) else stretch_to_bytes(values, *limits)
    return fill_missing(_image(shades).convert("RGB"), there.any(axis=2), name)


def array_to_rgb(array: NDArray, name: str = "the array") -> Image.Image:
    """Make an RGB picture of (H, W), (H, W, 1), (H, W, 3), or (H, W, 4) with alpha last.

    Raises:
        UnfitPictureError: another layout, nothing in it, or no real numbers; ``name`` says of what.
    """
    values = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise UnfitPictureError(
            f"{name} is not laid out as a picture. Expected (height, width) or "
            "(height, width, 3 or 4); move the channels last and choose three bands."
        )
    if values.size == 0:
        raise UnfitPictureError(f"{name} is empty. Expected at least one pixel.")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise UnfitPictureError(f"{name} does not hold numbers. Expected integers or floats.")
    colours, known = values, None
    if values.ndim == 3 and values.shape[2] == 4:
        colours, known = values[..., :3], values[..., 3] > 0
    finite = np.isfinite(colours)
    unit = (
        np.issubdtype(values.dtype, np.floating)
        and finite.any()
        and colours.min(where=finite, initial=0.0) >= 0.0
        and colours.max(where=finite, initial=1.0) <= 1.0
    )
    return numbers_to_rgb(colours, known, limits=(0.0, 1.0) if unit else None, name=name)


def picture_to_rgb(picture: Image.Image, name: str = "the picture") -> Image.Image:
    """Bring a Pillow picture of any mode to RGB, upright; what is so already comes back itself.

    Of a colour PNG of 16 bits Pillow keeps the upper bytes, nearly black where values are small; so
    its file is read again, as long as the picture knows it.

    Raises:
        UnfitPictureError: another file of more than 8 bits a channel, of which Pillow keeps less.
    """
    if picture.mode not in WIDE_MODES and (bits := channel_bits(picture)) > 8:
        if picture.format == "PNG":
            return _deep_png(content_of(picture), name)
        raise UnfitPictureError(
            f"{name} has {bits} bits a channel, and Pillow keeps 8 of them or misreads it. Install "
            "rasterio (pip install 'rsctir_hf[geo]') and give rsctir_hf the file's path, or read "
            "it with rasterio and hand over an array (height, width, 3)."
        )
    picture.load()
    tags = getattr(picture, "tag_v2", {})
    nodata = _number(tags.get(_NODATA_TAG))
    if picture.mode in WIDE_MODES:
        values = np.asarray(picture)
        nodata = picture.info.get("transparency") if nodata is None else nodata
        known = None if nodata is None else np.asarray(values != nodata)
        flat = numbers_to_rgb(values, known, declared=nodata is not None, name=name)
        flat = ImageOps.invert(flat) if tags.get(_PHOTOMETRIC_TAG) == 0 else flat
    else:
        flat = _flat(picture, name)
        if nodata is not None:
            known = np.atleast_3d(np.asarray(picture) != nodata)
            flat = numbers_to_rgb(np.asarray(flat), np.asarray(known.any(axis=2)), name=name)
    orientation = picture.getexif().get(ORIENTATION_TAG, 1)
    if flat is picture:
        return picture if orientation == 1 else ImageOps.exif_transpose(picture)
    return upright(flat, orientation)


def upright(shades: Image.Image, orientation: int) -> Image.Image:
    """Turn a new picture as EXIF's number of the file that it was made of says."""
    shades.getexif()[ORIENTATION_TAG] = orientation
    return ImageOps.exif_transpose(shades)


def channel_bits(picture: Image.Image) -> int:
    """Return how many bits a channel has in the file behind a picture; 8 where nobody can tell."""
    tags = getattr(picture, "tag_v2", None)
    if tags is not None:
        signed = 2 in tags.get(_SAMPLE_FORMAT_TAG, ())  # bytes of -128..127, which Pillow misreads
        return max(tags.get(_BITS_TAG, (1,))) + signed
    if picture.format not in ("PNG", "JPEG2000", "PPM"):
        return 8
    head = content_of(picture, _HEAD)
    if picture.format == "PNG" and len(head) > 24:
        return head[24]
    if picture.format == "PPM" and head[:2] in (b"P3", b"P6"):
        words = re.sub(rb"#[^\n]*", b"", head).split()
        return int(words[3]).bit_length()
    box, size = head.find(b"ihdr"), head.find(b"\xff\x4f\xff\x51")
    place = box + 14 if box >= 0 else size + 42  # of JPEG 2000: its header box, or its codestream
    deep = picture.format == "JPEG2000" and max(box, size) >= 0 and place < len(head)
    return (head[place] & 0x7F) + 1 if deep else 8


def content_of(picture: Image.Image, most: int = -1) -> bytes:
    """Return the file behind a picture, or its first bytes; nothing where it is not known."""
    stream, path = getattr(picture, "fp", None), getattr(picture, "filename", "")
    if stream is not None and not stream.closed:
        place = stream.tell()
        stream.seek(0)
        content = stream.read(most)
        stream.seek(place)
        return content
    if not path or not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(most)


def tell_of_fill(name: str, fill: float) -> None:
    """Say which value is taken for missing data; once aloud for each value."""
    logger.log(
        logging.DEBUG if fill in _TOLD else logging.WARNING,
        "%s: the value %g covers part of it and lies far outside all others, so it is taken for "
        "missing data, here and in others. Declare it to be sure: gdal_edit.py -a_nodata %g FILE.",
        name,
        fill,
        fill,
    )
    _TOLD.add(fill)


def _flat(picture: Image.Image, name: str) -> Image.Image:
    """Bring a picture of 8 bits a channel to RGB; it comes back itself where it is RGB already."""
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        # Pillow turns premultiplied grey (La) into LA only.
        layer = picture.convert("LA") if picture.mode == "La" else picture
        layer = layer if layer.mode == "RGBA" else layer.convert("RGBA")
        return fill_missing(layer.convert("RGB"), np.asarray(layer.getchannel("A")) > 0, name)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _deep_png(content: bytes, name: str) -> Image.Image:
    """Read a PNG of 16 bits and several channels.

    Pillow unpacks either byte of a colour: the upper by its rawmode ``16B``, the lower by ``16L``.
    Grey with alpha has no such, but its four bytes are those of an 8-bit RGBA picture.
    """
    values: NDArray[Any]
    if content[25] == 4:
        header = content[12:24] + b"\x08\x06" + content[26:29]
        content = content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]
        picture = Image.open(io.BytesIO(content), formats=["PNG"])
        values = np.asarray(picture).view(">u2").astype(np.uint16)
    else:
        values = np.zeros((), np.uint16)
        for order in "BL":
            picture = Image.open(io.BytesIO(content), formats=["PNG"])
            picture.tile = [picture.tile[0]._replace(args=f"{picture.mode};16{order}")]
            values = values << 8 | np.asarray(picture).astype(np.uint16)
    known, clear = None, picture.info.get("transparency")
    if values.shape[2] != 3:
        values, known = values[..., :-1], values[..., -1] > 0
    elif clear is not None:
        known = (values != clear).any(axis=2)
    colours = values if values.shape[2] == 3 else values[..., 0]
    shades = numbers_to_rgb(colours, known, declared=known is not None, name=name)
    return upright(shades, picture.getexif().get(ORIENTATION_TAG, 1))


def _image(values: NDArray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(values))


def _number(text: Any) -> float | None:  # noqa: ANN401 - whatever a tag of a file holds
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def _lies_far(value: np.generic, rest: NDArray) -> bool:
    low, high = np.percentile(rest.astype(np.float64), _REST_PERCENTILES)
    number = float(value)
    gap = max(low - number, number - high)
    far = FAR_NAMED if _is_named(value) else FAR_OTHER if number else FAR_ZERO
    return bool(gap > far * (high - low)) and len(np.unique(rest)) >= _FEWEST_VALUES


def _is_named(value: np.generic) -> bool:
    number = float(value)
    if isinstance(value, np.integer):
        limits = np.iinfo(value)
        if number and number in (limits.min, limits.max):
            return True
    nines = number.is_integer() and _NINES.fullmatch(f"{number:.0f}")
    return bool(nines) or number in _NAMED or abs(number) >= _HUGE
