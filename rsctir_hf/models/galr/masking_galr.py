"""What lies under a box taken out of a picture's embedding, so that its share can be measured.

The paper has no masking; all of this is our reading of "the region is masked". The backbone sees
the whole picture. Behind it,

- cells under the box are taken out of every mean that the projection sees: of the final map, which
  makes the pooled features, and of the levels;
- nodes centred under the box leave the region graph, see ``RegionBranch.forward_without``.

The global vector of MVSA stays that of the whole picture, and so does what convolutions have
carried from under the box to cells beside it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .backbone_galr import run_backbone_unpooled

#: A cell is under a box that covers at least this share of it.
_COVERED_SHARE = 0.5


def features_without_boxes(
    model: Any,  # noqa: ANN401 - a GaLRModel, whose file imports this one
    pixel_values: Tensor,
    boxes: Tensor,
) -> Tensor:
    """See ``GaLRModel.get_features_without_boxes``."""
    branch, midf = model._own_branch()
    if len(pixel_values) != 1:
        raise ValueError(f"Got {len(pixel_values)} pictures; boxes are taken out of one.")
    size = (pixel_values.shape[-2], pixel_values.shape[-1])
    boxes, pixels = boxes.to(pixel_values.device).float(), pixel_values.to(model.dtype)
    maps, final = run_backbone_unpooled(model.backbone, pixels, model.config)
    graph, nodes = branch.find_graph(maps, size)
    hidden = nodes_under(boxes, graph.boxes[0], graph.mask[0])
    local, present = branch.forward_without(graph, nodes, hidden, size)  # (V, fusion_dim)
    fused = midf(model.mvsa(maps).expand(len(boxes), -1), local, present)
    levels = (final, *model.scale_decoupling(maps))
    pooled, *means = (free_mean(level, boxes, size) for level in levels)
    return F.normalize(model.image_projection(fused, pooled, means).float())


def free_mean(level: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Return the mean of the cells beside each box; zero where none is left.

    Args:
        level: (1, C, h, w).
        boxes: (V, 4) in pixels of the model input.
        image_size: (H, W) pixels.

    Returns:
        (V, C).
    """
    free = free_cells(boxes, (level.shape[-2], level.shape[-1]), image_size).to(level)
    total = free.flatten(1) @ level[0].flatten(1).T  # (V, C)
    return total / free.sum(dim=(1, 2)).clamp(min=1).unsqueeze(1)


def free_cells(boxes: Tensor, cells: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """Return (V, h, w): 0 for the cells under a box, 1 elsewhere.

    A cell is under a box that covers at least half of it. Where none is covered that far, the
    cells covered most are: a small box takes out its cell. A box beside the picture takes nothing.

    Args:
        boxes: (V, 4) in pixels of the model input.
        cells: (h, w) of the map.
        image_size: (H, W) pixels.
    """
    down = _covered(boxes[:, 1], boxes[:, 3], side=image_size[0], cells=cells[0])
    along = _covered(boxes[:, 0], boxes[:, 2], side=image_size[1], cells=cells[1])
    share = down.unsqueeze(2) * along.unsqueeze(1)  # (V, h, w)
    least = share.amax(dim=(1, 2), keepdim=True).clamp(max=_COVERED_SHARE)
    return 1 - ((share > 0) & (share >= least)).to(share)


def nodes_under(boxes: Tensor, nodes: Tensor, there: Tensor) -> Tensor:
    """Tell which nodes are centred under each box.

    Args:
        boxes: (V, 4) in pixels of the model input.
        nodes: (N, 4) the same of the graph's nodes.
        there: (N,) bool, false for padding.

    Returns:
        (V, N) bool.
    """
    centres = (nodes[:, :2] + nodes[:, 2:]) / 2  # (N, 2)
    inside = (centres >= boxes[:, None, :2]) & (centres <= boxes[:, None, 2:])  # (V, N, 2)
    return inside.all(dim=-1) & there


# Copied from rsctir_hf.models.cmpagl.masking_cmpagl._covered
def _covered(start: Tensor, end: Tensor, *, side: int, cells: int) -> Tensor:
    """Share (V, cells) of each of a side's equal cells between start and end (V,), in pixels."""
    edges = torch.linspace(0, side, cells + 1, device=start.device, dtype=start.dtype)
    low = torch.maximum(start.unsqueeze(1), edges[:-1])
    high = torch.minimum(end.unsqueeze(1), edges[1:])
    return (high - low).clamp(min=0) * cells / side
