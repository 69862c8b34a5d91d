"""Files on their way from and to the browser, by way of gradio's cache."""

import io
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder
from PIL import Image

from rsctir_hf.errors import QueryError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.ui.server.limits import MAX_PICTURE_PIXELS


def picture_input(label: str, **options: Any) -> gr.Image:  # noqa: ANN401 - gradio's own
    """Place an image input that hands on the uploaded file as it is.

    ``gr.Image`` opens the upload before the handler runs, so that a damaged file becomes an error
    without words. Here the path goes through and ``pictures.read_image`` says what is wrong; a
    path that is no upload does not. One method is replaced on the instance: a subclass would make
    gradio write a stub file beside this one.

    Args:
        label: of the input.
        options: for ``gr.Image``.
    """
    picture = gr.Image(label=label, type="filepath", format="png", **options)
    opened = picture.preprocess

    def hand_on(payload: ImageData | None) -> Any:  # noqa: ANN401 - a path or None
        if payload is not None and payload.path is not None:
            return payload.path if is_upload(payload.path) else None
        return opened(payload)

    picture.preprocess = hand_on  # type: ignore[method-assign]
    return picture


def is_upload(path: str) -> bool:
    """Tell whether a file lies in gradio's cache, where uploads are put.

    Gradio looks at the path that a client names only where the client also says that it names a
    file (``meta`` of ``FileData``), so that any file of the server could be named without this.
    """
    return Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve())


def fetch_nothing() -> None:
    """Let gradio, in this process, fetch no address that a client names in the place of a file.

    It does so before a handler runs, refuses some private networks alone, and reads any amount.
    """
    processing_utils.async_ssrf_protected_download = _refuse_address


async def _refuse_address(url: str, cache_dir: str) -> str:
    raise gr.Error("Addresses are not fetched. Upload the file instead.", print_exception=False)


def uploaded(path: str) -> Path:
    """Return the path of an upload; raises ``QueryError`` where it is none."""
    if not is_upload(path):
        raise QueryError(f"{Path(path).name} is no upload. Give the file in the box for it.")
    return Path(path)


def read_upload(path: str) -> Image.Image:
    """Read a visitor's picture.

    Raises:
        ImageReadError: see ``pictures.read_image``; or more than ``MAX_PICTURE_PIXELS``.
    """
    return read_image(path, max_pixels=MAX_PICTURE_PIXELS)


def png_of(picture: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def offer_file(name: str, content: str | bytes) -> str:
    """Put a file for download into the cache, which serves it and deletes it after a day."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    return processing_utils.save_bytes_to_cache(data, name, get_upload_folder())
