"""Below a result: the regions of it that the region model looks at, as boxes over the picture.

The boxes do not depend on the query, and the text below them says so.
"""

from typing import Any

from PIL import Image

from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.regions.graph import to_networkx
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.views.cards import escape, note
from rsctir_hf.ui.views.region_figures import KEPT, GraphView
from rsctir_hf.ui.views.thumbnails import CARD_SIDE

MOST_BOXES = 6
_FAINTEST = 0.35  # opacity of a box without salience
_CAPTION = (
    "The clearer a box, the more it stands out in this picture. The boxes are what the "
    "region model works with and do not depend on what you searched for."
)


def regions_in_view(retriever: Retriever, picture: Image.Image) -> str:
    """Return an RGB picture with its most salient regions as HTML.

    Raises:
        UnsupportedError: the model has no region graph.
    """
    graph = to_networkx(retriever.region_graph(picture))
    config: Any = retriever.encoder.config
    shown = GraphView(len(graph)).nodes(graph)
    kept = [graph.nodes[node] for node in shown if graph.nodes[node]["kept"]][:MOST_BOXES]
    alt = escape(f"The picture with {len(kept)} boxes around what stands out")
    return (
        '<figure class="rs-why"><figcaption>What the region model looks at</figcaption>'
        f'<div class="rs-boxes"><img src="{encode_picture(picture, 2 * CARD_SIDE)}" alt="{alt}">'
        f"{''.join(_box(node, int(config.image_size)) for node in reversed(kept))}</div>"
        f"{note(_CAPTION)}</figure>"
    )


def _box(node: dict[str, Any], side: int) -> str:
    """Return one box; its place is in shares of the picture, so that it fits any size."""
    left, top = 100 * node["x1"] / side, 100 * node["y1"] / side
    width, height = 100 * (node["x2"] - node["x1"]) / side, 100 * (node["y2"] - node["y1"]) / side
    opacity = _FAINTEST + (1 - _FAINTEST) * node["salience"]
    return (
        f'<i style="left:{left:.1f}%;top:{top:.1f}%;width:{width:.1f}%;height:{height:.1f}%;'
        f'opacity:{opacity:.2f};border-color:{KEPT}"></i>'
    )
