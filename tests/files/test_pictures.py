"""Any picture becomes 8-bit RGB, anything else a clear error."""

import contextlib
import errno
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files import pictures
from rsctir_hf.files.pictures import list_images, picture_size, read_image

RAMP = np.linspace(0, 60_000, 32 * 32).reshape(32, 32)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width, height):
    """A PNG file that claims a size without holding the pixels."""

    def chunk(kind, content):
        sum_ = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_path_string_bytes_image_and_array_give_the_same_pixels(tmp_path, picture):
    file = tmp_path / "a.png"
    picture.save(file)
    sources = [file, str(file), file.read_bytes(), picture, np.asarray(picture)]
    for source in sources:
        read = read_image(source)
        assert read.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))


def test_callers_picture_is_not_changed(picture):
    before = np.asarray(picture).copy()
    read_image(picture).paste((0, 0, 0), (0, 0, 8, 8))
    np.testing.assert_array_equal(np.asarray(picture), before)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_eight_bit_modes_become_rgb(picture, mode):
    read = read_image(picture.convert(mode))
    assert read.mode == "RGB"
    assert read.size == picture.size


def test_cmyk_jpeg_keeps_its_colours():
    red = Image.new("RGB", (32, 32), (200, 30, 30)).convert("CMYK")
    centre = np.asarray(read_image(encoded(red, "JPEG")))[16, 16].astype(int)
    assert np.abs(centre - (200, 30, 30)).max() < 10


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_greys_are_stretched_between_percentiles(kind):
    deep = Image.fromarray(RAMP.astype(np.uint16))
    values = np.asarray(read_image(encoded(deep, kind)))[..., 0].astype(float)
    # The ramp is uniform: the 2nd percentile is 0.02 of the way, the 98th 0.98, linear between.
    expected = np.clip((RAMP / 60_000 - 0.02) / 0.96, 0, 1) * 255
    assert np.abs(values - expected).max() <= 1.5


def test_dark_sixteen_bit_picture_uses_the_whole_range():
    dark = (RAMP / 100).astype(np.uint16)
    values = np.asarray(read_image(dark))
    assert values.min() == 0
    assert values.max() == 255


def test_float_picture_and_float_array_agree():
    values = RAMP.astype(np.float32)
    from_file = read_image(encoded(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(np.asarray(from_file), np.asarray(read_image(values)))


def test_floats_between_zero_and_one_are_only_scaled():
    assert np.unique(np.asarray(read_image(np.full((8, 8, 3), 0.5)))).tolist() == [128]


def test_undefined_floats_get_the_mean_shade_and_do_not_spoil_the_rest():
    values = RAMP.copy()
    values[0, 0], values[0, 1] = np.nan, np.inf
    read = np.asarray(read_image(values))
    assert read[0, 0, 0] == read[0, 1, 0] == round(read.reshape(-1, 3)[2:, 0].mean())
    assert read.max() == 255


def test_infinite_floats_among_shares_get_the_mean_shade():
    values = np.full((32, 32), 0.5, np.float32)
    values[0] = np.inf
    with np.errstate(all="raise"):
        shown = np.asarray(read_image(values))
    assert (shown == 128).all()


def test_sixteen_bit_colour_arrays_keep_their_hue():
    array = np.stack([RAMP, RAMP / 2, RAMP / 4], axis=2).astype(np.uint16)
    red, green, blue = np.asarray(read_image(array))[20, 20].astype(int)
    assert red > green > blue


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_transparent_pixels_get_the_mean_colour_of_the_others(mode):
    layer = Image.new("RGBA", (16, 16), (200, 200, 200, 255))
    layer.paste((9, 9, 9, 0), (0, 0, 8, 16))
    layer.paste((100, 100, 100, 255), (12, 0, 16, 16))
    steps = {"La": ("LA", "La")}.get(mode, (mode,))
    image = layer
    if mode == "PA":
        image = layer.convert("L").convert("P").convert("PA")
        image.putalpha(layer.getchannel("A"))
    else:
        for step in steps:
            image = image.convert(step)
    read = np.asarray(read_image(image))
    assert read[0, :, 0].tolist() == [150] * 8 + [200] * 4 + [100] * 4


def test_a_transparent_entry_of_a_palette_is_missing_data():
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 250])
    image.paste(1, (8, 0, 12, 16))
    image.paste(2, (12, 0, 16, 16))
    read = np.asarray(read_image(encoded(image, "PNG", transparency=0)))
    assert read[0, 0].tolist() == [0, 128, 125]  # 127.5 to the even one
    assert read[0, 11].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    "source", [Image.new("RGBA", (8, 8), (255, 255, 255, 0)), np.full((8, 8, 3), np.nan)]
)
def test_a_picture_without_any_data_is_refused_as_a_scene_is(source):
    with pytest.raises(ImageReadError, match="holds no data"):
        read_image(source)


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(animation))[8, 8].tolist() == [255, 0, 0]


