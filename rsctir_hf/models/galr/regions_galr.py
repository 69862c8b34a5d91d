"""Regions of GaLR: proposals from the model's own maps, boxes handed in, RoI features.

Every set of regions is batch-first and padded to N = ``max_regions``, strongest first. Boxes and
scores carry no gradient; the features read under the boxes do.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, roi_align

from .configuration_galr import GaLRConfig

_ROI_CELLS = 3  # RoIAlign grid per box side, averaged afterwards
_SMALLEST_BOX = 1.0  # pixels; smaller (after clipping to the image) is no region
_PEAKS_PER_REGION = 8  # peaks that may enter suppression, per region wanted
_TIE_BREAK = 1e-4  # share of a score by which the last peak of a map ranks below an equal first


@dataclass(frozen=True)
class RegionSet:
    """Regions of B pictures, strongest first: boxes (B, N, 4), scores, labels, mask (B, N)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor | None
    mask: Tensor


@torch.no_grad()
def propose_regions(
    maps: list[Tensor], *, image_size: tuple[int, int], count: int, cells: int, max_iou: float
) -> RegionSet:
    """Propose boxes at the salient local peaks of feature maps.

    A cell's energy is the mean over channels of the squared deviation from the picture's mean
    feature, so what differs from its surroundings stands out. Each map proposes squares of
    ``cells`` cells around its 3 x 3 maxima; a score is the energy over the map's largest. Cells
    whose square would leave the picture propose nothing where the map is large enough:
    padding makes convolutional maps stand out at the rim, and inner squares cover it.

    Args:
        maps: one (B, C, h, w) per box size.
        image_size: (H, W) pixels.
        count: N, boxes kept per picture.
        cells: box side in cells of the map.
        max_iou: overlap above which the weaker box is suppressed.
    """
    height, width = image_size
    boxes, scores = [], []
    for level in maps:
        boxes.append(_cell_boxes(level, image_size=image_size, cells=cells))
        scores.append(_peak_scores(level, rim=cells // 2))
    peaks = torch.cat(scores, dim=1)  # (B, M), -1 where there is no peak
    # Not topk, which leaves open whose turn it is where the best peaks of two maps are equal.
    peaks, rows = peaks.sort(dim=1, descending=True, stable=True)
    peaks, rows = (part[:, : count * _PEAKS_PER_REGION] for part in (peaks, rows))  # (B, M')
    candidates = torch.cat(boxes)[rows]  # (B, M', 4)
    picture = torch.arange(peaks.shape[0], device=peaks.device).repeat_interleave(peaks.shape[1])
    surviving = batched_nms(candidates.flatten(0, 1), peaks.flatten(), picture, max_iou)
    survives = torch.zeros_like(peaks, dtype=torch.bool).flatten()
    survives[surviving] = True
    scores_kept = peaks.masked_fill(~survives.view_as(peaks), -1)
    return arrange_regions(
        candidates, scores_kept, None, scores_kept >= 0, image_size=(height, width), count=count
    )


def _cell_boxes(level: Tensor, *, image_size: tuple[int, int], cells: int) -> Tensor:
    """Return squares (h * w, 4) in pixels around the cells of a map, clipped to the image."""
    (height, width), (rows, columns) = image_size, level.shape[-2:]
    step_y, step_x = height / rows, width / columns
    y = (torch.arange(rows, device=level.device) + 0.5) * step_y
    x = (torch.arange(columns, device=level.device) + 0.5) * step_x
    centre_y, centre_x = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
    half_y, half_x = cells * step_y / 2, cells * step_x / 2
    return torch.stack(
        (
            (centre_x - half_x).clamp(0, width),
            (centre_y - half_y).clamp(0, height),
            (centre_x + half_x).clamp(0, width),
            (centre_y + half_y).clamp(0, height),
        ),
        dim=-1,
    )


def _peak_scores(level: Tensor, *, rim: int) -> Tensor:
    """Return scores (B, h * w) in 0..1 at local energy maxima and -1 elsewhere.

    The outermost ``rim`` cells are left out where a 3 x 3 interior remains.
    """
    features = level.float()
    energy = (features - features.mean(dim=(-2, -1), keepdim=True)).square().mean(dim=1)
    if rim and min(energy.shape[-2:]) >= 2 * rim + 3:
        inner = torch.zeros_like(energy, dtype=torch.bool)
        inner[:, rim:-rim, rim:-rim] = True
        energy = energy.masked_fill(~inner, -1)
    is_peak = energy == F.max_pool2d(energy, kernel_size=3, stride=1, padding=1)  # (B, h, w)
    largest = energy.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(energy.dtype).tiny)
    scores, is_peak = (energy / largest).flatten(1), is_peak.flatten(1)  # (B, h * w)
    # Equal peaks are ranked by place, so that a picture's boxes do not hang on its batch.
    rank = torch.linspace(0, _TIE_BREAK, scores.shape[1], device=scores.device)
    return (scores * (1 - rank)).nan_to_num(0).masked_fill(~is_peak | (scores < 0), -1)


@torch.no_grad()
def arrange_regions(
    boxes: Tensor,
    scores: Tensor | None,
    labels: Tensor | None,
    mask: Tensor | None,
    *,
    image_size: tuple[int, int],
    count: int,
) -> RegionSet:
    """Bring regions of any number and quality to N = ``count`` sound ones, strongest first.

    Boxes are clipped to the image; empty, reversed or non-finite ones are masked out. A score
    that is not finite counts as 0, one beyond 1 ranks by its size and becomes 1. Of more than N
    the strongest stay, equal ones in their order; fewer are padded.

    Args:
        boxes: (B, M, 4) x1, y1, x2, y2 in pixels of the model input.
        scores: (B, M), or ``None``: all alike.
        labels: (B, M) int64 with -1 for none, or ``None``.
        mask: (B, M) bool, false for padding, or ``None``: all valid.
        image_size: (H, W) pixels.
        count: N.
    """
    height, width = image_size
    limit = boxes.new_tensor([width, height, width, height], dtype=torch.float32)
    finite = boxes.isfinite().all(dim=-1)
    boxes = torch.minimum(boxes.float().nan_to_num(0, 0, 0).clamp(min=0), limit)  # (B, M, 4)
    sides = boxes[..., 2:] - boxes[..., :2]
    valid = finite & (sides >= _SMALLEST_BOX).all(dim=-1)
    if mask is not None:
        valid = valid & mask.bool()
    scores = valid.float() if scores is None else scores.float().nan_to_num(0, 0, 0)
    missing = max(0, count - boxes.shape[1])
    boxes, valid = F.pad(boxes, (0, 0, 0, missing)), F.pad(valid, (0, missing))
    scores = F.pad(scores, (0, missing))
    order = scores.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True)
    order = order[:, :count]
    valid = valid.gather(1, order)  # (B, N)
    chosen = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4)) * valid.unsqueeze(-1)
    if labels is not None:
        labels = F.pad(labels, (0, missing), value=-1).gather(1, order).masked_fill(~valid, -1)
    return RegionSet(chosen, scores.gather(1, order).clamp(0, 1) * valid, labels, valid)


