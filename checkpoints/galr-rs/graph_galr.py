"""The region branch of GaLR: node features, DREA and graph layers, dense and batched.

The released code starts from matrices made offline and holds no line of DREA (denoised
representation and enhanced adjacency); the formulas here are our reading of its description.
Every tensor is batch-first and padded to N = ``max_regions`` nodes, strongest first. Boxes,
scores and the choice of kept nodes carry no gradient; node features and edge weights do.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from .configuration_galr import GaLRConfig
from .fusion_galr import l2_normalise
from .regions_galr import (
    RegionSet,
    arrange_regions,
    centre_distance,
    pairwise_iou,
    propose_regions,
    roi_features,
)

_GEOMETRY = 5  # centre x and y, width, height (shares of the image side) and score


@dataclass
class GaLRRegionGraph(ModelOutput):
    """The region graph of B pictures, nodes strongest first.

    Attributes:
        boxes: (B, N, 4) x1, y1, x2, y2 in pixels of the model input; padding is zero.
        scores: (B, N) in 0..1.
        labels: (B, N) int64, -1 for none; ``None`` where no labels were handed in.
        mask: (B, N) bool, false for padding.
        kept: (B, N) bool, the nodes that denoising keeps.
        dropped_by: (B, N) int64, the kept node that made this one redundant; -1 for kept nodes
            and padding.
        similarity: (B, N, N) appearance cosine.
        salience: (B, N) score * sqrt(area) over the picture's largest.
        adjacency: (B, N, N) after enhancement and normalisation; zero for nodes not kept.
    """

    boxes: Tensor | None = None
    scores: Tensor | None = None
    labels: Tensor | None = None
    mask: Tensor | None = None
    kept: Tensor | None = None
    dropped_by: Tensor | None = None
    similarity: Tensor | None = None
    salience: Tensor | None = None
    adjacency: Tensor | None = None


def denoise_regions(
    regions: RegionSet, similarity: Tensor, *, min_similarity: float, min_iou: float
) -> tuple[Tensor, Tensor]:
    """Drop nodes that repeat a stronger kept node. DREA's denoised representation, our reading.

    Walking down by score, node j is dropped if for some kept i the appearance cosine exceeds
    ``min_similarity``, the labels agree (where there are any), and either the overlap exceeds
    ``min_iou`` or the centres are nearer than half the longest of the two boxes' sides.

    Args:
        regions: strongest first.
        similarity: (B, N, N) appearance cosine.
        min_similarity: cosine above which two nodes look alike.
        min_iou: overlap above which two boxes are at the same place.

    Returns:
        kept (B, N) bool and dropped_by (B, N) int64, the strongest such i or -1.
    """
    boxes, mask = regions.boxes, regions.mask
    longest = (boxes[..., 2:] - boxes[..., :2]).amax(dim=-1)  # (B, N)
    reach = torch.maximum(longest.unsqueeze(2), longest.unsqueeze(1)) / 2
    near = (pairwise_iou(boxes) > min_iou) | (centre_distance(boxes) < reach)
    alike = near & (similarity.detach() > min_similarity)  # (B, N, N)
    if regions.labels is not None:
        alike = alike & (regions.labels.unsqueeze(2) == regions.labels.unsqueeze(1))
    kept, dropped_by = mask.clone(), torch.full_like(mask, -1, dtype=torch.int64)
    for node in range(1, mask.shape[1]):
        blockers = kept[:, :node] & alike[:, :node, node]  # (B, node)
        drop = blockers.any(dim=1) & mask[:, node]
        strongest = blockers.to(torch.uint8).argmax(dim=1)
        kept[:, node] = mask[:, node] & ~drop
        dropped_by[:, node] = torch.where(drop, strongest, dropped_by[:, node])
    return kept, dropped_by


def region_salience(regions: RegionSet) -> Tensor:
    """Return score * sqrt(box area) over the picture's largest, (B, N) in 0..1."""
    area = (regions.boxes[..., 2:] - regions.boxes[..., :2]).prod(dim=-1)
    salience = regions.scores * area.sqrt() * regions.mask
    largest = salience.amax(dim=1, keepdim=True)
    return salience / largest.clamp(min=torch.finfo(salience.dtype).tiny)


def region_adjacency(
    boxes: Tensor, similarity: Tensor, *, reach: float, boost: Tensor | None = None
) -> Tensor:
    """Edge weights before normalisation. DREA's enhanced adjacency, our reading.

    A0_ij = exp(-centre distance / reach) * (1 + cosine) / 2 with A0_ii = 1, and, where a boost
    is given, A_ij = A0_ij * (1 + (boost_i + boost_j) / 2).

    Args:
        boxes: (B, N, 4) pixels.
        similarity: (B, N, N) appearance cosine.
        reach: pixels.
        boost: (B, N), enhancement * salience.

    Returns:
        (B, N, N).
    """
    adjacency = torch.exp(-centre_distance(boxes) / reach) * (1 + similarity) / 2
    itself = torch.eye(boxes.shape[1], dtype=torch.bool, device=boxes.device)
    adjacency = adjacency.masked_fill(itself, 1.0)
    if boost is not None:
        adjacency = adjacency * (1 + (boost.unsqueeze(2) + boost.unsqueeze(1)) / 2)
    return adjacency


