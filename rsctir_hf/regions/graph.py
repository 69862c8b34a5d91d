"""A model's region graph as ``torch_geometric`` data, as ``networkx``, and as words.

The model computes its graph dense and batched (``get_region_graph``); this file takes one picture
of that batch and drops the padding. Any object with the tensors of ``RegionGraph`` will do. In
everything meant for people (``number``, ``describe_drop``, ``node_table``) regions count from 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torchvision.ops import box_iou

from rsctir_hf.errors import require_packages
from rsctir_hf.models.galr import GaLRConfig
from rsctir_hf.regions.contribution import Contributions
from rsctir_hf.regions.proposer import Regions

if TYPE_CHECKING:  # imported when the first graph is asked for: the app's page stands sooner so
    import networkx as nx
    from torch_geometric.data import Data

require_packages("networkx", "torch_geometric", extra="app")

# Overlap above which DREA (our reading) calls two boxes one place.
_SAME_PLACE = GaLRConfig.denoise_iou
NODE_COLUMNS = ("#", "label", "score", "salience", "x", "y", "width", "height", "in the graph")
CONTRIBUTION = "contribution"  # column, and attribute of nodes, of an explained graph
_OF_AN_EFFECT = ("words", "whole", "without_any", "noise")
_CONTRIBUTION_PLACE = 4  # its column follows salience


class RegionGraph(Protocol):
    """What a model's region graph holds, for B pictures of N regions each.

    Attributes:
        boxes: (B, N, 4) x1, y1, x2, y2 in pixels of the model input.
        scores: (B, N) in 0..1.
        labels: (B, N) int64, or None where the proposer knows no classes.
        mask: (B, N) bool, false for padding.
        kept: (B, N) bool, true for the regions that stayed in the graph.
        dropped_by: (B, N) int64, the kept region each dropped one resembles; -1 elsewhere.
        similarity: (B, N, N) cosine of the regions' appearance.
        salience: (B, N), 1 for the most salient region of a picture.
        adjacency: (B, N, N) edge weights after enhancement and normalisation.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor | None
    mask: Tensor
    kept: Tensor
    dropped_by: Tensor
    similarity: Tensor
    salience: Tensor
    adjacency: Tensor


def to_data(
    region_graph: RegionGraph,
    *,
    index: int = 0,
    x: Tensor | None = None,
    label_names: Sequence[str] | None = None,
) -> Data:
    """Return one picture's region graph for PyTorch Geometric, without padding.

    Direction: the model's layers compute ``A X``, so that node i hears from node j with weight
    ``A_ij``. That is the edge from source j to target i, in PyG's order (source, target). Every
    non-zero weight is an edge, self-loops included and already normalised, so a PyG layer must
    add nothing: ``GCNConv(..., add_self_loops=False, normalize=False)`` computes what the model's
    dense layer does.

    Args:
        region_graph: of B pictures.
        index: which picture of the batch.
        x: (B, N, F) node features, where the caller has them.
        label_names: names of the integer labels; one without a name is called by its number.

    Returns:
        Data with n nodes and E edges: ``pos`` (n, 2) box centres and ``boxes`` (n, 4) in pixels of
        the model input, ``scores`` ``salience`` ``kept`` ``dropped_by`` (n,), ``similarity``
        (n, n), ``edge_index`` (2, E), ``edge_attr`` (E, 1) weights; ``numbers`` (n,) counts the
        regions from 1, ``reasons`` says of each of the n why it was dropped (empty: it was not)
        and ``names`` what it is labelled (empty: nothing); ``x`` (n, F) and ``labels`` (n,) where
        given.

    Raises:
        ValueError: the batch has no picture ``index``, ``x`` does not fit, or a value of the graph
            is not finite.
    """
    present = _present(region_graph, index)  # (n,)
    boxes = region_graph.boxes[index, present].float()  # (n, 4)
    weights = region_graph.adjacency[index][present][:, present].float()  # (n, n)
    edges = weights.T.nonzero().T.contiguous()  # (2, E) source, target
    data = _package("torch_geometric.data").Data(
        pos=(boxes[:, :2] + boxes[:, 2:]) / 2,
        edge_index=edges,
        edge_attr=weights[edges[1], edges[0]][:, None],
        num_nodes=len(present),
    )
    data.boxes = boxes
    data.scores = region_graph.scores[index, present].float()
    data.salience = region_graph.salience[index, present].float()
    data.kept = region_graph.kept[index, present]
    data.dropped_by = _renumbered(region_graph.dropped_by[index], present)
    data.similarity = region_graph.similarity[index][present][:, present].float()
    _check_finite(data)
    rows = present.tolist()
    data.numbers = present + 1
    data.reasons = [describe_drop(region_graph, row, index=index) for row in rows]
    data.names = [""] * len(rows)
    if region_graph.labels is not None:
        data.labels = region_graph.labels[index, present]
        named = dict(enumerate(label_names or ()))
        data.names = [named.get(label, str(label)) for label in data.labels.tolist()]
    if x is not None:
        if x.shape[:2] != region_graph.mask.shape:
            raise ValueError(
                f"x is {tuple(x.shape)}; expected (B, N, F) with the graph's "
                f"(B, N) = {tuple(region_graph.mask.shape)}."
            )
        data.x = x[index, present]
    return data


