"""One picture's region graph under DREA's four switches, side by side as small drawings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.regions.arrange import DREA_SWITCHES, rearranged
from rsctir_hf.regions.graph import RegionGraph, to_data, to_networkx
from rsctir_hf.ui.server.messages import counted
from rsctir_hf.ui.views.cards import escape, note
from rsctir_hf.ui.views.region_figures import DROPPED, EDGE, KEPT, GraphView, centre_of, on_picture
from rsctir_hf.ui.views.thumbnails import CARD_SIDE

if TYPE_CHECKING:
    import networkx as nx

_LEAST_WEIGHT = 0.3  # ties below this share of a graph's strongest are neither drawn nor counted
_NAMES = {"plain": "Plain", "denoise": "Denoise", "enhanced": "Enhanced", "both": "Both"}
_NOTE = (
    "Denoise leaves out regions that repeat another one; Enhanced strengthens the ties of regions "
    f"that stand out. Ties below {_LEAST_WEIGHT:.0%} of a drawing's strongest are not counted."
)


def compare_switches(picture: Image.Image, found: RegionGraph, config: Any) -> str:  # noqa: ANN401
    """Return four small drawings with a line each on what the switch does, as HTML.

    Drawn is the region graph (B = 1) of an RGB picture, found by the model of ``config``.
    """
    image = encode_picture(picture, 2 * CARD_SIDE)
    figures = []
    for drea in DREA_SWITCHES:
        arranged = to_networkx(to_data(rearranged(found, config, drea=drea)))
        graph = on_picture(arranged, picture.size, config.image_size)
        name = _NAMES[drea] + (" (the model's own)" if drea == config.drea else "")
        figures.append(
            f"<figure><figcaption><strong>{escape(name)}</strong> {escape(in_words(graph))}"
            f"</figcaption>{_drawing(image, picture.size, graph)}</figure>"
        )
    return f'<div class="rs-four">{"".join(figures)}</div>{note(_NOTE)}'


def in_words(graph: nx.Graph) -> str:
    """Count a graph's regions and ties, as "14 regions, 6 left out; 31 ties, strongest #1–#3"."""
    kept = sum(node["kept"] for node in graph.nodes.values())
    dropped = len(graph) - kept
    regions = counted(kept, "region") + (f", {dropped} left out" if dropped else "")
    view = GraphView(len(graph), _LEAST_WEIGHT)
    strongest = view.strongest_tie(graph)
    if strongest is None:
        return f"{regions}; no ties"
    ties = counted(len(view.edges(graph)), "tie")
    return f"{regions}; {ties}, strongest {strongest[0]}–{strongest[1]}"  # noqa: RUF001


def _drawing(image: str, size: tuple[int, int], graph: nx.Graph) -> str:
    """Return picture, boxes and ties as SVG in pixels of the picture (W, H)."""
    width, height = size
    unit = max(size) / CARD_SIDE  # about a screen pixel
    ties = "".join(
        _line(graph.nodes[first], graph.nodes[second], share, unit)
        for first, second, share in GraphView(len(graph), _LEAST_WEIGHT).edges(graph)
    )
    boxes = "".join(_box(node, unit) for node in graph.nodes.values())
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(in_words(graph))}">'
        f'<image href="{image}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        f"{boxes}{ties}</svg>"
    )


def _line(first: dict, second: dict, share: float, unit: float) -> str:
    (xa, ya), (xb, yb) = centre_of(first), centre_of(second)
    return (
        f'<line x1="{xa:.1f}" y1="{ya:.1f}" x2="{xb:.1f}" y2="{yb:.1f}" stroke="{EDGE}" '
        f'stroke-width="{(0.5 + 3 * share) * unit:.2f}" opacity="{0.3 + 0.6 * share:.2f}"/>'
    )


def _box(node: dict, unit: float) -> str:
    x1, y1, x2, y2 = (node[corner] for corner in ("x1", "y1", "x2", "y2"))
    dash = "" if node["kept"] else f' stroke-dasharray="{3 * unit:.1f}"'
    return (
        f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none" '
        f'stroke="{KEPT if node["kept"] else DROPPED}" stroke-width="{1.6 * unit:.2f}"{dash}/>'
    )
