"""TIFF and its like give the pixels that are in them, whatever Pillow makes of them."""

import sys

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsctir_hf.errors import ImageReadError, MissingDependencyError
from rsctir_hf.files.gdal_pictures import driver_of, require_rasterio
from rsctir_hf.files.pictures import picture_size, read_image
from tests.files.deep_files import png16, reflectances, write_tiff

DEEP = reflectances()
SHADES = np.asarray(read_image(DEEP))
EIGHT = (DEEP // 5).astype(np.uint8)


def pixels(source):
    return np.asarray(read_image(source))


@pytest.fixture
def without_rasterio(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (np.uint16, {"photometric": "RGB"}),
        (np.uint16, {"interleave": "band"}),
        (np.uint16, {"interleave": "band", "photometric": "RGB"}),
        (np.uint16, {"photometric": "RGB", "compress": "deflate", "predictor": 2}),
        (np.uint16, {"nbits": 12}),
        (np.uint16, {"bigtiff": "YES"}),
        (np.int16, {"photometric": "RGB"}),
        (np.int32, {"tiled": True, "blockxsize": 16, "blockysize": 16}),
        (np.uint32, {}),
        (np.float32, {"compress": "LERC_ZSTD"}),
        (np.float32, {"compress": "zstd"}),
        (np.float64, {"interleave": "band"}),
    ],
    ids=str,
)
def test_colours_of_more_than_eight_bits_are_those_of_the_array(tmp_path, kind, options):
    path = write_tiff(tmp_path / "a.tif", DEEP.astype(kind), **options)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(pixels(source), SHADES)
    assert picture_size(path) == (56, 40)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interleave": "band"},
        {"compress": "lzw", "tiled": True},
        {"compress": "WEBP", "webp_lossless": True},
        {"compress": "LERC"},
    ],
    ids=str,
)
def test_eight_bit_colours_stay_as_they_are(tmp_path, options):
    path = write_tiff(tmp_path / "a.tif", EIGHT, photometric="RGB", **options)
    np.testing.assert_array_equal(pixels(path), EIGHT)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_what_pillow_writes_is_read_as_pillow_reads_it(tmp_path, mode, compression, monkeypatch):
    picture = Image.fromarray(EIGHT).convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    through_gdal = pixels(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert np.abs(through_gdal.astype(int) - pixels(tmp_path / "a.tif")).max() <= 1


def test_a_jpeg_in_a_tiff_has_the_colours_of_the_picture(tmp_path):
    flat = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    path = write_tiff(tmp_path / "a.tif", flat, photometric="YCBCR", compress="JPEG")
    assert np.abs(pixels(path).astype(int) - flat).max() <= 4


def test_the_first_page_is_the_picture(tmp_path):
    pages = [Image.fromarray(np.full((16, 16, 3), shade, np.uint8)) for shade in (10, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert pixels(tmp_path / "a.tif").mean() == 10


def test_a_turned_tiff_is_put_upright(tmp_path):
    Image.fromarray(EIGHT).save(tmp_path / "a.tif", tiffinfo={274: 6})
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), np.rot90(EIGHT, -1))


def test_a_turned_tiff_that_pillow_cannot_open_is_put_upright(tmp_path):
    content = bytearray(write_tiff(tmp_path / "a.tif", DEEP).read_bytes())
    # GDAL writes no orientation: the entry that says what is the default anyway, values pixel by
    # pixel (284), becomes one of it (274), a quarter turn.
    entry = content.find((284).to_bytes(2, "little") + b"\x03\0\x01\0\0\0")
    content[entry : entry + 2] = (274).to_bytes(2, "little")
    content[entry + 8] = 6
    np.testing.assert_array_equal(pixels(bytes(content)), np.rot90(SHADES, -1))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_greys_of_fewer_bits_use_the_whole_range(tmp_path, bits):
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2**bits
    path = write_tiff(tmp_path / "a.tif", values, nbits=bits)
    expected = np.round(values * 255.0 / (2**bits - 1)).astype(np.uint8)
    np.testing.assert_array_equal(pixels(path)[..., 0], expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_where_the_least_is_white_the_largest_is_black(tmp_path, kind):
    values = DEEP[..., 0].astype(kind) if kind != np.uint8 else EIGHT[..., 0]
    path = write_tiff(tmp_path / "a.tif", values, photometric="MINISWHITE")
    np.testing.assert_array_equal(pixels(path), 255 - pixels(values))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_palettes_give_their_colours(tmp_path, kind):
    values = np.arange(64, dtype=kind).reshape(8, 8)
    colours = {value: (value, 255 - value, 7, 255) for value in range(64)}
    path = write_tiff(
        tmp_path / "a.tif",
        values,
        photometric="palette",
        after=lambda target: target.write_colormap(1, colours),
    )
    expected = np.stack([values, 255 - values, np.full_like(values, 7)], axis=2)
    np.testing.assert_array_equal(pixels(path), expected)


@pytest.mark.parametrize("bands", [DEEP, DEEP[..., 0]], ids=["colour", "grey"])
def test_declared_nodata_stays_out_of_the_stretch(tmp_path, bands):
    bands = np.where(bands == 700, 701, bands).astype(np.uint16)
    bands[:, :10] = 700  # among the values, so that nothing could tell by itself
    read = pixels(write_tiff(tmp_path / "a.tif", bands, nodata=700))
    np.testing.assert_array_equal(read[:, 10:], pixels(bands[:, 10:]))
    assert np.abs(read[:, :10] - read[:, 10:].reshape(-1, 3).mean(axis=0)).max() <= 0.5


@pytest.mark.parametrize(
    ("kind", "fill"), [(np.uint16, 65535), (np.float32, -9999), (np.float32, np.nan)]
)
def test_undeclared_nodata_stays_out_of_the_stretch_and_is_told(
    tmp_path, kind, fill, caplog, monkeypatch
):
    monkeypatch.setattr("rsctir_hf.files.stretch._TOLD", set())
    values = DEEP.astype(kind)
    values[:, :10] = fill
    for source in (write_tiff(tmp_path / "a.tif", values), values):
        np.testing.assert_array_equal(pixels(source)[:, 10:], pixels(DEEP[:, 10:]))
    if np.isfinite(fill):
        (record,) = (each for each in caplog.records if each.levelname == "WARNING")
        assert f"{fill:g}" in record.message
        assert "a.tif" in record.message


def test_alpha_and_masks_are_no_colours(tmp_path):
    alpha = np.full((40, 56), 65535, np.uint16)
    alpha[:20] = 0
    bands = np.dstack([DEEP, alpha])
    read = pixels(write_tiff(tmp_path / "a.tif", bands, photometric="RGB", alpha="YES"))
    np.testing.assert_array_equal(read[20:], pixels(DEEP[20:]))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        path = write_tiff(tmp_path / "b.tif", DEEP, after=lambda t: t.write_mask(alpha > 0))
    assert (tmp_path / "b.tif.msk").exists()
    np.testing.assert_array_equal(pixels(path), read)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["blue", "green", "red", "nir"], (2, 1, 0)),
        (["B2", "B3", "B4", "B8"], (2, 1, 0)),
        (["red", "green", "blue", "nir"], (0, 1, 2)),
        (["blue", "green", "red"], (2, 1, 0)),
    ],
)
def test_names_come_before_the_colours_and_alpha_that_programs_declare_unasked(
    tmp_path, names, order
):
    values = np.dstack([EIGHT, EIGHT[..., 0]])[..., : len(names)]
    values[:10, :, 3:] = 0  # water in near infrared
    path = write_tiff(
        tmp_path / "a.tif",
        values,
        after=lambda t: [t.set_band_description(n, name) for n, name in enumerate(names, 1)],
    )
    with rasterio.open(path) as source:
        kinds = [kind.name for kind in source.colorinterp]
    assert kinds == ["red", "green", "blue", "alpha"][: len(names)]
    np.testing.assert_array_equal(pixels(path), values[..., order])