def test_exif_orientation_is_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    read = read_image(encoded(picture, "PNG", exif=exif))
    upright = picture.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(np.asarray(read), np.asarray(upright))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.png is not a file"):
        read_image(tmp_path / "absent.png")


def test_folder_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match="is not a file"):
        read_image(tmp_path)


@pytest.mark.parametrize("as_bytes", [True, False])
def test_empty_file_is_refused(tmp_path, as_bytes):
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ImageReadError, match="0 bytes"):
        read_image(b"" if as_bytes else tmp_path / "empty.jpg")


@pytest.mark.parametrize("content", [b"hello, no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1"])
def test_files_that_are_no_pictures_are_refused(tmp_path, content):
    (tmp_path / "notes.jpg").write_bytes(content)
    with pytest.raises(ImageReadError, match=r"notes\.jpg is not a picture in a known format"):
        read_image(tmp_path / "notes.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_truncated_files_are_refused(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    content = encoded(noise, kind)
    with pytest.raises(ImageReadError, match=r"damaged or cut short|not a picture"):
        read_image(content[: len(content) // 2])


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, about damaged tags
def test_flipped_bytes_never_raise_anything_else():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8))
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"):
        original = np.frombuffer(encoded(noise, kind), np.uint8)
        for _ in range(40):
            damaged = original.copy()
            damaged[rng.integers(0, len(damaged), 8)] = rng.integers(0, 256, 8)
            with contextlib.suppress(ImageReadError):  # the one kind of error that callers catch
                assert read_image(damaged.tobytes()).mode == "RGB"


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 3)])
def test_pictures_without_extent_are_refused(size):
    with pytest.raises(ImageReadError, match=f"{size[0]} x {size[1]} pixels"):
        read_image(Image.new("RGB", size))


def test_twenty_thousand_pixels_a_side_are_refused_without_decoding():
    with pytest.raises(ImageReadError, match=r"too large.*at most 179 million.*tiles"):
        read_image(png_header(20_000, 20_000))


def test_callers_own_limit_holds(picture):
    with pytest.raises(ImageReadError, match="32 x 24 pixels"):
        read_image(picture, max_pixels=100)
    with pytest.raises(ImageReadError, match="32 x 24 pixels"):
        read_image(np.asarray(picture), max_pixels=100)


def test_guard_of_pillow_is_left_alone(picture):
    read_image(picture)
    assert Image.MAX_IMAGE_PIXELS * 2 == pictures.MAX_PIXELS


def test_very_large_jpeg_is_read_at_a_smaller_scale(monkeypatch):
    monkeypatch.setattr(pictures, "DRAFT_PIXELS", 64 * 64)
    large = encoded(Image.new("RGB", (200, 120), (10, 200, 30)), "JPEG")
    # 24,000 px > 4,096 px: half (6,000) is still too many, a quarter (1,500) is not.
    assert read_image(large).size == (50, 30)


@pytest.mark.parametrize("shape", [(8,), (3, 16, 16), (16, 16, 2), (16, 16, 5), (1, 2, 3, 4)])
def test_arrays_in_another_layout_are_refused(shape):
    with pytest.raises(ImageReadError, match="not laid out as a picture"):
        read_image(np.zeros(shape, np.uint8))


def test_array_shapes_and_kinds_that_are_pictures():
    for shape in ((8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 4)):
        for dtype in (np.uint8, bool, np.int32, np.float64):
            assert read_image(np.ones(shape, dtype)).size == (8, 8)


def test_arrays_of_other_things_are_refused():
    with pytest.raises(ImageReadError, match="does not hold numbers"):
        read_image(np.full((8, 8), "x"))
    with pytest.raises(ImageReadError, match="empty"):
        read_image(np.zeros((0, 0, 3), np.uint8))
    with pytest.raises(ImageReadError, match="Expected a path"):
        read_image(None)


