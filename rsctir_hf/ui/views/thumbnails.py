"""Pictures as the page shows them: small, and within the page itself."""

from functools import lru_cache

from rsctir_hf.errors import ImageReadError
from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.search.gallery import read_picture

CARD_SIDE = 300
DETAIL_SIDE = 900
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
