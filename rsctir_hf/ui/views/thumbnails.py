"""Pictures as the page shows them: small, and within the page itself."""

import base64
import io
from functools import lru_cache

from PIL import Image

from rsctir_hf.errors import ImageReadError
from rsctir_hf.search.gallery import read_picture

CARD_SIDE = 300
DETAIL_SIDE = 900
_QUALITY = {"JPEG": 82, "WEBP": 80}
# Shown for a file that vanished or broke after it was indexed.
_PLACEHOLDER = (
    "data:image/svg+xml;utf8,"
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 3'>"
    "<rect width='4' height='3' fill='%23889'/></svg>"
)


@lru_cache(maxsize=512)
def picture_uri(path: str, side: int = CARD_SIDE) -> str:
    """Return a picture as a JPEG data URI of at most ``side`` pixels a side.

    Any format that ``read_picture`` knows is shown, also those that browsers do not (TIFF, CMYK,
    16-bit), and no folder of the server has to be opened to visitors.
    """
    try:
        picture = read_picture(path)
    except ImageReadError:
        return _PLACEHOLDER
    return encode_picture(picture, side)


def encode_picture(picture: Image.Image, side: int) -> str:
    """Return a picture as a data URI of at most ``side`` pixels a side; clear parts stay clear."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    kind = "JPEG" if picture.mode == "RGB" else "WEBP"
    buffer = io.BytesIO()
    small.save(buffer, format=kind, quality=_QUALITY[kind])
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
