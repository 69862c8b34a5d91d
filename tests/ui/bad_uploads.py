"""Files that visitors upload by mistake or on purpose."""

import struct
import zlib

import numpy as np
from PIL import Image


def write_good(folder):
    """Write pictures of unusual kinds that must be read."""
    grey = np.linspace(0, 4000, 48 * 48).reshape(48, 48)
    colour = Image.new("RGB", (48, 48), (40, 120, 60))
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(grey.astype(np.uint16)).save(folder / "sixteen_bit.tif")
    palette = colour.convert("P")
    palette.save(folder / "palette_alpha.png", transparency=0)
    return sorted(folder.iterdir())


def write_bad(folder):
    """Write files that must be refused with a reason."""
    Image.new("RGB", (64, 64)).save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "cut_short.jpg").write_bytes(content[:200])
    (folder / "zero_bytes.png").write_bytes(b"")
    (folder / "text.png").write_text("this is not a picture")
    Image.new("RGB", (1, 1)).save(folder / "one_pixel.png")
    (folder / "vast.png").write_bytes(png_of(20_000, 20_000))
    return sorted(folder.iterdir())


def png_of(width, height):
    """Return a PNG that claims a size; only its header is ever read."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"\0"))


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
