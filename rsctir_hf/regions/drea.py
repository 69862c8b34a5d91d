"""One picture's region graph under each of DREA's switches, to be shown side by side.

DREA is the paper's "denoised representation and enhanced adjacency" (GaLR, abstract); its formulas
are our reading, see ``models.galr.graph_galr``. A model is built with one switch. The other three
graphs need no other model: what it found (boxes, scores, appearance) is the same under each.
"""

from typing import cast

from rsctir_hf.models.galr import GaLRConfig
from rsctir_hf.models.galr.graph_galr import arrange_graph
from rsctir_hf.models.galr.regions_galr import RegionSet
from rsctir_hf.regions.graph import RegionGraph

#: plain: every region, plain weights. denoise: without repetitions. enhanced: edges of salient
#: regions strengthened. both: both.
DREA_SWITCHES = ("plain", "denoise", "enhanced", "both")


def drea_graphs(
    found: RegionGraph, config: GaLRConfig, *, image_size: tuple[int, int] | None = None
) -> dict[str, RegionGraph]:
    """Return the graph under each of ``DREA_SWITCHES``, in that order.

    Args:
        found: what ``get_region_graph`` returned for B pictures, under whichever switch.
        config: the configuration of that model.
        image_size: (H, W) pixels of the model input; default: ``config.image_size`` squared.
    """
    size = image_size or (config.image_size, config.image_size)
    regions = RegionSet(found.boxes, found.scores, found.labels, found.mask)
    return {
        drea: cast(
            RegionGraph,
            arrange_graph(regions, found.similarity, config, image_size=size, drea=drea),
        )
        for drea in DREA_SWITCHES
    }