def normalise_adjacency(adjacency: Tensor, kept: Tensor) -> Tensor:
    """Return D^-1/2 A D^-1/2 over the kept nodes (B, N); other rows and columns are zero."""
    adjacency = adjacency * (kept.unsqueeze(2) & kept.unsqueeze(1))
    degree = adjacency.sum(dim=-1)  # (B, N)
    # The inner where keeps the gradient of empty rows finite.
    scale = torch.where(degree > 0, torch.where(degree > 0, degree, 1).rsqrt(), 0)
    return scale.unsqueeze(2) * adjacency * scale.unsqueeze(1)


def weigh_edges(
    boxes: Tensor,
    similarity: Tensor,
    salience: Tensor,
    config: GaLRConfig,
    *,
    image_size: tuple[int, int],
    drea: str,
) -> Tensor:
    """Return the edge weights (B, N, N) between all regions, before normalisation.

    Args:
        boxes: (B, N, 4) pixels.
        similarity: (B, N, N) appearance cosine.
        salience: (B, N), which strengthens edges where ``drea`` is ``enhanced`` or ``both``.
        config: ``adjacency_range`` and ``enhancement``.
        image_size: (H, W) pixels.
        drea: a value of ``config.drea``.
    """
    return region_adjacency(
        boxes,
        similarity,
        reach=config.adjacency_range * (image_size[0] * image_size[1]) ** 0.5,
        boost=config.enhancement * salience if drea in ("both", "enhanced") else None,
    )


def arrange_graph(
    regions: RegionSet,
    similarity: Tensor,
    config: GaLRConfig,
    *,
    image_size: tuple[int, int],
    drea: str | None = None,
    min_similarity: float | None = None,
) -> GaLRRegionGraph:
    """Build the graph of B pictures from their regions. DREA, our reading.

    Args:
        regions: strongest first.
        similarity: (B, N, N) appearance cosine.
        config: thresholds and ranges.
        image_size: (H, W) pixels.
        drea: ``plain``, ``denoise``, ``enhanced`` or ``both``; default: ``config.drea``.
        min_similarity: cosine above which a region is dropped; default:
            ``config.denoise_similarity``.
    """
    drea = config.drea if drea is None else drea
    alike = config.denoise_similarity if min_similarity is None else min_similarity
    kept, dropped_by = regions.mask, torch.full_like(regions.mask, -1, dtype=torch.int64)
    if drea in ("both", "denoise"):
        kept, dropped_by = denoise_regions(
            regions,
            similarity,
            min_similarity=alike,
            min_iou=config.denoise_iou,
        )
    salience = region_salience(regions)
    weights = weigh_edges(
        regions.boxes, similarity, salience, config, image_size=image_size, drea=drea
    )
    return GaLRRegionGraph(
        boxes=regions.boxes,
        scores=regions.scores,
        labels=regions.labels,
        mask=regions.mask,
        kept=kept,
        dropped_by=dropped_by,
        similarity=similarity,
        salience=salience,
        adjacency=normalise_adjacency(weights, kept),
    )


