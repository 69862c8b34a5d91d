"""Which bands of a raster or of a TIFF make a picture, and how the file wants them shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.errors import QueryError


def choose_bands(
    source: Any,  # noqa: ANN401
    bands: Sequence[int] | None = None,
) -> tuple[tuple[int, ...], str | None]:
    """Return the bands that make a picture, and what a user should know of the choice.

    Args:
        source: a dataset of rasterio.
        bands: one or three that a user named, counted from 1.

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
    if {"red", "green", "blue"} <= set(kinds):
        return tuple(kinds.index(colour) + 1 for colour in ("red", "green", "blue")), None
    seen = [number for number, kind in enumerate(kinds, start=1) if kind != "alpha"]
    note = (
        f"The file does not say which of its {source.count} bands are red, green and blue; the "
        "first three are taken. Give the right ones, such as bands 4,3,2 for Sentinel-2."
    )
    doubtful = source.count > 4 and "red" not in kinds
    return tuple(seen[:3] if len(seen) >= 3 else seen[:1] or [1]), note if doubtful else None


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