def test_a_value_that_is_missing_in_one_band_stays_out_of_the_stretch(tmp_path):
    values = DEEP.copy()
    values[:10, :, 0] = 0
    low, high = np.percentile(np.append(values[10:], values[:10, :, 1:]), [2, 98])
    shown = pixels(write_tiff(tmp_path / "a.tif", values, nodata=0)).astype(float)
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    assert np.abs(shown - expected).max() < 0.51


def test_chips_of_many_bands_show_those_that_a_scene_of_them_does(tmp_path):
    bands = np.dstack([DEEP] * 4)
    np.testing.assert_array_equal(pixels(write_tiff(tmp_path / "a.tif", bands)), SHADES)


def test_complex_numbers_are_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", DEEP[..., 0].astype(np.complex64))
    with pytest.raises(ImageReadError, match="complex"):
        read_image(path)


def test_deep_colours_of_other_formats_are_read_too(tmp_path):
    bands = np.moveaxis(DEEP, 2, 0)
    for driver, name in (("JP2OpenJPEG", "a.jp2"), ("JP2OpenJPEG", "a.j2k"), ("PNM", "a.ppm")):
        profile = {"count": 3, "height": 40, "width": 56, "dtype": "uint16"}
        lossless = {"quality": "100", "reversible": "YES"} if driver != "PNM" else {}
        with rasterio.open(tmp_path / name, "w", driver=driver, **profile, **lossless) as target:
            target.write(bands)
        np.testing.assert_array_equal(pixels(tmp_path / name), SHADES)
        with Image.open(tmp_path / name) as opened:
            np.testing.assert_array_equal(pixels(opened), SHADES)