def explained(data: Data, contributions: Contributions, *, words: str) -> Data:
    """Return a graph that also says what its regions contribute to the score with some words.

    Args:
        data: n nodes, of ``to_data``.
        contributions: of the same picture's regions, for one query (Q = 1).
        words: that query.

    Returns:
        A copy with ``contributions`` (n,), NaN for a region that was not asked about or that the
        model had left out itself; ``words``; ``whole``, the score; and, where they were measured,
        ``without_any``, the score without all regions, and ``noise``, what a region has to exceed.
    """
    found = data.clone()
    value_of = dict(zip(contributions.numbers.tolist(), contributions.values[:, 0], strict=True))
    used = set(contributions.numbers[contributions.kept].tolist())
    found.contributions = torch.tensor(
        [float(value_of[n]) if n in used else float("nan") for n in data.numbers.tolist()]
    )
    found.words, found.whole = words, float(contributions.whole[0])
    if contributions.without_any is not None:
        found.without_any = float(contributions.without_any[0])
    if contributions.noise is not None:
        found.noise = float(contributions.noise[0])
    return found


def to_regions(
    region_graph: RegionGraph, *, input_side: int, picture_size: tuple[int, int], index: int = 0
) -> Regions:
    """Return one picture's boxes for another model; region number k is box k - 1.

    Args:
        region_graph: of B pictures. Padding stays, as boxes without area.
        input_side: side in pixels of the square model input that its boxes lie in.
        picture_size: (width, height) in pixels that the boxes are returned in.
        index: which picture of the batch.
    """
    scale = torch.tensor(picture_size * 2) / input_side  # (4,)
    boxes = region_graph.boxes[index].float().cpu() * scale
    return Regions(boxes, region_graph.scores[index].float().cpu())


def to_networkx(data: Data) -> nx.Graph:
    """Return what ``to_data`` made of a picture as an undirected graph without self-loops.

    Node i is the i-th region that is not padding. Nodes carry ``number``, ``x1`` ``y1`` ``x2``
    ``y2`` (pixels of the model input), ``score``, ``salience``, ``kept``, ``self_weight`` (of the
    self-loop, where there is one), ``label`` where there is one and ``dropped`` (the reason) where
    it applies; edges carry ``weight`` and ``similarity``. The model's own weights are symmetric;
    others give an ``nx.DiGraph`` whose edges lead from source to target, see ``to_data``. The nodes
    of an ``explained`` graph also carry ``contribution``, the graph itself ``words``, ``whole``,
    ``without_any`` and ``noise``.
    """
    nx = _package("networkx")
    graph = nx.DiGraph() if _is_directed(data) else nx.Graph()
    graph.graph |= {name: data[name] for name in _OF_AN_EFFECT if name in data}
    for node in range(data.num_nodes):
        graph.add_node(node, **_node_attributes(data, node))
    for (source, target), weight in zip(
        data.edge_index.T.tolist(), data.edge_attr[:, 0].tolist(), strict=True
    ):
        if source == target:
            graph.nodes[source]["self_weight"] = weight
        elif source < target or graph.is_directed():
            similarity = float(data.similarity[source, target])
            graph.add_edge(source, target, weight=weight, similarity=similarity)
    return graph


def to_node_link_json(data: Data) -> str:
    """Return ``to_networkx`` as node-link JSON, with the keys ``nodes`` and ``edges``."""
    return json.dumps(
        _package("networkx").node_link_data(to_networkx(data), edges="edges"), indent=1
    )


def to_graphml(data: Data) -> str:
    """Return ``to_networkx`` as GraphML, for Gephi, yEd and the like."""
    return "\n".join(_package("networkx").generate_graphml(to_networkx(data))) + "\n"


