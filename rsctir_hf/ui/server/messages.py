"""What visitors read of an error: its words, without the folders of this server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr

from rsctir_hf.errors import RsctirError

_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/\s,;:'\"]+/)+([^/\s,;:'\"]+)")


def without_folders(text: object) -> str:
    """Return a message or an error's text without the folders of this server in it."""
    return _FOLDERS.sub(r"\1", str(text))


@contextmanager
def told_to_visitors() -> Iterator[None]:
    """Turn an error of the library into one that page and clients show with the same text.

    The page takes the text for HTML.
    """
    try:
        yield
    except RsctirError as error:
        raise gr.Error(
            escape(without_folders(error), quote=False), print_exception=False
        ) from error


def counted(count: int, noun: str) -> str:
    """Write a number with its noun, as "1 picture" and "2 pictures"."""
    return f"{count} {noun if count == 1 else f'{noun}s'}"
