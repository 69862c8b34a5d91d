"""The stretch: how numbers of more than 8 bits become 8-bit shades, in pictures and rasters alike.

- The 2nd and 98th percentile of all bands together become black and white, so that hues keep. They
  are measured on every n-th row and column where a side has more than ``SAMPLED_SIDE`` pixels.
- Alpha is no colour: it is never stretched, and counts as a mask.
- Pixels without data stay out of the percentiles and get the mean colour of the others. Data is
  missing where the file says so (nodata, mask, alpha 0), where a value is not finite, and, in a
  file that says nothing, where ``undeclared_nodata`` finds a fill value.
"""

import re

import numpy as np
from numpy.typing import NDArray

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

_NINES = re.compile(r"-99+")  # -99, -9999, -99999
_NAMED = (-32767.0, -32768.0, 65535.0)  # also where integers were stored as floats
_HUGE = 1e20  # fill values of netCDF and of climate data, and the limit of float32, lie beyond
_REST_PERCENTILES = (0.1, 99.9)  # pixels resampled between data and fill lie in the gap
_FEWEST_VALUES = 32  # of the rest; masks and maps of classes have fewer


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
    """Bring numbers to 0..255, ``low`` and what lies below to 0; undefined ones become 0 too."""
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


def fill_missing(colours: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
    """Give pixels of (H, W, 3) without data the mean colour of the others, in place."""
    if valid.any() and not valid.all():
        colours[~valid] = np.round(colours[valid].mean(axis=0)).astype(np.uint8)


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
