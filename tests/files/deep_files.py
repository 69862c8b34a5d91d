"""Pictures of more than 8 bits as bytes of files, which Pillow cannot write."""

import struct
import warnings
import zlib

import numpy as np
import rasterio

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
ADAM7 += ((0, 1, 1, 2),)  # first column and row of each pass, and its steps
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def reflectances(height=40, width=56, channels=3, most=1200):
    """Values as of a natural picture that use little of the range of 16 bits."""
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(0, 1, height), np.linspace(0, 1, width))[..., None] / 2
    values = (
        smooth * np.linspace(1, 0.5, channels) + rng.uniform(0, 0.2, (height, width, 1))
    ) / 1.2
    return (values * most).astype(np.uint16)


def png16(values, *, chunks=(), interlaced=False):
    """Write (H, W, 1 to 4) as a PNG of 16 bits, with chunks (kind, content) before the pixels."""
    height, width, channels = values.shape

    def chunk(kind, content):
        sum_ = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)

    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    cut = [values[row::down, column::right] for column, row, right, down in passes]
    rows = [b"\0" + row.astype(">u2").tobytes() for part in cut if part.size for row in part]
    header = struct.pack(
        ">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, int(interlaced)
    )
    pixels = zlib.compress(b"".join(rows))
    parts = ((b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def write_tiff(path, values, *, after=None, **options):
    """Write (H, W) or (H, W, bands) as a GeoTIFF without a place, and return its path."""
    bands = np.moveaxis(np.atleast_3d(values), 2, 0)
    profile = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", dtype=bands.dtype, **profile, **options
        ) as target:
            target.write(bands)
            if after:
                after(target)
    return path
