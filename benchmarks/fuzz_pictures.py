"""Doors that read pictures: files, arrays, galleries, rasters."""

import io
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import (
    mutated,
    numbers,
    texts,
    values,
)
from fuzz_targets import Complaint, Target
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray
from PIL import Image

from rsctir_hf.files.pictures import list_images, read_image
from rsctir_hf.geo.addresses import read_tile_address
from rsctir_hf.geo.map_output import write_geotiff
from rsctir_hf.geo.raster import PLAIN_FORMATS, open_raster, overview
from rsctir_hf.ui.server.open_scenes import open_scene
from rsctir_hf.ui.server.shown_gallery import open_gallery

SIDE = 24
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "PPM", "AVIF")
_SIZES = (0, 1, 3, 4, 24, 255, 16_384, 65_535, 2**31 - 1, 2**32 - 1)


def picture_targets(place: Path) -> list[Target]:
    """Return the doors that read pictures; they write below ``place``."""
    return [
        Target("pictures: spoilt files", mutated(picture_files()), read_image, 2500),
        Target("pictures: headers", picture_headers(), read_image, 300),
        Target("pictures: paths", paths(), read_image, 200),
        Target("pictures: arrays", arrays(), read_image, 300),
        Target("galleries: names and links", gallery_names(), gallery_reader(place), 150),
        *raster_targets(place),
    ]


def noise(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    """Return random values."""
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:  # noqa: ANN401
    """Return a picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def picture_files() -> list[bytes]:
    """Return a good file of every kind that is read."""
    colours, greys = Image.fromarray(noise(SIDE, SIDE, 3)), Image.fromarray(noise(SIDE, SIDE))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encoded(colours, form) for form in _FORMATS]
    files += [encoded(greys, form) for form in ("PNG", "JPEG", "PPM")]
    files += [
        encoded(colours.convert("P"), "PNG", transparency=3),
        encoded(colours.convert("RGBA"), "PNG"),
        encoded(colours.convert("CMYK"), "JPEG", exif=exif),
        encoded(Image.fromarray(noise(SIDE, SIDE, dtype="uint16")), "PNG"),
        encoded(Image.fromarray(noise(SIDE, SIDE, dtype="float32")), "TIFF"),
        encoded(colours, "TIFF", compression="tiff_lzw"),
        encoded(colours, "GIF", save_all=True, append_images=[colours.rotate(90)] * 3),
    ]
    return files


def picture_headers() -> SearchStrategy[bytes]:
    """PNG and BMP files that claim any size and kind, with sound checksums."""
    side, small = st.sampled_from(_SIZES), st.integers(0, 255)
    png = st.builds(_png, side, side, small, small, st.sampled_from([b"", b"\0", b"\0" * 4096]))
    bmp = st.builds(
        lambda w, h, bits: b"BM" + struct.pack("<IIIIIIHHIIIIII", 99, 0, 54, 40, w, h, 1, bits, 0,
                                              0, 0, 0, 0, 0),
        side, side, st.sampled_from([0, 1, 8, 16, 24, 32, 255]),
    )  # fmt: skip
    ppm = st.builds(lambda w, h, top: f"P6 {w} {h} {top}\n".encode() + b"\0" * 48, side, side, side)
    return st.one_of(png, bmp, ppm)


def _png(width: int, height: int, depth: int, kind: int, data: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth % 17, kind % 8, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def paths() -> SearchStrategy[Any]:
    """Names of files that are none, and what is no name at all."""
    named = st.builds(lambda text, end: text + end, texts(), st.sampled_from(["", ".png", "/"]))
    return st.one_of(named, named.map(Path), values())


def arrays() -> SearchStrategy[NDArray[Any]]:
    """Arrays of any shape and kind."""
    shape = st.lists(st.integers(0, 9), max_size=4)
    kinds = st.sampled_from(
        ["uint8", "bool", "int8", "int64", "uint64", "float16", "float32", "float64", "complex64"]
    )
    return st.builds(
        lambda sides, kind, value: np.full(sides, value).astype(kind),
        st.one_of(shape, st.sampled_from([[8, 8], [8, 8, 1], [8, 8, 3], [8, 8, 4]])),
        kinds,
        st.one_of(st.sampled_from([0.0, 1.0, 255.0, np.nan, np.inf, -1e38]), st.floats()),
    )


def gallery_names() -> SearchStrategy[list[tuple[str, str]]]:
    """Files of a gallery: a name, and what a link of that name points to."""
    to = st.sampled_from(["", "", "good.png", "..", ".", "/etc/passwd", "../outside.png", "self"])
    return st.lists(st.tuples(texts(), to), min_size=1, max_size=5)


def gallery_reader(place: Path) -> Callable[[list[tuple[str, str]]], None]:
    """Return what lists a folder of such files and reads each; nothing outside may be listed."""
    good = encoded(Image.fromarray(noise(SIDE, SIDE, 3)), "PNG")
    (place / "outside.png").write_bytes(good)

    def read(names: list[tuple[str, str]]) -> None:
        folder = emptied(place / "names")
        (folder / "good.png").write_bytes(good)
        for name, target in names:
            file = folder / (name.replace("/", "_").replace("\0", "_")[:60] + ".png")
            _write(file, good, target)
        for path in list_images(folder):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise Complaint(f"{path} leads out of the gallery")
            read_image(path)
        open_gallery(str(folder))

    return read


def _write(file: Path, content: bytes, target: str) -> None:
    """Write a file or link, unless the file system does not take the name."""
    try:
        if target:
            file.symlink_to(file.name if target == "self" else target)
        else:
            file.write_bytes(content)
    except (OSError, ValueError):
        return


def raster_targets(place: Path) -> list[Target]:
    """Return the doors for rasters: as the app opens them, and as the command line does."""
    files = list(rasters(place))
    file = place / "spoilt.tif"

    def in_app(content: bytes) -> None:
        file.write_bytes(content)
        open_scene(file)

    def on_command_line(content: bytes) -> None:
        file.write_bytes(content)
        overview(open_raster(file), side=64)

    def address(text: str) -> None:
        found = read_tile_address(text)
        if found is not None and str(found) != text and len(text) < 100:
            read_tile_address(str(found))

    return [
        Target("rasters: app", mutated(files), in_app, 600),
        Target("rasters: command line", mutated(files), on_command_line, 400),
        Target(
            "rasters: paths", texts(), lambda text: open_raster(text, formats=PLAIN_FORMATS), 100
        ),
        Target("rasters: addresses", addresses(), address, 200),
    ]


def rasters(place: Path) -> Iterator[bytes]:
    """Make GeoTIFFs of several kinds."""
    file = place / "whole.tif"
    for bands, kind, nodata in ((3, "uint8", None), (1, "uint16", 0), (4, "float32", None)):
        pixels = noise(bands, 40, 48, dtype=kind)
        place_on_earth = (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_900_000.0)
        write_geotiff(file, pixels, transform=place_on_earth, crs="EPSG:32632", nodata=nodata)
        yield file.read_bytes()


def addresses() -> SearchStrategy[str]:
    """Texts that look like addresses of tiles."""
    number = numbers().map(str)
    four = st.lists(number, min_size=3, max_size=5).map(",".join)
    return st.builds(
        lambda path, window, size, bands: f"{path}#window={window}&size={size}&bands={bands}",
        texts(),
        four,
        st.lists(number, min_size=1, max_size=3).map(",".join),
        number,
    )


def emptied(folder: Path) -> Path:
    """Return a folder without anything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
