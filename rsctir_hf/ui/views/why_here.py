"""Where in a picture the words are: the one heat map of a query, over the picture."""

from PIL import Image

from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.search.heat import overlaid
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.views.cards import escape, note
from rsctir_hf.ui.views.thumbnails import CARD_SIDE

_CAPTION = (
    "The brighter, the more the place looks like your words. It says where, not how well: "
    "some place is always the brightest."
)


def heat_in_view(retriever: Retriever, picture: Image.Image, words: str) -> str:
    """Return an RGB picture under the heat map of some words as HTML; nothing without words.

    Raises:
        QueryError, RegionsError, UnsupportedError: see ``HeatMaps.of``.
    """
    if not words.strip():
        return ""
    shown = overlaid(picture, retriever.heat.of(picture, words))
    alt = escape(f"The picture, bright where it looks like {words}")
    return (
        f'<figure class="rs-why"><figcaption>Where: “{escape(words)}”</figcaption>'
        f'<div class="rs-heat"><img src="{encode_picture(shown, 2 * CARD_SIDE)}" alt="{alt}"></div>'
        f"{note(_CAPTION)}</figure>"
    )
