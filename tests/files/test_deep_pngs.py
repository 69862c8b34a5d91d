"""A PNG of 16 bits gives what an array of its values does, opened by whomever."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from rsctir_hf.errors import ImageReadError
from rsctir_hf.files.pictures import picture_size, read_image
from tests.files.deep_files import png16, reflectances

DEEP = reflectances()
SHADES = np.asarray(read_image(DEEP))
QUARTER = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # EXIF's turn 6


def pixels(source):
    return np.asarray(read_image(source))


@pytest.mark.parametrize("interlaced", [False, True])
def test_small_values_use_the_whole_range(interlaced):
    read = pixels(png16(DEEP, interlaced=interlaced))
    np.testing.assert_array_equal(read, SHADES)
    assert (read.min(), read.max()) == (0, 255)
    assert DEEP.max() < 1200  # of which the upper byte is at most 4


def test_greys_are_read_as_before():
    np.testing.assert_array_equal(pixels(png16(DEEP[..., :1])), pixels(DEEP[..., 0]))


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_never_stretched_and_what_it_hides_never_counts(channels):
    alpha = np.full(DEEP.shape[:2], 65535, np.uint16)
    alpha[:, :20] = 0
    values = np.dstack([DEEP[..., :channels], alpha])
    values[:, :20, :channels] = 60_000
    read = pixels(png16(values))
    only = pixels(np.ascontiguousarray(DEEP[:, 20:, :channels]))
    np.testing.assert_array_equal(read[:, 20:], only)
    assert np.abs(read[:, :20] - only.reshape(-1, 3).mean(axis=0)).max() <= 0.5


def test_what_alpha_lets_through_in_part_keeps_its_colour():
    alpha = np.full(DEEP.shape[:2], 1, np.uint16)
    alpha[20:] = 65535
    np.testing.assert_array_equal(pixels(png16(np.dstack([DEEP, alpha]))), pixels(DEEP))


def test_a_transparent_colour_is_missing_data():
    values = DEEP.copy()
    values[:, :20] = (7, 8, 60_000)
    clear = np.array([7, 8, 60_000], ">u2").tobytes()
    read = pixels(png16(values, chunks=[(b"tRNS", clear)]))
    np.testing.assert_array_equal(read[:, 20:], pixels(DEEP[:, 20:]))


def test_exif_turns_it():
    read = pixels(png16(DEEP, chunks=[(b"eXIf", QUARTER)]))
    np.testing.assert_array_equal(read, np.rot90(SHADES, -1))


def test_a_picture_that_pillow_opened_is_read_from_its_file(tmp_path):
    (tmp_path / "a.png").write_bytes(png16(DEEP))
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(pixels(opened), SHADES)
        opened.load()
        np.testing.assert_array_equal(pixels(opened), SHADES)
    with Image.open(io.BytesIO(png16(DEEP))) as opened:
        np.testing.assert_array_equal(pixels(opened), SHADES)


def test_a_damaged_one_is_refused():
    content = png16(DEEP)
    with pytest.raises(ImageReadError, match="damaged"):
        read_image(content[: len(content) // 2])


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_megabyte_of_text_is_no_damage(tmp_path, place):
    text = PngImagePlugin.PngInfo()
    xmp = "<x:xmpmeta>" + "a" * 2_000_000 + "</x:xmpmeta>"
    text.add_itxt("XML:com.adobe.xmp", xmp, zip=True)
    if place == "behind":
        text = PngImagePlugin.PngInfo()
        text.add(b"zTXt", b"Comment\0\0" + zlib.compress(xmp.encode()), after_idat=True)
    picture = Image.fromarray((DEEP // 5).astype(np.uint8))
    picture.save(tmp_path / "a.png", pnginfo=text)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), np.asarray(picture))
    assert picture_size(tmp_path / "a.png") == (56, 40)
