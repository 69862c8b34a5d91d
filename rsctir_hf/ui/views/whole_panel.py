"""What a CMPAGL-style model's tokens see of the whole picture, and how much it makes of it."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.regions.global_window import GlobalView, global_views
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.views.cards import escape, note
from rsctir_hf.ui.views.notices import ONE_WINDOW
from rsctir_hf.ui.views.thumbnails import CARD_SIDE

_DARKEST = 0.75  # how far the cell that is looked at least is darkened
_NOTE = (
    "Beside its surroundings, each part of the picture may look at the whole of it through a few "
    "coarse cells; brighter cells are looked at more. What is seen is added with a learned weight: "
    "at 0 the model would ignore it."
)


def look_at_whole(retriever: Retriever, picture: Image.Image) -> str:
    """Return the global window of each block over an RGB picture, as HTML.

    Raises:
        UnsupportedError: the model has no global window.
    """
    encoder = retriever.encoder
    with evaluating(encoder.model):
        views = global_views(encoder.model, encoder.inputs([picture])["pixel_values"])
    return views_over(picture, views) if views else ONE_WINDOW


def views_over(picture: Image.Image, views: Sequence[GlobalView]) -> str:
    """Draw views over an RGB picture, each with its learned weight in words."""
    image = encode_picture(picture, 2 * CARD_SIDE)
    figures = "".join(
        f"<figure><figcaption><strong>Block {block}</strong> {escape(in_words(view))}</figcaption>"
        f'<div class="rs-cells"><img src="{image}" alt="The picture, brighter where block {block} '
        f'looks">{_cells(view.seen)}</div></figure>'
        for block, view in enumerate(views, start=1)
    )
    return f'<div class="rs-four">{figures}</div>{note(_NOTE)}'


def in_words(view: GlobalView) -> str:
    """Say a view's learned weight and how uneven its cells are."""
    shares = 100 * view.seen
    weight = "no learned weight" if view.weight is None else f"learned weight {view.weight:.3f}"
    return f"{weight}; a cell gets {shares.min():.1f} to {shares.max():.1f} % of the attention"


def _cells(seen: Tensor) -> str:
    """Return a grid (M, M) of shades, none over the cell that is looked at most."""
    span = (seen.max() - seen.min()).clamp(min=1e-12)
    shades = (_DARKEST * (seen.max() - seen) / span).flatten().tolist()
    cells = "".join(f'<i style="opacity:{shade:.2f}"></i>' for shade in shades)
    return f'<div style="grid-template-columns:repeat({seen.shape[1]},1fr)">{cells}</div>'
