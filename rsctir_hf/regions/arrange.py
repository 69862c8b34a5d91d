"""A region graph arranged anew, as if its model had another switch of DREA or another threshold.

DREA is the paper's "denoised representation and enhanced adjacency" (GaLR, abstract); its formulas
are our reading, see ``models.galr.graph_galr``. What a model found (boxes, scores, appearance) is
the same under each switch and threshold, so the function behind its graph runs again on that. Model
and configuration are only read.
"""

from typing import Any, cast

from rsctir_hf.models.galr.graph_galr import arrange_graph
from rsctir_hf.models.galr.regions_galr import RegionSet
from rsctir_hf.regions.graph import RegionGraph

#: plain: every region, plain weights. denoise: without repetitions. enhanced: edges of salient
#: regions strengthened. both: both.
DREA_SWITCHES = ("plain", "denoise", "enhanced", "both")
_DENOISING = ("both", "denoise")


def rearranged(
    found: RegionGraph,
    config: Any,  # noqa: ANN401 - any model's configuration
    *,
    image_size: tuple[int, int] | None = None,
    drea: str | None = None,
    min_similarity: float | None = None,
) -> RegionGraph:
    """Return the graph that a model would build with another switch or threshold.

    Args:
        found: what ``get_region_graph`` returned for B pictures.
        config: the configuration of that model.
        image_size: (H, W) pixels of the model input; default: ``config.image_size`` squared.
        drea: one of ``DREA_SWITCHES``; default: the model's own.
        min_similarity: cosine above which two regions at the same place look alike; default: the
            model's own.
    """
    graph = arrange_graph(
        RegionSet(found.boxes, found.scores, found.labels, found.mask),
        found.similarity,
        config,
        image_size=image_size or (config.image_size, config.image_size),
        drea=drea,
        min_similarity=min_similarity,
    )
    return cast(RegionGraph, graph)


def own_threshold(config: Any) -> float | None:  # noqa: ANN401
    """Return the cosine above which a model drops a region; None where it drops none."""
    denoises = getattr(config, "drea", None) in _DENOISING
    return getattr(config, "denoise_similarity", None) if denoises else None
