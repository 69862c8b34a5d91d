"""Which bands of a raster or of a TIFF make a picture, and how the file wants them shown.

Red, green and blue are found by the file's colours, by the names of its bands, or by wavelengths.
Names come before red, green, blue and alpha in this order: programs declare that of three and four
bands of 8 bits, unasked.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.errors import QueryError

COLOURS = ("red", "green", "blue")
Bands = tuple[int, ...]

# Words that turn a colour's name into another band's: near infrared, red edge, coastal blue.
_OTHERS = frozenset(("edge", "nir", "ir", "infra", "infrared", "near", "coastal", "deep", "ultra"))
_WORDS = re.compile(r"[a-z]+|\d+[a-z]?|[^\W\d_]+")
_CODE = re.compile(r"(?:^|[^a-z0-9])(?:b|band)[ _-]?0?(\d{1,2})(?![a-z0-9])")
_COUNT = re.compile(r"(layer|band|channel|b)?[ _-]?\d+", re.IGNORECASE)  # names that say nothing
_OPAQUE = re.compile(r"alpha|mask|opa|trans|valid|^a$")
_LETTER = re.compile(r"(?:band[ _-]*)?([rgb])")
#: Numbers of the bands that are red, green and blue: of Sentinel-2 and Landsat 8 and 9, and of
#: Landsat 4 to 7, which have bands 5 and 7 but no 6 among those of one resolution.
_CODES, _CODES_OF_OLD = (4, 3, 2), (3, 2, 1)
_OLD = re.compile(r"L[ETM]0?[4-7]_|LANDSAT[ _-]?[4-7]", re.IGNORECASE)
#: Planet's file names say how many bands there are; those of four are named nowhere else.
_PLANET = re.compile(r"_AnalyticMS(?!.*_8b)", re.IGNORECASE)
_NANOMETRES = (660.0, 560.0, 480.0)
_NEAR = 50.0  # nanometres from them at most


def choose_bands(
    source: Any,  # noqa: ANN401
    bands: Sequence[int] | None = None,
) -> tuple[Bands, str | None]:
    """Return the one or three bands that make a picture, and what a user should know of them.

    Args:
        source: an open dataset of rasterio.
        bands: those asked for, counted from 1.

    Raises:
        QueryError: there are no such bands.
    """
    if bands is not None:
        if len(bands) not in (1, 3) or not all(1 <= band <= source.count for band in bands):
            raise QueryError(
                f"The bands are {', '.join(map(str, bands))}; expected one or three from 1 to "
                f"{source.count}, red first, such as 4,3,2."
            )
        return tuple(bands), None
    kinds = [kind.name for kind in source.colorinterp]
    seen = tuple(number for number, kind in enumerate(kinds, start=1) if kind != "alpha")
    by_colour = _places(kinds, COLOURS)
    for found, why in (
        (by_colour if by_colour != (1, 2, 3) else None, "as the file says"),
        (_by_name(source), "by their names"),
        (by_colour, "as the file says"),
        (_by_wavelength(source), "by their wavelengths"),
    ):
        if found is not None:
            return found, None if found == (1, 2, 3) else f"{in_words(found)}, {why}."
    taken = seen[:3] if len(seen) >= 3 else seen[:1] or (1,)
    names = [name for name in source.descriptions if name and not _COUNT.fullmatch(name)]
    if len(seen) <= 1 or (len(seen) == 3 and not names):
        return taken, None
    said = f"names {', '.join(names[:4])}" if names else f"has {source.count} bands"
    return taken, (
        f"{in_words(taken)}: the file {said} and does not say which are red, green and blue. Give "
        "the right ones, such as bands 4,3,2 for Sentinel-2."
    )


def in_words(bands: Bands) -> str:
    """Say which bands a picture is made of."""
    if len(bands) == 1:
        return f"Band {bands[0]} is shown as grey"
    return f"Bands {', '.join(map(str, bands))} are shown as red, green and blue"


def mask_kinds(source: Any, bands: Bands) -> set[str]:  # noqa: ANN401
    """Return how the file says where these bands have data: ``nodata``, ``alpha``, a mask; or not.

    Alpha of another name, such as near infrared, says nothing.
    """
    flags = [{flag.name for flag in source.mask_flag_enums[band - 1]} for band in bands]
    for name, kind in zip(source.descriptions, source.colorinterp, strict=True):
        named = name and (_by_name(source) or not _COUNT.fullmatch(name))
        if kind.name == "alpha" and named and not _OPAQUE.search(name.lower()):
            flags = [each for each in flags if "alpha" not in each]
    return set().union(*flags) - {"all_valid"}


def palette_of(source: Any, bands: tuple[int, ...]) -> NDArray[np.uint8] | None:  # noqa: ANN401
    """Return the colours (256 or 65536, 3) of a paletted band of 8 or 16 bits, or None."""
    kind, number = source.colorinterp[bands[0] - 1].name, source.dtypes[bands[0] - 1]
    if len(bands) > 1 or kind != "palette" or number not in ("uint8", "uint16"):
        return None
    table = np.zeros((np.iinfo(number).max + 1, 3), np.uint8)
    for value, colour in source.colormap(bands[0]).items():
        table[value] = colour[:3]
    return table


def known_limits(source: Any, bands: tuple[int, ...]) -> tuple[float, float] | None:  # noqa: ANN401
    """Return the values that are black and white whatever the pixels hold, or None.

    Those are 0 and 255 of 8 bits, 0 and the largest of fewer.
    """
    if {source.dtypes[band - 1] for band in bands} != {"uint8"}:
        return None
    bits = source.tags(bands[0], ns="IMAGE_STRUCTURE").get("NBITS", "8")
    return 0.0, 2.0 ** int(bits) - 1


def shows_least_as_white(source: Any) -> bool:  # noqa: ANN401
    """Return whether the least value is white (TIFF's MINISWHITE); a palette has the last word."""
    structure = source.tags(ns="IMAGE_STRUCTURE")
    return structure.get("MINISWHITE") == "YES" and source.colorinterp[0].name != "palette"


def _by_name(source: Any) -> Bands | None:  # noqa: ANN401
    names = [(name or "").lower() for name in source.descriptions]
    words = [set(_WORDS.findall(name)) for name in names]
    plain = [
        next((c for c in COLOURS if c in found and not found & _OTHERS), "") for found in words
    ]
    letters = [match[1] if (match := _LETTER.fullmatch(name)) else "" for name in names]
    codes = [int(match[1]) if (match := _CODE.search(name)) else 0 for name in names]
    if codes == [*range(1, len(codes) + 1)] and len(codes) < 7:
        codes = []  # they only count
    old = {5, 7} <= set(codes) and not {6, 8} & set(codes)
    old = old or bool(_OLD.search(f"{source.name} {' '.join(source.tags().values())}"))
    planet = source.count == 4 and _PLANET.search(source.name)
    return (
        _places(names, COLOURS)
        or _places(plain, COLOURS)
        or _places(letters, "rgb")
        or _places(codes, _CODES_OF_OLD if old else _CODES)
        or ((3, 2, 1) if planet else None)
    )


def _by_wavelength(source: Any) -> Bands | None:  # noqa: ANN401
    known = {}
    for band in range(1, source.count + 1):
        tags = source.tags(band)
        text = tags.get("wavelength") or source.tags(band, ns="IMAGERY").get(
            "CENTRAL_WAVELENGTH_UM", ""
        )
        if number := re.match(r"\d+(\.\d+)?", text.strip()):
            known[band] = float(number[0]) * (1 if float(number[0]) > 100 else 1000)
    if not known:
        return None
    nearest = [min(known, key=lambda band: abs(known[band] - goal)) for goal in _NANOMETRES]
    off = max(abs(known[b] - goal) for b, goal in zip(nearest, _NANOMETRES, strict=True))
    return tuple(nearest) if off <= _NEAR and len(set(nearest)) == 3 else None


def _places(found: Sequence[Any], wanted: Sequence[Any]) -> Bands | None:
    """Return where each of ``wanted`` first stands, counted from 1, if all do."""
    if not set(wanted) <= set(found):
        return None
    return tuple(found.index(each) + 1 for each in wanted)
