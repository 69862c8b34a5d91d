"""Good pictures and rasters, as bytes that can be spoilt."""

import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from rsctir_hf.geo.map_output import write_geotiff
from rsctir_hf.geo.placement import Place
from tests.files.deep_files import png16

SIDE = 24
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "PPM", "AVIF")


def noise(*shape, dtype="uint8"):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def encoded(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


@cache
def a_picture():
    return encoded(Image.fromarray(noise(SIDE, SIDE, 3)), "PNG")


def picture_files():
    """Return a good file of every kind that is read."""
    colours, greys = Image.fromarray(noise(SIDE, SIDE, 3)), Image.fromarray(noise(SIDE, SIDE))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        *(encoded(colours, form) for form in FORMATS),
        *(encoded(greys, form) for form in ("PNG", "JPEG", "PPM")),
        encoded(colours.convert("P"), "PNG", transparency=3),
        encoded(colours.convert("RGBA"), "PNG"),
        encoded(colours.convert("CMYK"), "JPEG", exif=exif),
        encoded(Image.fromarray(noise(SIDE, SIDE, dtype="uint16")), "PNG"),
        encoded(Image.fromarray(noise(SIDE, SIDE, dtype="float32")), "TIFF"),
        encoded(colours, "TIFF", compression="tiff_lzw"),
        encoded(colours, "GIF", save_all=True, append_images=[colours.rotate(90)] * 3),
        *(png16(noise(SIDE, SIDE, channels, dtype="uint16")) for channels in (2, 3, 4)),
        *rasters(),
    ]


def rasters():
    """Return GeoTIFFs of several kinds."""
    files = []
    on_earth = (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_900_000.0)
    with tempfile.TemporaryDirectory() as folder:
        for bands, kind, nodata in ((3, "uint8", None), (1, "uint16", 0), (4, "float32", None)):
            file = Path(folder) / f"{kind}.tif"
            pixels = noise(bands, 40, 48, dtype=kind)
            write_geotiff(file, pixels, place=Place(on_earth, "EPSG:32632"), nodata=nodata)
            files.append(file.read_bytes())
    return files


def emptied(folder):
    """Return a folder without anything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
