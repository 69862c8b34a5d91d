"""The cell of an image tower's map that is nearest to a text: what contributions compete with.

Both families project pooled features: means over the cells of their maps. Here every cell goes
through the projection alone, in the place of the means, as MaskCLIP does it with CLIP (Zhou et al.,
ECCV 2022); what has no cells (GaLR's fused vector) stays that of the whole picture. Maps of other
sizes are pooled or interpolated to the grid. Our reading: neither paper has a patch similarity.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Projection = Callable[[Sequence[Tensor]], Tensor]


@torch.no_grad()
def cell_features(
    model: Any,  # noqa: ANN401
    pixels: Tensor,
    sides: Sequence[int],
) -> dict[int, Tensor]:
    """Return unit vectors (side * side, D) of the cells of a picture (1, 3, H, W), row by row.

    Args:
        model: a GaLR model with a head over pooled levels, or a CMPAGL-style model with a stem
            that skips, as the shipped ones are; in evaluation mode.
        pixels: normalised.
        sides: cells along each side of a grid; the picture is looked at once for all grids.
    """
    project, maps = _FAMILIES[model.config.model_type](model, pixels)
    return {side: project([_cells(level, side) for level in maps]) for side in sides}


def cell_centre(cell: int, side: int, size: tuple[int, int]) -> tuple[float, float]:
    """Return x and y of a cell's centre in a picture of ``size`` (width, height)."""
    row, column = divmod(cell, side)
    return (column + 0.5) * size[0] / side, (row + 0.5) * size[1] / side


def _galr_maps(model: Any, pixels: Tensor) -> tuple[Projection, list[Tensor]]:  # noqa: ANN401
    """Pooled features and levels of each cell, beside the whole picture's fused vector."""
    final, maps = model.backbone.forward_intermediates(
        pixels, indices=model.config.backbone_indices
    )
    size = (pixels.shape[-2], pixels.shape[-1])
    graph, nodes = model.region_branch.find_graph(maps, size)
    fused = model.midf(model.mvsa(maps), *model.region_branch(nodes, graph.adjacency, graph.kept))
    head = model.image_projection
    norms = [head.pooled_norm, *head.level_norms]

    def project(cells: Sequence[Tensor]) -> Tensor:
        whole = head.fused_norm(fused).expand(len(cells[0]), -1)
        parts = [norm(part) for norm, part in zip(norms, cells, strict=True)]
        return F.normalize(head.linear(torch.cat([whole, *parts], dim=-1)).float(), dim=-1)

    return project, [final, *maps]


def _cmpagl_maps(model: Any, pixels: Tensor) -> tuple[Projection, list[Tensor]]:  # noqa: ANN401
    """Tokens of the last stage, and the stem's features that skip the stages, of each cell."""
    tower = model.image_model
    final, levels = tower.stem.forward_intermediates(pixels, indices=model.config.stem_indices)
    tokens = tower(pixels).tokens.transpose(1, 2)  # (1, dim, T)
    norms = [tower.stem_norm, *tower.level_norms]

    def project(cells: Sequence[Tensor]) -> Tensor:
        parts = [norm(part) for norm, part in zip(norms, cells[1:], strict=True)]
        return model.image_projection(torch.cat([cells[0], *parts], dim=-1))

    return project, [tokens.unflatten(2, levels[-1].shape[-2:]), final, *levels]


def _cells(level: Tensor, side: int) -> Tensor:
    """Pool or interpolate a map (1, C, h, w) to (side * side, C)."""
    if level.shape[-1] < side:
        level = F.interpolate(level, size=(side, side), mode="bilinear")
    else:
        level = F.adaptive_avg_pool2d(level, side)
    return level[0].flatten(1).T


_FAMILIES: dict[str, Callable[[Any, Tensor], tuple[Projection, list[Tensor]]]] = {
    "galr": _galr_maps,
    "cmpagl": _cmpagl_maps,
}
