"""The region graph as a plotly figure over its picture, and as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from PIL import Image

from rsctir_hf.regions.graph import CONTRIBUTION
from rsctir_hf.ui.server.messages import counted
from rsctir_hf.ui.views.plots import INK, add_picture, lay_out, numbered_marks, show_pixels
from rsctir_hf.ui.views.thumbnails import DETAIL_SIDE

if TYPE_CHECKING:
    import networkx as nx

KEPT, DROPPED, EDGE = "#ffd166", "#c3ccd1", "#4cc9f0"
ADDS, TAKES = "#5b9dff", "#ff8a4c"  # blue and orange: told apart by colour-blind readers too
SMALL_MOVE = 0.01  # a region that moves the score by no more than this is not named
NOTICEABLE = 0.005  # a smaller contribution reads 0.00
_BASE_WIDTH, _MORE_WIDTH = 0.8, 6.0  # pixels of the weakest and above it of the strongest edge
_VARIANT = ("With this threshold the region model would look at", "leave")


@dataclass(frozen=True)
class GraphView:
    """What of a region graph is shown.

    Attributes:
        most_regions: show this many regions at most, the most salient first.
        least_weight: hide edges below this share (0..1) of the strongest edge.
    """

    most_regions: int
    least_weight: float = 0.0

    def nodes(self, graph: nx.Graph) -> list[int]:
        """Return the nodes shown, the most salient first."""
        by_salience = sorted(graph, key=lambda node: -graph.nodes[node]["salience"])
        return by_salience[: self.most_regions]

    def edges(self, graph: nx.Graph) -> list[tuple[int, int, float]]:
        """Return the edges shown between kept regions, with weights as a share of the strongest."""
        shown = set(self.nodes(graph))
        kept = {node for node in shown if graph.nodes[node]["kept"]}
        found = [(a, b, w) for a, b, w in graph.edges(data="weight") if {a, b} <= kept and w > 0]
        strongest = max((weight for _, _, weight in found), default=1.0)
        shares = [(a, b, weight / strongest) for a, b, weight in found]
        return [edge for edge in shares if edge[2] >= self.least_weight]

    def strongest_tie(self, graph: nx.Graph) -> tuple[str, str] | None:
        """Name the two regions of the strongest edge shown, as "#1" and "#3"; None without one."""
        edges = self.edges(graph)
        if not edges:
            return None
        first, second, _ = max(edges, key=lambda edge: edge[2])
        return f"#{graph.nodes[first]['number']}", f"#{graph.nodes[second]['number']}"


def region_figure(
    picture: Image.Image, graph: nx.Graph, view: GraphView, *, input_side: int
) -> go.Figure:
    """Draw boxes, numbered regions and weighted edges over the picture.

    Args:
        picture: RGB, (W, H) pixels.
        graph: of ``regions.graph.to_networkx``; corners in pixels of the model input.
        view: what of it is shown.
        input_side: side of the square model input in pixels.

    Returns:
        A figure whose axes are the pixels of the picture.
    """
    figure, graph = go.Figure(), on_picture(graph, picture.size, input_side)
    add_picture(figure, picture, (0, 0, *picture.size), side=DETAIL_SIDE)
    for first, second, share in view.edges(graph):
        figure.add_trace(_edge(graph.nodes[first], graph.nodes[second], share))
    nodes = [graph.nodes[node] for node in view.nodes(graph)]
    for node in nodes:
        figure.add_trace(_box(node))
        if sign_colour(node) in (ADDS, TAKES):
            figure.add_annotation(_contribution(node))
    figure.add_trace(_centres(nodes))
    show_pixels(figure, picture.size, fixedrange=True)
    return lay_out(figure)


def graph_sentence(graph: nx.Graph, view: GraphView, *, own: bool = True) -> str:
    """Say in one or two sentences what the graph shows and what it does for the result.

    Args:
        graph: of ``regions.graph.to_networkx``.
        view: what of it is shown.
        own: it is the model's own graph, not a variant under another threshold.
    """
    kept = [node for node in graph if graph.nodes[node]["kept"]]
    dropped = len(graph) - len(kept)
    looks, leaves = ("The region model looks at", "leaves") if own else _VARIANT
    text = (
        f"{looks} {counted(len(kept), 'region')} of this picture"
        f"{f' and {leaves} {dropped} out as repetition' if dropped else ''}; what they show "
        "corrects that model's overall embedding of the picture, so that small objects count."
    )
    tie = view.strongest_tie(graph)
    return f"{text} The strongest tie is between {tie[0]} and {tie[1]}." if tie else text


def effect_sentence(graph: nx.Graph) -> str:
    """Say in one sentence what the regions of an ``explained`` graph did for the result.

    A region is named as the reason if it speaks for the result by more than ``SMALL_MOVE`` and by
    more than the noise of a random mask; else one that speaks against it as clearly; else none is.
    Every region with a contribution counts, in the graph or not: whether the model that made the
    result used it is for that model to say, and ``explained`` has asked it.
    """
    score = graph.graph["whole"]
    start = f"For “{graph.graph['words']}”, "
    used = [node for node in graph.nodes.values() if CONTRIBUTION in node]
    if not used:
        return f"{start}the score is {score:.2f}, and there is no region to leave out."
    together = ""
    if len(used) > 1 and "without_any" in graph.graph:
        together = f"; without any region it would be {graph.graph['without_any']:.2f}"
    noise = graph.graph.get("noise", 0.0)
    least = max(SMALL_MOVE, noise)
    for_it = max(used, key=lambda node: node[CONTRIBUTION])
    against = min(used, key=lambda node: node[CONTRIBUTION])
    if for_it[CONTRIBUTION] > least:
        return f"{start}{_without(for_it, score, 'lowers')}{together}."
    if against[CONTRIBUTION] < -least:
        return f"{start}no region decides, and {_without(against, score, 'raises')}{together}."
    why = "the noise of a random mask" if noise > SMALL_MOVE else "too little to be a reason"
    return (
        f"{start}no single region decides: none moves the score of {score:.2f} by more than "
        f"{least:.2f}, {why}{together}."
    )


def _without(node: dict, score: float, verb: str) -> str:
    """Say what leaving a region out does to a score."""
    name = f"#{node['number']}" + (f" ({node['label']})" if "label" in node else "")
    left = score - node[CONTRIBUTION]
    return f"leaving out region {name} {verb} the score from {score:.2f} to {left:.2f}"


def sign_colour(node: dict) -> str:
    """Return the colour of a region: what it does to a score, else in the graph or left out.

    A region that the graph leaves out can move the score of a model that uses the boxes alone.
    """
    contribution = node.get("contribution", 0.0)
    if abs(contribution) < NOTICEABLE:
        return KEPT if node["kept"] else DROPPED
    return ADDS if contribution > 0 else TAKES


def signed(contribution: float, digits: int = 2) -> str:
    """Write a contribution with its sign, a true minus."""
    return f"{round(contribution, digits) + 0.0:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def on_picture(graph: nx.Graph, size: tuple[int, int], input_side: int) -> nx.Graph:
    """Return a graph with its corners in pixels of a picture (W, H), not of the model input."""
    scaled = graph.copy()
    for node in scaled.nodes.values():
        for axis, length in zip("xy", size, strict=True):
            for corner in (f"{axis}1", f"{axis}2"):
                node[corner] *= length / input_side
    return scaled


def centre_of(node: dict) -> tuple[float, float]:
    """Return x, y of a region's middle."""
    return (node["x1"] + node["x2"]) / 2, (node["y1"] + node["y2"]) / 2


