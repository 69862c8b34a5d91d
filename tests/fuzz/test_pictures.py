"""Hostile pictures: files, headers, names, arrays, galleries and rasters."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsctir_hf.files.pictures import list_images, read_image
from rsctir_hf.geo.addresses import read_tile_address
from rsctir_hf.geo.raster import PLAIN_FORMATS, open_raster, overview
from rsctir_hf.ui.server.open_scenes import open_scene
from rsctir_hf.ui.server.shown_gallery import open_gallery
from tests.fuzz.good_files import a_picture, emptied, picture_files, rasters
from tests.fuzz.hostile import mutated, numbers, often, texts, values
from tests.fuzz.oracle import Complaint, taken_or_refused

SIZES = (0, 1, 3, 4, 24, 255, 16_384, 65_535, 2**31 - 1, 2**32 - 1)
KINDS = ["uint8", "bool", "int8", "int64", "uint64", "float16", "float32", "float64", "complex64"]
RASTERS = rasters()


def png(width, height, depth, kind, data):
    """A PNG that claims any size and kind, with sound checksums."""
    head = struct.pack(">IIBBBBB", width, height, depth % 17, kind % 8, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def bmp(width, height, bits):
    sizes = (99, 0, 54, 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IIIIIIHHIIIIII", *sizes)


def ppm(width, height, top):
    return f"P6 {width} {height} {top}\n".encode() + b"\0" * 48


def headers():
    side, small = st.sampled_from(SIZES), st.integers(0, 255)
    data, bits = st.sampled_from([b"", b"\0", b"\0" * 4096]), st.sampled_from([0, 1, 8, 24, 255])
    return st.one_of(
        st.builds(png, side, side, small, small, data),
        st.builds(bmp, side, side, bits),
        st.builds(ppm, side, side, side),
    )


def paths():
    """Names of files that are none, and what is no name at all."""
    named = st.builds(lambda text, end: text + end, texts(), st.sampled_from(["", ".png", "/"]))
    return st.one_of(named, values())


def arrays():
    shape = st.lists(st.integers(0, 9), max_size=4)
    return st.builds(
        lambda sides, kind, value: np.full(sides, value).astype(kind),
        st.one_of(shape, st.sampled_from([[8, 8], [8, 8, 1], [8, 8, 3], [8, 8, 4]])),
        st.sampled_from(KINDS),
        st.one_of(st.sampled_from([0.0, 1.0, 255.0, np.nan, np.inf, -1e38]), st.floats()),
    )


@often(4)
@given(mutated(picture_files()))
def test_spoilt_picture_files(content):
    taken_or_refused(read_image, content)


@given(headers())
def test_headers_that_claim_any_size(content):
    taken_or_refused(read_image, content)


@given(paths())
def test_names_of_pictures_that_are_none(name):
    taken_or_refused(read_image, name)


@pytest.mark.filterwarnings("ignore")
@given(arrays())
def test_arrays_of_any_shape_and_kind(array):
    taken_or_refused(read_image, array)


LINKS = st.sampled_from(["", "", "good.png", "..", ".", "/etc/passwd", "../outside.png", "self"])


@given(names=st.lists(st.tuples(texts(), LINKS), min_size=1, max_size=5))
def test_names_and_links_of_a_gallery(tmp_path, names):
    (tmp_path / "outside.png").write_bytes(a_picture())
    folder = emptied(tmp_path / "gallery")
    (folder / "good.png").write_bytes(a_picture())
    for name, target in names:
        file = folder / (name.replace("/", "_").replace("\0", "_")[:60] + ".png")
        try:
            if target:
                file.symlink_to(file.name if target == "self" else target)
            else:
                file.write_bytes(a_picture())
        except (OSError, ValueError):  # no name for the file system
            continue

    def read():
        for path in list_images(folder):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise Complaint(f"{path} leads out of the gallery")
            read_image(path)
        open_gallery(str(folder))

    taken_or_refused(read)


@often(2)
@given(content=mutated(RASTERS))
def test_spoilt_rasters_in_the_app(tmp_path, content):
    file = tmp_path / "spoilt.tif"
    file.write_bytes(content)
    taken_or_refused(open_scene, file)


@given(content=mutated(RASTERS))
def test_spoilt_rasters_on_the_command_line(tmp_path, content):
    file = tmp_path / "spoilt.tif"
    file.write_bytes(content)
    taken_or_refused(lambda: overview(open_raster(file), side=64))


@given(texts())
def test_names_of_rasters_that_are_none(text):
    taken_or_refused(lambda: open_raster(text, formats=PLAIN_FORMATS))


NUMBER = numbers().map(str)


@given(
    texts(),
    st.lists(NUMBER, min_size=3, max_size=5).map(",".join),
    st.lists(NUMBER, min_size=1, max_size=3).map(",".join),
    NUMBER,
)
def test_addresses_of_tiles(path, window, size, bands):
    text = f"{path}#window={window}&size={size}&bands={bands}"

    def read():
        found = read_tile_address(text)
        if found is not None and str(found) != text and len(text) < 100:
            read_tile_address(str(found))

    taken_or_refused(read)
