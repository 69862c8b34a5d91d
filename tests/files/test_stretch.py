"""Numbers become shades by one rule, and fill values that nobody declared are found."""

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.files import stretch
from rsctir_hf.files.stretch import (
    fill_missing,
    sample_step,
    stretch_range,
    stretch_to_bytes,
    undeclared_nodata,
)

PIXELS = 128 * 128
SHARES = np.linspace(0, 1, PIXELS)
RNG = np.random.default_rng(0)


def land(dtype=np.uint16, low=300, high=3000, bands=3):
    """Values as of a natural picture: bell-shaped with long tails, (bands, PIXELS)."""
    bell = RNG.beta(2, 5, (bands, PIXELS)) * (high - low) + low
    return bell.astype(dtype)


def covered(values, fill, share):
    """Give the first pixels a value in all bands."""
    values = values.copy()
    values[:, : round(share * PIXELS)] = fill
    return values


def test_the_range_is_that_of_two_percentiles_of_all_bands_together():
    # 0, 1 ... 100 twice: the 2nd and 98th percentile of the pool are 2 and 98.
    assert stretch_range(np.stack([np.arange(101), np.arange(101)])) == (2, 98)
    low, high = stretch_range(np.stack([np.zeros(101), np.full(101, 1000)]))
    assert (low, high) == (0, 1000)


def test_nearly_constant_values_keep_what_contrast_there_is():
    values = np.full(1000, 5.0)
    values[0] = 7.0
    assert stretch_range(values) == (5, 7)


def test_constant_undefined_and_no_values_are_black():
    for values in (np.full((4, 4), 7000), np.full((4, 4), np.nan), np.full((4, 4), np.inf)):
        assert not stretch_to_bytes(values, *stretch_range(values)).any()
    assert stretch_range(np.array([])) == (0, 1)


def test_shades_are_even_between_black_and_white():
    shades = stretch_to_bytes(np.array([-5, 0, 50, 100, 999, np.nan]), 0, 100)
    assert shades.tolist() == [0, 0, 128, 255, 255, 0]


def test_many_numbers_are_stretched_as_few_are(monkeypatch):
    values = land(np.float32).T
    at_once = stretch_to_bytes(values, 300, 3000)
    monkeypatch.setattr(stretch, "_AT_ONCE", 1000)
    np.testing.assert_array_equal(stretch_to_bytes(values, 300, 3000), at_once)
    wide = values.astype(np.uint16)
    np.testing.assert_array_equal(
        stretch_to_bytes(np.vstack([wide] * 2), 300, 3000)[:PIXELS],
        stretch_to_bytes(wide.astype(np.int32), 300, 3000),
    )


@pytest.mark.parametrize(("size", "step"), [((1, 1), 1), ((1024, 7), 1), ((7, 1025), 2)])
def test_large_pictures_are_measured_at_even_steps(size, step):
    assert sample_step(size) == step


def test_missing_pixels_get_the_mean_colour_of_the_others():
    shades = Image.fromarray(np.array([[[10, 20, 30], [11, 30, 50], [255, 0, 255]]], np.uint8))
    filled = np.asarray(fill_missing(shades, np.array([[True, True, False]])))
    assert filled[0, 2].tolist() == [10, 25, 40]  # 10.5 to the even one
    assert filled[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("values", "fill"),
    [
        (land(), 65535),
        (land(high=20_000), 65535),  # with bright clouds
        (land(), 65000),
        (land(bands=1), 65535),
        (land(bands=12), 65535),
        (land(np.float32, 0, 1), -9999),
        (land(np.float32, 0, 1), -32768),
        (land(np.float32, 0, 1), float(np.finfo(np.float32).min)),
        (land(np.float64, 0, 1), 9.96921e36),  # of netCDF
        (land(np.float32, 0, 3000, bands=1), -9999),  # heights
        (land(np.int16, -200, 3000), -32768),
        (land(np.int16, -200, 3000), -9999),
        (land(np.int32), -2147483648),
        (land(high=50_000, low=38_000), 0),  # temperatures of Landsat, zero outside
    ],
    ids=lambda part: f"{part.dtype}" if isinstance(part, np.ndarray) else f"{part:g}",
)
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
def test_a_fill_value_far_from_the_rest_is_found(values, fill, share):
    assert undeclared_nodata(covered(values, fill, share)) == fill


def test_undefined_values_do_not_hide_a_fill_value():
    values = covered(land(np.float32, 0, 1), -9999, 0.2)
    values[:, -50:] = np.nan
    assert undeclared_nodata(values) == -9999


def lamps():
    """A dark night with lamps that saturate in 3 % of the pixels, and their light around."""
    night = RNG.poisson(80, (3, PIXELS))
    night[:, : round(0.06 * PIXELS)] = RNG.uniform(100, 4095, round(0.06 * PIXELS))
    return covered(night.astype(np.uint16), 4095, 0.03)


@pytest.mark.parametrize(
    "values",
    [
        land(),
        covered(land(), 65535, 0.01),  # too rare to move the stretch
        np.minimum(land(high=90_000, dtype=np.float64) * 3, 65535).astype(np.uint16),  # clouds
        covered(land(low=1500), 0, 0.6),  # the sea
        covered(land(), 4095, 0.2),  # a sensor that saturates not far from the rest
        covered(land(), 12_000, 0.05),  # a white roof
        lamps(),
        np.where(SHARES < 0.5, 0, 65535).astype(np.uint16)[None],  # a mask
        covered((SHARES * 20).astype(np.uint16)[None], 65535, 0.1),  # a map of classes
        np.where(np.arange(3)[:, None] == 1, land(low=28_000, high=32_000), 0),  # one vivid colour
        np.full((3, PIXELS), 7.0),
        np.full((3, PIXELS), np.nan),
        np.zeros((3, 0)),
    ],
    ids=lambda _: "",
)
def test_nothing_else_is_mistaken_for_a_fill_value(values):
    assert undeclared_nodata(values) is None
