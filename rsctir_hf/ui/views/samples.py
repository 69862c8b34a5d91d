"""How a visitor gives a picture: an upload, the clipboard, or a sample of the launched gallery."""

from pathlib import Path

import gradio as gr
from PIL import Image

from rsctir_hf.errors import ImageReadError, RsctirError
from rsctir_hf.files.names import as_text
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.ui.server.events import PRIVATE, Trigger, item_of
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.server.uploads import picture_input
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.views.cards import escape, note, refusal
from rsctir_hf.ui.views.thumbnails import picture_uri

SAMPLES = 8
_SAMPLE_SIDE = 160
SELECT_ITEM = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('[data-item]');
  if (card) trigger('select', {item: Number(card.dataset.item)});
});
"""


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
        gr.HTML(note("Or choose a sample from the gallery"))
        self.samples = gr.HTML("", js_on_load=SELECT_ITEM, elem_id=f"{elem_id}-samples")

        def take_sample(event: gr.EventData) -> Image.Image:
            return read_picture(as_text(item_of(event, sample_paths(bench.gallery))))

        taken = self.samples.select(take_sample, None, self.picture, **PRIVATE)
        # When a picture is cleared, ``input`` comes while the old one is still its value.
        settled = self.picture.input(None, js="() => {}")
        self.given: tuple[Trigger, ...] = (settled.then, taken.success)


def picture_refusal(error: RsctirError) -> str:
    """Say why there is no answer for a picture."""
    unreadable = isinstance(error, ImageReadError)
    title = "This picture cannot be used" if unreadable else "There is no answer"
    return refusal(error, title)