def _edge(first: dict, second: dict, share: float) -> go.Scatter:
    (xa, ya), (xb, yb) = centre_of(first), centre_of(second)
    return go.Scatter(
        x=[xa, xb],
        y=[ya, yb],
        mode="lines",
        line={"color": EDGE, "width": _BASE_WIDTH + _MORE_WIDTH * share},
        opacity=0.35 + 0.6 * share,
        hoverinfo="skip",
    )


def _box(node: dict) -> go.Scatter:
    """Draw a region's outline; one that moves the score is filled, to be seen at a glance."""
    x1, y1, x2, y2 = (node[corner] for corner in ("x1", "y1", "x2", "y2"))
    colour = sign_colour(node)
    width, dash = (2, "solid") if node["kept"] else (1.5, "dot")
    tint = {"fill": "toself", "fillcolor": f"{colour}30"} if colour in (ADDS, TAKES) else {}
    return go.Scatter(
        x=[x1, x2, x2, x1, x1],
        y=[y1, y1, y2, y2, y1],
        mode="lines",
        line={"color": colour, "width": width, "dash": dash},
        hoverinfo="skip",
        **tint,
    )


def _centres(nodes: list[dict]) -> go.Scatter:
    return numbered_marks(
        [centre_of(node) for node in nodes],
        [node["number"] for node in nodes],
        [_hover(node) for node in nodes],
        size=[20 if node["kept"] else 16 for node in nodes],
        color=[sign_colour(node) for node in nodes],
        symbol=["circle" if node["kept"] else "square" for node in nodes],
    )


def _contribution(node: dict) -> go.layout.Annotation:
    """Write a region's contribution below its number."""
    x, y = centre_of(node)
    return go.layout.Annotation(
        x=x,
        y=y,
        yshift=-19,
        text=f"<b>{signed(node['contribution'])}</b>",
        showarrow=False,
        bgcolor=INK,
        borderpad=2,
        font={"color": sign_colour(node), "size": 11},
    )


def _hover(node: dict) -> str:
    lines = [f"<b>#{node['number']} {node.get('label', '')}</b>"]
    lines.append(f"score {node['score']:.2f} · salience {node['salience']:.2f}")
    if "contribution" in node:
        verb = "adds to" if node["contribution"] > 0 else "takes from"
        lines.append(f"{verb} the result's score: {signed(node['contribution'], 3)}")
    if not node["kept"]:
        lines.append(f"left out: {node.get('dropped', 'repeats another region')}")
    return "<br>".join(lines)
