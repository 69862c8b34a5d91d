"""A file that both can read is the same picture in a folder of pictures and as a scene."""

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsctir_hf.files.pictures import read_image
from rsctir_hf.geo.raster import open_raster, overview
from tests.files.deep_files import png16, reflectances, write_tiff

DEEP = reflectances(height=120, width=150)
EIGHT = (DEEP // 5).astype(np.uint8)
GREY = DEEP[..., 0]


def holed(values, fill):
    """Give a third of the pixels a value."""
    values = values.copy()
    values[:, :50] = fill
    return values


def described(*names):
    return lambda target: [target.set_band_description(n, name) for n, name in enumerate(names, 1)]


def coloured(target):
    target.write_colormap(1, {value: (value, 255 - value, 7, 255) for value in range(256)})


TIFFS = {
    "colours of 8 bits": (EIGHT, {"photometric": "RGB"}),
    "colours of 8 bits with nodata": (holed(EIGHT, 0), {"photometric": "RGB", "nodata": 0}),
    "colours of 16 bits": (DEEP, {"photometric": "RGB"}),
    "bands one behind the other": (DEEP, {"photometric": "RGB", "interleave": "band"}),
    "a chip of three bands": (DEEP, {}),
    "blue, green, red, nir": (
        np.dstack([DEEP[..., ::-1], GREY]),
        {"after": described("blue", "green", "red", "nir")},
    ),
    "blue, green, red, nir of 8 bits": (
        np.dstack([EIGHT[..., ::-1], holed(EIGHT[..., 0], 0)]),
        {"after": described("blue", "green", "red", "nir")},
    ),
    "nodata in one band": (np.dstack([holed(GREY, 0), DEEP[..., 1:]]), {"nodata": 0}),
    "alpha in part": (np.dstack([EIGHT, holed(GREY % 256, 9).astype(np.uint8)]), {"alpha": "YES"}),
    "Sentinel-2": (
        np.dstack([DEEP] * 4),
        {"after": described(*(f"B{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, "8A", 9, 11, 12)))},
    ),
    "bands without a name": (np.dstack([DEEP] * 4), {}),
    "alpha of 16 bits": (np.dstack([DEEP, holed(GREY, 0)]), {"photometric": "RGB", "alpha": "YES"}),
    "grey with alpha": (np.dstack([GREY, holed(GREY, 0)]), {"alpha": "YES"}),
    "grey with nodata": (holed(GREY, 65000), {"nodata": 65000}),
    "undeclared 65535": (holed(DEEP, 65535), {}),
    "undeclared -9999": (holed(DEEP / np.float32(1500), -9999), {}),
    "undefined": (holed(DEEP / np.float32(1500), np.nan), {}),
    "shares of 1": (DEEP / np.float32(5000), {}),
    "least is white": (GREY, {"photometric": "MINISWHITE"}),
    "least is white of 8 bits": (EIGHT[..., 0], {"photometric": "MINISWHITE"}),
    "palette of 16 bits": (GREY % 256, {"photometric": "palette", "after": coloured}),
    "palette of 8 bits": (EIGHT[..., 0], {"photometric": "palette", "after": coloured}),
    "two shades": (EIGHT[..., 0] // 128, {"nbits": 1}),
    "sixteen shades": (EIGHT[..., 0] // 16, {"nbits": 4}),
    "signed bytes": ((EIGHT[..., 0].astype(int) - 128).astype(np.int8), {}),
    "signed of 16 bits": ((DEEP.astype(int) - 300).astype(np.int16), {}),
    "CMYK": (np.dstack([EIGHT, EIGHT[..., 0]]), {"photometric": "CMYK"}),
    "LERC": (DEEP.astype(np.float32), {"compress": "LERC_ZSTD"}),
    "WEBP": (EIGHT, {"compress": "WEBP", "webp_lossless": True, "photometric": "RGB"}),
}


def difference(path):
    scene = np.asarray(overview(open_raster(path), side=10_000)).astype(int)
    return np.abs(np.asarray(read_image(path)) - scene)


@pytest.mark.parametrize("name", TIFFS)
def test_a_tiff_is_one_picture_both_ways(name, tmp_path):
    values, options = TIFFS[name]
    found = difference(write_tiff(tmp_path / "a.tif", values, **options))
    assert found.max() <= 1  # the mean colour may be rounded the other way
    assert found.mean() < 0.5


@pytest.mark.parametrize(
    "content",
    [
        png16(DEEP),
        png16(np.dstack([DEEP, np.where(holed(GREY, 0), 65535, 0)])),
        png16(DEEP[..., :1]),
    ],
    ids=["colour", "alpha", "grey"],
)
def test_a_png_of_sixteen_bits_is_one_picture_both_ways(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    assert difference(tmp_path / "a.png").max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_png_of_pillow_is_one_picture_both_ways(mode, tmp_path):
    picture = Image.fromarray(EIGHT)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(np.where(holed(GREY, 0), 255, 0).astype(np.uint8)))
    picture.convert(mode).save(tmp_path / "a.png")
    assert difference(tmp_path / "a.png").max() <= 1


def test_a_large_file_is_measured_at_the_same_pixels(tmp_path):
    large = np.kron(GREY, np.ones((11, 11), np.uint16)) + np.arange(1650, dtype=np.uint16)
    assert difference(write_tiff(tmp_path / "a.tif", large)).max() == 0


def test_a_mask_beside_a_file_counts_both_ways(tmp_path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        path = write_tiff(
            tmp_path / "a.tif", DEEP, after=lambda target: target.write_mask(holed(GREY, 0) > 0)
        )
    assert (tmp_path / "a.tif.msk").exists()
    assert difference(path).max() <= 1


@pytest.mark.parametrize("values", [DEEP, np.dstack([EIGHT, holed(EIGHT[..., 0], 0)])])
def test_deep_colours_and_four_bands_of_jpeg_2000_are_one_picture_both_ways(tmp_path, values):
    size = {"count": values.shape[2], "height": 120, "width": 150, "dtype": values.dtype}
    profile = {"driver": "JP2OpenJPEG", "reversible": "YES", "quality": "100", **size}
    with rasterio.open(tmp_path / "a.jp2", "w", **profile) as target:
        target.write(np.moveaxis(values, 2, 0))
    assert difference(tmp_path / "a.jp2").max() == 0
