"""What the regions of a picture do to its score with some words: measured, then said.

The model that made the result is the one that is asked. Where it has a region graph (GaLR), a node
is left out of it; where it has none (CMPAGL-style), the tokens under the box of a region that the
region model found are masked. See ``regions.contribution``.
"""

import networkx as nx
from PIL import Image

from rsctir_hf.regions.contribution import Contributions, NodeMaskingModel
from rsctir_hf.regions.graph import CONTRIBUTION, RegionGraph, to_regions
from rsctir_hf.search.retriever import Retriever

SMALL_MOVE = 0.01  # a region that moves the score by no more than this is not named


def measure_effect(
    retriever: Retriever,
    picture: Image.Image,
    found: RegionGraph,
    words: str,
    *,
    input_side: int,
) -> Contributions:
    """Return what the regions of a picture contribute to its score with some words.

    Args:
        retriever: of the model that made the result.
        picture: RGB.
        found: the picture's region graph (B = 1), of this model or of the region model.
        words: the query.
        input_side: side in pixels of the square model input that ``found`` lies in.

    Returns:
        Contributions whose ``numbers`` are those of the graph.

    Raises:
        UnsupportedError: the model can leave nothing out.
        QueryError: no words.
    """
    if isinstance(retriever.encoder.model, NodeMaskingModel):
        return retriever.contributions(picture, words)
    regions = to_regions(found, input_side=input_side, picture_size=picture.size)
    return retriever.contributions(picture, words, regions=regions)


def effect_sentence(graph: nx.Graph) -> str:
    """Say in one sentence what the regions did for the result.

    Every region with a contribution counts, in the graph or not: whether the model that made the
    result used it is for that model to say, and ``explained`` has asked it.

    Args:
        graph: ``to_networkx`` of an ``explained`` graph.
    """
    score = graph.graph["whole"]
    start = f"For “{graph.graph['words']}”, "
    used = [node for node in graph.nodes.values() if CONTRIBUTION in node]
    if not used:
        return f"{start}the score is {score:.2f}, and there is no region to leave out."
    strongest = max(used, key=lambda node: abs(node[CONTRIBUTION]))
    together = _without_any(graph, count=len(used))
    if abs(strongest[CONTRIBUTION]) <= SMALL_MOVE:
        return (
            f"{start}no single region moves the score of {score:.2f} by more than "
            f"{SMALL_MOVE:.2f}{together}."
        )
    verb = "lowers" if strongest[CONTRIBUTION] > 0 else "raises"
    name = f"#{strongest['number']}"
    name += f" ({strongest['label']})" if "label" in strongest else ""
    return (
        f"{start}leaving out region {name} {verb} the score from {score:.2f} to "
        f"{score - strongest[CONTRIBUTION]:.2f}{together}."
    )


def _without_any(graph: nx.Graph, *, count: int) -> str:
    """Say what the score is without all regions, where that was measured and says more."""
    if count < 2 or "without_any" not in graph.graph:
        return ""
    return f"; without any region it would be {graph.graph['without_any']:.2f}"