def test_list_images_searches_subfolders_and_passes_over_the_rest(tmp_path, picture):
    for name in ("b.JPG", "sub/a.tif", ".cache/c.png", "sub/._a.png"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.png").mkdir()
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["b.JPG", "sub/a.tif"]


def test_links_out_of_a_folder_are_passed_over_and_told(tmp_path, caplog):
    gallery, elsewhere = tmp_path / "gallery", tmp_path / "elsewhere"
    for folder in (gallery, elsewhere):
        folder.mkdir()
        Image.new("RGB", (8, 8)).save(folder / "a.png")
    (gallery / "same.png").symlink_to("a.png")
    (gallery / "other.png").symlink_to(elsewhere / "a.png")
    (gallery / "up.png").symlink_to("../elsewhere/a.png")
    (gallery / "folder").symlink_to(elsewhere)
    assert [path.name for path in list_images(gallery)] == ["a.png", "same.png"]
    assert "2 links" in caplog.text
    (tmp_path / "link").symlink_to(gallery)  # the folder that is named may be a link
    assert len(list_images(tmp_path / "link")) == 2


def test_links_of_a_snapshot_in_the_hub_s_cache_are_pictures_like_others(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0abc" / "data"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(blobs / "1234", format="PNG")
    (snapshot / "a.png").symlink_to("../../../blobs/1234")
    (snapshot / "b.png").symlink_to("/etc/hostname")
    Image.new("RGB", (8, 8)).save(tmp_path / "beside.png")
    (snapshot / "c.png").symlink_to(tmp_path / "beside.png")
    assert [path.name for path in list_images(snapshot)] == ["a.png"]


def test_list_images_of_a_folder_without_pictures_is_empty(tmp_path):
    assert list_images(tmp_path) == []


def test_a_picture_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")

    def closed(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(ImageReadError, match=r"a\.png cannot be read \(Permission denied\)"):
        read_image(tmp_path / "a.png")


def test_list_images_needs_a_folder(tmp_path):
    with pytest.raises(DataLayoutError, match=r"does not exist\. Expected a folder of pictures\.$"):
        list_images(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DataLayoutError, match="is a file"):
        list_images(tmp_path / "file")


def test_imagery_that_is_not_read_is_counted_in_one_line(tmp_path, caplog):
    names = ("a.jpg", "b.jfif", "c.jpe", "d.j2k", "e.HEIC", "f.heic", "g.ecw", "h.tga", "notes.txt")
    for name in (*names, "a.jgw", "metadata.jsonl"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.jfif", "c.jpe", "d.j2k"]
    (line,) = caplog.messages
    assert "4 files" in line
    assert "(2 .heic, 1 .ecw, 1 .tga)" in line


def test_formats_that_are_read_and_suffixes_that_are_listed_agree():
    formats = Image.registered_extensions()
    assert {formats[suffix] for suffix in pictures.IMAGE_SUFFIXES} == set(pictures._FORMATS)


def test_a_bomb_of_a_few_kilobytes_is_refused_before_it_is_decoded(monkeypatch):
    bomb = png_header(13_000, 13_000)
    assert len(bomb) < 1024
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageReadError, match="13000 x 13000 pixels"):
        read_image(bomb, max_pixels=40_000_000)


def test_what_alpha_lets_through_in_part_keeps_its_colour():
    shade, alpha = np.meshgrid(*[np.arange(256, dtype=np.uint8)] * 2)
    layer = Image.fromarray(np.stack([shade] * 3 + [alpha], axis=2))
    read = np.asarray(read_image(layer))
    np.testing.assert_array_equal(read[1:], np.asarray(layer.convert("RGB"))[1:])
    assert (read[0] == 128).all()  # of 0..255: 127.5, to the even one


def test_a_decoder_that_fails_in_its_own_way_is_told_as_damage(monkeypatch):
    # As Pillow's of AVIF does; found by tests/fuzz.
    def fail(*_):
        raise RuntimeError("Failed to decode frame 0")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(ImageReadError, match="Failed to decode frame 0"):
        read_image(encoded(Image.new("RGB", (8, 8)), "PNG"))


def test_the_size_of_a_picture_is_read_from_its_header(tmp_path):
    (tmp_path / "vast.png").write_bytes(png_header(13_000, 12_000))
    assert picture_size(tmp_path / "vast.png") == (13_000, 12_000)
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (tmp_path / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name in ("bomb.png", "page.png", "absent.png", "a\0b"):
        assert picture_size(tmp_path / name) is None