class GraphLayer(nn.Module):
    """X' = ReLU(A X W), without bias as in the released code."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim, bias=False)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """Map nodes (B, N, in) over adjacency (B, N, N) to (B, N, out)."""
        return torch.relu(adjacency @ self.linear(nodes))


class RegionBranch(nn.Module):
    """From regions (or precomputed nodes) to the local vector (B, ``fusion_dim``).

    Args:
        config: see ``region_*``, ``graph_dims``, ``drea`` and its thresholds.
        channels: channels of each backbone level.
    """

    def __init__(self, config: GaLRConfig, channels: list[int]) -> None:
        super().__init__()
        self.config = config
        node_dim = config.region_feature_dim
        if config.region_source == "model":
            width = sum(channels[level] for level in config.region_levels)
            self.norm = nn.LayerNorm(width)
            self.appearance = nn.Linear(width, config.region_dim)
            node_dim = config.region_dim + _GEOMETRY + len(config.region_labels)
        widths = [node_dim, *config.graph_dims]
        self.layers = nn.ModuleList([GraphLayer(*pair) for pair in pairwise(widths)])
        pooled = widths[-1] * (config.max_regions if config.region_pooling == "flatten" else 1)
        self.projection = nn.Linear(pooled, config.fusion_dim)

    def find_regions(
        self,
        maps: list[Tensor],
        image_size: tuple[int, int],
        boxes: Tensor | None = None,
        scores: Tensor | None = None,
        labels: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> RegionSet:
        """Arrange the regions that were handed in, or propose some from the maps."""
        count = self.config.max_regions
        if boxes is not None:
            return arrange_regions(boxes, scores, labels, mask, image_size=image_size, count=count)
        return propose_regions(
            [maps[level] for level in self.config.region_levels],
            image_size=image_size,
            count=count,
            cells=self.config.proposal_cells,
            max_iou=self.config.proposal_iou,
        )

    def find_graph(
        self,
        maps: list[Tensor],
        image_size: tuple[int, int],
        boxes: Tensor | None = None,
        scores: Tensor | None = None,
        labels: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[GaLRRegionGraph, Tensor]:
        """Return ``build_graph`` of ``find_regions``."""
        regions = self.find_regions(maps, image_size, boxes, scores, labels, mask)
        return self.build_graph(maps, image_size, regions)

    def build_graph(
        self, maps: list[Tensor], image_size: tuple[int, int], regions: RegionSet
    ) -> tuple[GaLRRegionGraph, Tensor]:
        """Return the graph and its node vectors (B, N, F), zero for nodes not kept."""
        config = self.config
        levels = [maps[level] for level in config.region_levels]
        seen = roi_features(levels, regions.boxes, image_size)  # (B, N, C)
        appearance = self.appearance(self.norm(seen))  # (B, N, region_dim)
        # Of the features themselves, not of their trained projection: the threshold keeps its
        # meaning through training.
        directions = F.normalize(seen.float(), dim=-1)
        similarity = directions @ directions.transpose(1, 2)  # (B, N, N)
        graph = arrange_graph(regions, similarity, config, image_size=image_size)
        geometry = self._geometry(regions, image_size).to(appearance.dtype)
        return graph, torch.cat((appearance, geometry), dim=-1) * cast(
            Tensor, graph.kept
        ).unsqueeze(-1)

    def precomputed_nodes(
        self, vector: Tensor, features: Tensor | None, adjacency: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return nodes, adjacency and which pictures' nodes count; none without features.

        Args:
            vector: (B, D), for the number of pictures, device and precision.
            features: (B, N, F) or None.
            adjacency: (B, N, N) or None.
        """
        batch, count = vector.shape[0], self.config.max_regions
        if features is None or adjacency is None:
            features = vector.new_zeros(batch, count, self.config.region_feature_dim)
            adjacency = vector.new_zeros(batch, count, count)
            return features, adjacency, features.new_zeros(batch, count, dtype=torch.bool)
        present = vector.new_ones(batch, count, dtype=torch.bool)
        return features.to(vector), adjacency.to(vector), present

    def forward_without(
        self,
        graph: GaLRRegionGraph,
        nodes: Tensor,
        hidden: Tensor,
        image_size: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """Run the graph layers on V copies of one picture's graph, each without some nodes.

        A hidden node leaves the graph that denoising has left: its row and column go, the degrees
        are counted anew, and it is not pooled. What denoising dropped for its sake stays dropped,
        and the salience of the others stays as it was. Our reading.

        Args:
            graph: of one picture.
            nodes: (1, N, F) as ``build_graph`` returns them.
            hidden: (V, N) bool.
            image_size: (H, W) pixels.

        Returns:
            As ``forward``, for V pictures.
        """
        parts = (graph.boxes, graph.similarity, graph.salience, graph.kept)
        boxes, similarity, salience, kept = cast(tuple[Tensor, Tensor, Tensor, Tensor], parts)
        weights = weigh_edges(
            boxes, similarity, salience, self.config, image_size=image_size, drea=self.config.drea
        )
        kept = kept & ~hidden  # (V, N)
        return self(nodes * kept.unsqueeze(-1), normalise_adjacency(weights, kept), kept)

    def forward(self, nodes: Tensor, adjacency: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Run the graph layers and pool.

        Args:
            nodes: (B, N, F).
            adjacency: (B, N, N).
            kept: (B, N) bool.

        Returns:
            The local vector (B, ``fusion_dim``), and present (B,) bool: whether the picture has
            any region, false as well where region dropout takes the whole branch away.
        """
        adjacency = adjacency.to(nodes.dtype)
        for layer in self.layers:
            nodes = layer(nodes, adjacency)
        if self.config.region_pooling == "flatten":
            pooled = nodes.flatten(1)  # (B, N * F)
        else:
            weights = kept.unsqueeze(-1).to(nodes.dtype)  # (B, N, 1)
            pooled = (nodes * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        present = kept.any(dim=1)
        if self.training and self.config.region_dropout > 0:
            drawn = torch.rand(present.shape, device=present.device)
            present = present & (drawn >= self.config.region_dropout)
        return l2_normalise(self.projection(pooled)), present

    def _geometry(self, regions: RegionSet, image_size: tuple[int, int]) -> Tensor:
        """Place, size, score and one-hot label of nodes, (B, N, 5 + labels)."""
        height, width = image_size
        boxes = regions.boxes / regions.boxes.new_tensor([width, height, width, height])
        centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        parts = [centre, size, regions.scores.unsqueeze(-1)]
        classes = len(self.config.region_labels)
        if classes:
            labels = regions.labels
            if labels is None:
                labels = torch.full_like(regions.mask, -1, dtype=torch.int64)
            # Column 0 takes labels that are absent or outside the vocabulary.
            known = torch.where((labels >= 0) & (labels < classes), labels + 1, 0)
            parts.append(F.one_hot(known, classes + 1)[..., 1:].to(boxes.dtype))
        return torch.cat(parts, dim=-1)