def test_a_picture_that_pillow_opened_is_read_from_its_file(tmp_path):
    path = write_tiff(tmp_path / "a.tif", DEEP, photometric="RGB")
    with Image.open(path) as opened:
        np.testing.assert_array_equal(pixels(opened), SHADES)
        opened.load()
        np.testing.assert_array_equal(pixels(opened), SHADES)


@pytest.mark.parametrize("name", ["rgb.tif", "band.tif", "signed.tif"])
def test_without_rasterio_what_pillow_misreads_is_refused(tmp_path, name, monkeypatch):
    values = DEEP[..., 0].astype(np.int8) if name == "signed.tif" else DEEP
    interleave = {"interleave": "band"} if name == "band.tif" else {}
    photometric = {"photometric": "RGB"} if name != "signed.tif" else {}
    path = write_tiff(tmp_path / name, values, **interleave, **photometric)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImageReadError, match=rf"{name} has .* bits .*rsctir_hf\[geo\]"):
        read_image(path)


def test_without_rasterio_greys_and_eight_bits_are_read_as_with_it(tmp_path, monkeypatch):
    files = [
        write_tiff(tmp_path / "grey.tif", DEEP[..., 0]),
        write_tiff(tmp_path / "nodata.tif", np.where(DEEP < 300, 300, DEEP)[..., 0], nodata=300),
        write_tiff(tmp_path / "white.tif", DEEP[..., 0], photometric="MINISWHITE"),
        write_tiff(tmp_path / "rgb.tif", EIGHT, photometric="RGB"),
        write_tiff(tmp_path / "colours.tif", np.where(EIGHT < 50, 0, EIGHT), nodata=0),
        write_tiff(tmp_path / "float.tif", DEEP[..., 0] / np.float32(3000)),
    ]
    with_it = [pixels(file) for file in files]
    monkeypatch.setitem(sys.modules, "rasterio", None)
    for file, expected in zip(files, with_it, strict=True):
        assert np.abs(pixels(file).astype(int) - expected).max() <= 1, file.name


def test_a_missing_rasterio_is_named(without_rasterio):
    assert driver_of(b"II*\0") is None
    with pytest.raises(MissingDependencyError, match=r"rsctir_hf\[geo\]"):
        require_rasterio("warp")


def test_no_other_driver_opens_what_says_that_it_is_a_tiff(tmp_path):
    inner = write_tiff(tmp_path / "inner.tif", DEEP)
    vrt = f"""<VRTDataset rasterXSize="56" rasterYSize="40">
    <VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
    <SourceFilename>{inner}</SourceFilename><SourceBand>1</SourceBand>
    </SimpleSource></VRTRasterBand></VRTDataset>"""
    (tmp_path / "a.tif").write_text(vrt)
    for content in (tmp_path / "a.tif", vrt.encode(), b"II*\0" + vrt.encode()):
        with pytest.raises(ImageReadError):
            read_image(content)


def test_a_tiff_that_claims_any_size_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", DEEP)
    monkeypatch.setattr("rsctir_hf.files.pictures.picture_of", lambda *_: pytest.fail("read"))
    with pytest.raises(ImageReadError, match="56 x 40 pixels"):
        read_image(path, max_pixels=1000)


def test_a_damaged_tiff_is_refused(tmp_path):
    content = write_tiff(tmp_path / "a.tif", DEEP, compress="deflate").read_bytes()
    for cut in (10, len(content) // 2, len(content) - 40):
        with pytest.raises(ImageReadError, match="damaged"):
            read_image(content[:cut])


def test_a_png_of_sixteen_bits_needs_no_rasterio(without_rasterio):
    np.testing.assert_array_equal(pixels(png16(DEEP)), SHADES)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_plain_colours_of_eight_bits_are_read_without_gdal(tmp_path, compression, monkeypatch):
    Image.fromarray(EIGHT).save(tmp_path / "a.tif", compression=compression)
    monkeypatch.setattr("rsctir_hf.files.pictures.picture_of", lambda *_: pytest.fail("GDAL"))
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), EIGHT)