def describe_drop(
    region_graph: RegionGraph, region: int, *, index: int = 0, min_iou: float = _SAME_PLACE
) -> str:
    """Return why a region left the graph, as in "0.97 alike and overlapping #3".

    A region leaves when it looks like a stronger one and either their overlap (IoU) exceeds
    ``min_iou``, which is called "overlapping", or only their centres are nearer than half the
    longest side of the two, which is called "close to".

    Args:
        region_graph: of B pictures.
        region: which of the N regions, from 0.
        index: which picture of the batch.
        min_iou: ``config.denoise_iou`` of the model; default: that of a new configuration.

    Returns:
        The reason; empty for a region that stayed.

    Raises:
        ValueError: the batch has no such picture or region, or the region is padding.
    """
    if region not in _present(region_graph, index).tolist():
        raise ValueError(
            f"region {region} of picture {index} is padding or absent; the graph holds "
            f"{int(region_graph.mask[index].sum())} regions there."
        )
    cause = int(region_graph.dropped_by[index, region])
    if cause < 0:
        return ""
    alike = float(region_graph.similarity[index, region, cause])
    pair = region_graph.boxes[index, [region, cause]].float()  # (2, 4)
    overlapping = box_iou(pair[:1], pair[1:]).item() > min_iou
    return f"{alike:.2f} alike and {'overlapping' if overlapping else 'close to'} #{cause + 1}"


def node_table(data: Data) -> list[list[str | int | float]]:
    """Return a row of ``node_columns`` for each region that is not padding.

    x, y, width and height are whole pixels of the model input; x and y name the upper left corner.
    The last column says ``yes`` or why the region was dropped.
    """
    rows: list[list[str | int | float]] = []
    for node in range(data.num_nodes):
        x1, y1, x2, y2 = data.boxes[node].tolist()
        row: list[str | int | float] = [
            int(data.numbers[node]),
            data.names[node],
            round(float(data.scores[node]), 3),
            round(float(data.salience[node]), 3),
            round(x1),
            round(y1),
            round(x2 - x1),
            round(y2 - y1),
            data.reasons[node] or "yes",
        ]
        if "contributions" in data:
            row.insert(_CONTRIBUTION_PLACE, _signed(float(data.contributions[node])))
        rows.append(row)
    return rows


def node_columns(data: Data) -> list[str]:
    """Return the names of the columns of ``node_table``: one more in an ``explained`` graph."""
    columns = list(NODE_COLUMNS)
    if "contributions" in data:
        columns.insert(_CONTRIBUTION_PLACE, CONTRIBUTION)
    return columns


def _signed(contribution: float) -> str:
    """Write a contribution with its sign, a dash where there is none."""
    return "-" if math.isnan(contribution) else f"{round(contribution, 3) + 0.0:+.3f}"


def _node_attributes(data: Data, node: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "number": int(data.numbers[node]),
        "kept": bool(data.kept[node]),
        "score": float(data.scores[node]),
        "salience": float(data.salience[node]),
    }
    corners = zip(("x1", "y1", "x2", "y2"), data.boxes[node].tolist(), strict=True)
    attributes |= {name: round(value, 2) for name, value in corners}
    attributes |= {"label": data.names[node]} if data.names[node] else {}
    if "contributions" in data and not math.isnan(contribution := float(data.contributions[node])):
        attributes[CONTRIBUTION] = contribution
    return attributes | ({"dropped": data.reasons[node]} if data.reasons[node] else {})


def _is_directed(data: Data) -> bool:
    """Whether some edge's weight differs from that of the edge back."""
    weights = data.edge_attr.new_zeros(data.num_nodes, data.num_nodes)
    weights[data.edge_index[1], data.edge_index[0]] = data.edge_attr[:, 0]
    return not torch.allclose(weights, weights.T)


def _check_finite(data: Data) -> None:
    for name in ("boxes", "scores", "salience", "similarity", "edge_attr"):
        if not data[name].isfinite().all():
            raise ValueError(
                f"The graph's {name} hold values that are not finite; mask such regions out, as "
                "get_region_graph does."
            )


def _present(region_graph: RegionGraph, index: int) -> Tensor:
    """Return the row numbers (n,) of one picture's regions that are not padding."""
    pictures = len(region_graph.mask)
    if not 0 <= index < pictures:
        raise ValueError(f"index is {index}; the region graph holds pictures 0 to {pictures - 1}.")
    return region_graph.mask[index].nonzero().flatten()


def _renumbered(dropped_by: Tensor, present: Tensor) -> Tensor:
    """Translate row numbers among N regions to those among the n present ones; -1 stays."""
    places = torch.full((len(dropped_by) + 1,), -1, dtype=torch.int64, device=present.device)
    places[present] = torch.arange(len(present), device=present.device)
    return places[dropped_by[present]]  # -1 reads the spare last place


def _package(name: str) -> Any:  # noqa: ANN401 - a module
    return import_module(name)