def roi_features(maps: list[Tensor], boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Average each map under each box.

    Args:
        maps: levels (B, C_level, h, w).
        boxes: (B, N, 4) pixels of the model input.
        image_size: (H, W) pixels.

    Returns:
        (B, N, sum of C_level).
    """
    height, width = image_size
    pooled = []
    picture = torch.arange(boxes.shape[0], device=boxes.device).repeat_interleave(boxes.shape[1])
    picture = picture.to(boxes.dtype).unsqueeze(-1)  # (B * N, 1)
    for level in maps:
        rows, columns = level.shape[-2:]
        scale = boxes.new_tensor([columns / width, rows / height] * 2)
        # torchvision has no bfloat16 kernel for the CPU.
        cells = roi_align(
            level.float(),
            torch.cat((picture, (boxes * scale).flatten(0, 1)), dim=1),
            output_size=_ROI_CELLS,
            sampling_ratio=2,
            aligned=True,
        )
        pooled.append(cells.mean(dim=(-2, -1)).unflatten(0, boxes.shape[:2]))  # (B, N, C)
    return torch.cat(pooled, dim=-1).to(maps[0].dtype)


def centre_distance(boxes: Tensor) -> Tensor:
    """Distances (B, N, N) between the centres of boxes (B, N, 4), in pixels."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    return (centres.unsqueeze(2) - centres.unsqueeze(1)).norm(dim=-1)


def pairwise_iou(boxes: Tensor) -> Tensor:
    """Overlap (B, N, N) of boxes (B, N, 4); zero where both are empty."""
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    upper_left = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    lower_right = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (lower_right - upper_left).clamp(min=0).prod(dim=-1)
    union = area.unsqueeze(2) + area.unsqueeze(1) - shared
    return shared / union.clamp(min=torch.finfo(boxes.dtype).tiny)


def check_region_inputs(
    config: GaLRConfig,
    batch: int,
    boxes: Tensor | None,
    features: Tensor | None,
    adjacency: Tensor | None,
) -> None:
    """Raise where regions are handed in that a model of this configuration cannot use.

    Args:
        config: of the model.
        batch: B.
        boxes: (B, M, 4) or None.
        features: (B, N, F) or None.
        adjacency: (B, N, N) or None.

    Raises:
        ValueError: see above.
    """
    source = config.region_source
    if (features is None) != (adjacency is None):
        raise ValueError("region_features and region_adjacency belong together; give both.")
    if features is not None and source != "precomputed":
        raise ValueError(
            f"region_features were given, but region_source is {source!r}; give region_boxes, "
            "or build the model with region_source='precomputed'."
        )
    if boxes is not None and config.use_regions and source != "model":
        raise ValueError(
            f"region_boxes were given, but region_source is {source!r}; give region_features "
            "and region_adjacency, or build the model with region_source='model'."
        )
    if features is not None and adjacency is not None:
        count, width = config.max_regions, config.region_feature_dim
        expected = (batch, count, width), (batch, count, count)
        if (features.shape, adjacency.shape) != expected:
            raise ValueError(
                f"region_features are {tuple(features.shape)} and region_adjacency "
                f"{tuple(adjacency.shape)}; for {batch} pictures this model expects "
                f"{expected[0]} and {expected[1]}."
            )
