"""A vector for each patch of a picture, in the space of whole pictures and sentences.

The paper has none; all of this is our reading. The projection sees means over the cells of maps
beside the fused vector of global and local information. A patch goes through it alone: its cell of
the final map and its share of each level in the place of the means, the fused vector as it is.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from .backbone_galr import run_backbone_unpooled
from .fusion_galr import average_pool


def patch_features(
    model: Any,  # noqa: ANN401 - a GaLRModel, whose file imports this one
    pixel_values: Tensor,
) -> Tensor:
    """Embed each patch of pictures.

    Args:
        model: a ``GaLRModel``; its regions are its own, also where a search uses a detector's.
        pixel_values: (B, 3, H, W), normalised.

    Returns:
        (B, T, D) float32 unit vectors, row by row of the backbone's final map.

    Raises:
        NotImplementedError: the model has no map to take patches from, or needs regions that are
            handed in.
    """
    pixels = pixel_values.to(model.dtype)
    maps, final = run_backbone_unpooled(model.backbone, pixels, model.config)
    fused = model.mvsa(maps)  # (B, fusion_dim)
    if model.config.use_regions:
        branch, midf = model._own_branch()
        graph, nodes = branch.find_graph(maps, (pixels.shape[-2], pixels.shape[-1]))
        fused = midf(fused, *branch(nodes, graph.adjacency, graph.kept))
    rows, columns = final.shape[-2:]
    levels = (final, *model.scale_decoupling(maps))
    cells = [average_pool(level, (rows, columns)) for level in levels]
    pooled, *means = (cell.flatten(2).transpose(1, 2).flatten(0, 1) for cell in cells)  # (B T, C)
    each = fused.repeat_interleave(rows * columns, dim=0)
    patches = model.image_projection(each, pooled, means)  # (B T, D)
    return F.normalize(patches.float(), dim=-1).unflatten(0, (len(pixels), rows * columns))
