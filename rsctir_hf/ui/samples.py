"""A strip of sample pictures to choose from: a few of the launched gallery, spread over it."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from rsctir_hf.ui.cards import escape
from rsctir_hf.ui.galleries import Gallery
from rsctir_hf.ui.pictures import picture_uri

SAMPLES = 8
_SAMPLE_SIDE = 160
SELECT_ITEM = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('[data-item]');
  if (card) trigger('select', {item: Number(card.dataset.item)});
});
"""


def sample_paths(gallery: Gallery | None, count: int = SAMPLES) -> tuple[Path, ...]:
    """Return ``count`` pictures at even steps through the gallery."""
    paths = gallery.paths if gallery else ()
    step = max(len(paths) // count, 1)
    return tuple(paths[step // 2 :: step][:count])


def sample_strip(gallery: Gallery | None) -> str:
    """Return the strip as HTML; empty before the gallery is open."""
    return _strip(sample_paths(gallery), gallery)


def _strip(paths: Sequence[Path], gallery: Gallery | None) -> str:
    if gallery is None or not paths:
        return ""
    buttons = []
    for item, path in enumerate(paths):
        record = gallery.record(str(path))
        words = escape(record.captions[0] if record.captions else path.name)
        buttons.append(
            f'<button type="button" class="rs-sample" data-item="{item}" title="{words}">'
            f'<img src="{picture_uri(str(path), _SAMPLE_SIDE)}" alt="{words}"></button>'
        )
    return f'<div class="rs-samples" role="group" aria-label="Samples">{"".join(buttons)}</div>'


def build_sample_strip(elem_id: str) -> gr.HTML:
    """Place an empty strip; ``layout`` fills it once the gallery is open."""
    gr.HTML('<p class="rs-note">Or choose a sample from the gallery</p>')
    return gr.HTML("", js_on_load=SELECT_ITEM, elem_id=elem_id)
