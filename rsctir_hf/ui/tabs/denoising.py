"""A region graph under another similarity threshold than the model's own, for the slider.

DREA (our reading) drops a region that looks like a stronger one at the same place. How alike is
too alike is one number of the model's configuration. Here the function behind the model's graph
runs again on what the model found; model and configuration are only read.
"""

from typing import Any, cast

from rsctir_hf.models.galr.graph_galr import arrange_graph
from rsctir_hf.models.galr.regions_galr import RegionSet
from rsctir_hf.regions.graph import RegionGraph

_DENOISING = ("both", "denoise")


def own_threshold(config: Any) -> float | None:  # noqa: ANN401 - any model's configuration
    """Return the cosine above which a model drops a region; None where it drops none."""
    if getattr(config, "drea", "") not in _DENOISING:
        return None
    return getattr(config, "denoise_similarity", None)


def with_threshold(
    found: RegionGraph,
    config: Any,  # noqa: ANN401
    *,
    min_similarity: float,
) -> RegionGraph:
    """Return the graph that a model would build with another threshold.

    Args:
        found: what the model returned for B pictures.
        config: the configuration of that model; one without denoising leaves ``found`` as it is.
        min_similarity: cosine above which two regions at the same place look alike.
    """
    if own_threshold(config) in (None, min_similarity):
        return found
    regions = RegionSet(found.boxes, found.scores, found.labels, found.mask)
    graph = arrange_graph(
        regions,
        found.similarity,
        config,
        image_size=(config.image_size, config.image_size),
        min_similarity=min_similarity,
    )
    return cast(RegionGraph, graph)
