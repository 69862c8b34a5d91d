"""Pictures within a page: small, as data URIs."""

import base64
import io

from PIL import Image

_QUALITY = {"JPEG": 82, "WEBP": 80}


def encode_picture(picture: Image.Image, side: int) -> str:
    """Return a picture as a data URI of at most ``side`` pixels a side; clear parts stay clear."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    kind = "JPEG" if picture.mode == "RGB" else "WEBP"
    buffer = io.BytesIO()
    small.save(buffer, format=kind, quality=_QUALITY[kind])
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
