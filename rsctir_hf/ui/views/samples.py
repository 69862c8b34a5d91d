"""How a visitor gives a picture: an upload, the clipboard, or a sample of the launched gallery."""

from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from rsctir_hf.errors import ImageReadError, RsctirError
from rsctir_hf.files.names import as_text
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.ui.server.events import PRIVATE, Trigger, item_of
from rsctir_hf.ui.server.limits import FORGET_AFTER
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.server.uploads import is_upload, picture_input, read_upload
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.views.cards import escape, note, refusal
from rsctir_hf.ui.views.thumbnails import DETAIL_SIDE, picture_uri

SAMPLES = 8
_SAMPLE_SIDE = 160
_DRAWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".avif"}
#: What ``app.js`` does for an element that holds items, and for the one that holds the address.
SELECT_ITEM = "window.rsctir.select(element, trigger);"
FOLLOW_ADDRESS = "window.rsctir.follow(element, trigger, watch);"


def sample_paths(gallery: Gallery | None) -> tuple[Path, ...]:
    """Return ``SAMPLES`` pictures at even steps through the gallery."""
    paths = gallery.paths if gallery else ()
    step = max(len(paths) // SAMPLES, 1)
    return paths[step // 2 :: step][:SAMPLES]


def sample_strip(gallery: Gallery | None) -> str:
    """Return the strip as HTML; empty before the gallery is open."""
    if gallery is None or not gallery.paths:
        return ""
    buttons = []
    for item, path in enumerate(sample_paths(gallery)):
        words = escape(gallery.record(str(path)).caption or as_text(path.name))
        buttons.append(
            f'<button type="button" class="rs-sample" data-item="{item}" title="{words}">'
            f'<img src="{picture_uri(as_text(path), _SAMPLE_SIDE)}" alt="{words}"></button>'
        )
    return f'<div class="rs-samples" role="group" aria-label="Samples">{"".join(buttons)}</div>'


class PictureChooser:
    """A picture input and, below it, a strip of samples that fill it when clicked.

    Args:
        bench: what was launched.
        elem_id: of the input; the strip's ends in ``-samples``.
        alt_text: what the picture is, for screen readers.
        height: of the input in pixels.

    Attributes:
        picture: the input.
        source: state with the path of the file that is shown in it: an upload as it came, of which
            the input may show a copy that browsers can draw, or a picture of the gallery.
        samples: the strip, empty until ``layout`` fills it with an open gallery.
        given: what to bind an answer to. Not ``picture.change``, which also comes when a handler
            sets the picture, and comes twice if that happens while its tab is not shown.
    """

    def __init__(self, bench: Workbench, elem_id: str, *, alt_text: str, height: int) -> None:
        self.picture = picture_input(
            "Your picture",
            sources=["upload", "clipboard"],
            height=height,
            elem_id=elem_id,
            alt_text=alt_text,
            buttons=["fullscreen"],
        )
        self.source = gr.State(None, time_to_live=FORGET_AFTER)
        gr.HTML(note("Or choose a sample from the gallery"))
        self.samples = gr.HTML("", js_on_load=SELECT_ITEM, elem_id=f"{elem_id}-samples")

        def take_sample(event: gr.EventData) -> tuple[Image.Image, str]:
            path = item_of(event, sample_paths(bench.gallery))
            return read_picture(str(path)), str(path)

        both = [self.picture, self.source]
        taken = self.samples.select(take_sample, None, both, **PRIVATE)
        # When a picture is cleared, ``input`` comes while the old one is still its value.
        settled = self.picture.input(None, js="() => {}")
        kept = settled.then(shown_copy, self.picture, both, **PRIVATE)
        self.given: tuple[Trigger, ...] = (kept.success, taken.success)

    def take(self, trigger: Trigger) -> Trigger:
        """Take note of a picture that another event has put into the input; return what follows."""
        return trigger(lambda path: path, self.picture, self.source, **PRIVATE).success


def shown_copy(path: str | None) -> tuple[Any, str | None]:
    """Return what the input shows of an upload, and its path; browsers draw no TIFF or JPEG 2000.

    What cannot be read stays as it is: the answer says why.
    """
    if path is None or Path(path).suffix.lower() in _DRAWN_BY_BROWSERS:
        return gr.skip(), path
    try:
        picture = read_upload(path)
    except RsctirError:
        return gr.skip(), path
    picture.thumbnail((DETAIL_SIDE, DETAIL_SIDE))
    return picture, path


def read_given(path: str) -> Image.Image:
    """Read what was given: an upload, or a picture of the gallery.

    Raises:
        RsctirError: it cannot be read, or is too large for an upload.
    """
    return read_upload(path) if is_upload(path) else read_picture(path)


def picture_refusal(error: RsctirError) -> str:
    """Say why there is no answer for a picture."""
    unreadable = isinstance(error, ImageReadError)
    title = "This picture cannot be used" if unreadable else "There is no answer"
    return refusal(error, title)
