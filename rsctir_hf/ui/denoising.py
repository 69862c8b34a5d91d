"""A region graph under another similarity threshold than the model's own, for the slider.

DREA (our reading) drops a region that looks like a stronger one at the same place. How alike is
too alike is one number of the model's configuration. Here the pure functions of the model's graph
run again on a graph it has returned; model and configuration are only read.
"""

from typing import Any, cast

from rsctir_hf.models.galr.graph_galr import (
    GaLRRegionGraph,
    denoise_regions,
    normalise_adjacency,
    region_adjacency,
)
from rsctir_hf.models.galr.regions_galr import RegionSet
from rsctir_hf.regions.graph import RegionGraph

_DENOISING, _ENHANCING = ("both", "denoise"), ("both", "enhanced")


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
    kept, dropped_by = denoise_regions(
        regions, found.similarity, min_similarity=min_similarity, min_iou=config.denoise_iou
    )
    boost = config.enhancement * found.salience if config.drea in _ENHANCING else None
    adjacency = region_adjacency(
        found.boxes,
        found.similarity,
        reach=config.adjacency_range * config.image_size,
        boost=boost,
    )
    graph = GaLRRegionGraph(
        boxes=found.boxes,
        scores=found.scores,
        labels=found.labels,
        mask=found.mask,
        kept=kept,
        dropped_by=dropped_by,
        similarity=found.similarity,
        salience=found.salience,
        adjacency=normalise_adjacency(adjacency, kept),
    )
    return cast(RegionGraph, graph)
