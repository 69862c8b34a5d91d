"""What each region of a picture contributes to a result, by leaving the region out.

A region's contribution is the picture's cosine with the query minus the cosine it has without the
region: positive where the region speaks for the result, negative where it speaks against it. The
cosine is the same number for text -> picture and picture -> text, so one contribution serves both.
This is our own measure; neither paper has one. What "without the region" means is the model's:

- GaLR drops the region's node from its graph (``RegionBranch.forward_without``). What the global
  branch sees of it stays, so these contributions say what the graph did.
- CMPAGL masks the tokens under the region's box (``models.cmpagl.masking_cmpagl``). It has no
  regions of its own: any boxes can be asked about, a detector's or those of a GaLR model.
- Asked about boxes (``box_contributions``), GaLR takes the cells under them out of the means that
  it projects, and the nodes centred there out of its graph (``models.galr.masking_galr``).

Contributions of several regions do not add up to the score: regions share what they say. And any
mask moves a score a little: what boxes of the same sizes at random places do is measured beside
them, and a region that does no more is no reason (``Contributions.reason``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from rsctir_hf.errors import QueryError, UnsupportedError
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.regions.sanitize import checked_boxes, sound_boxes

#: Boxes that are asked about; of more, the strongest.
MOST_BOXES = 20
#: Copies of a picture, each without one box, in one pass.
BATCH_SIZE = 32
#: Root mean squares of what random masks do that a reason exceeds: chance takes the largest of 20
#: normal draws that far in one picture of 20.
NOISES = 3.0
_NOISE_SEED = 0
_REGION_INPUTS = ("region_boxes", "region_scores", "region_labels", "region_mask")


@runtime_checkable
class NodeMaskingModel(Protocol):
    """A model that can leave nodes of its region graph out."""

    config: Any

    def get_features_without_nodes(
        self, pixel_values: Tensor, hidden: Tensor, **regions: Tensor
    ) -> tuple[Tensor, Any]:
        """Return (V, D) of one picture without the nodes ``hidden`` (V, N), and the graph.

        ``regions``, where some are handed in, are what the processor gives beside the pixels.
        """


@runtime_checkable
class BoxMaskingModel(Protocol):
    """A model that can leave out what lies under a box."""

    def get_features_without_boxes(self, pixel_values: Tensor, boxes: Tensor) -> Tensor:
        """Return (V, D) of one picture (1, 3, H, W) without each of the boxes (V, 4)."""


@dataclass(frozen=True)
class Contributions:
    """What N regions of one picture contribute to its scores with Q queries.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the model input, strongest region first.
        scores: (N,) in 0..1, how sure the proposer is of each region; no cosine.
        numbers: (N,) int64 from 1: the region's number in the region graph, or which of the boxes
            that were handed in it is.
        kept: (N,) bool, false where the model did not use the region in the first place (GaLR's
            denoising had dropped it), so that its contribution is 0.
        whole: (Q,) cosines of the whole picture.
        masked: (N, Q) cosines without each region.
        without_any: (Q,) cosines without all regions at once; None where boxes were asked about.
        noise: (Q,) ``NOISES`` times the root mean square of what regions of the same sizes at
            random places contribute; None where that was not measured.
    """

    boxes: Tensor
    scores: Tensor
    numbers: Tensor
    kept: Tensor
    whole: Tensor
    masked: Tensor
    without_any: Tensor | None = None
    noise: Tensor | None = None

    @property
    def values(self) -> Tensor:
        """The contributions (N, Q), signed: the score with the region minus that without."""
        return self.whole - self.masked

    def ranking(self, query: int = 0) -> list[int]:
        """Return the regions' positions, the largest contribution to ``query`` first."""
        return self.values[:, query].argsort(descending=True, stable=True).tolist()

    def reason(self, query: int = 0) -> int | None:
        """Return the position of the region that decides; None where no single one does.

        It speaks for the result, the most of all, and by more than the noise.
        """
        first = next(iter(self.ranking(query)), None)
        noise = 0.0 if self.noise is None else float(self.noise[query])
        return first if first is not None and self.values[first, query] > noise else None

    def __len__(self) -> int:
        return len(self.boxes)


@torch.no_grad()
def node_contributions(
    model: nn.Module, inputs: Mapping[str, Tensor], queries: Tensor
) -> Contributions:
    """Return what the nodes of a model's region graph contribute; all in one pass.

    Args:
        model: a ``NodeMaskingModel``, in evaluation mode.
        inputs: ``pixel_values`` (1, 3, H, W) and, where regions are handed in, ``region_boxes``
            and the like, as the processor gives them.
        queries: (Q, D) or (D,) vectors to compare with; scaled to unit length.

    Raises:
        UnsupportedError: the model has no graph of its own.
        QueryError: not one picture, or the queries are not finite.
    """
    if not isinstance(model, NodeMaskingModel):
        raise UnsupportedError(f"{type(model).__name__} has no region graph. Use a GaLR model.")
    pixels = _one_picture(inputs["pixel_values"])
    nodes = int(model.config.max_regions)
    # The first copy hides nothing, so that both sides of a difference come from one pass; the last
    # one hides every node.
    copies = [torch.zeros(1, nodes), torch.eye(nodes), torch.ones(1, nodes)]
    hidden = torch.cat(copies).bool().to(pixels.device)
    given = {name: inputs[name] for name in _REGION_INPUTS if name in inputs}
    try:
        features, graph = model.get_features_without_nodes(pixels, hidden, **given)
    except NotImplementedError as error:
        raise UnsupportedError(str(error)) from error
    cosines = _cosines(features, queries)  # (1 + N + 1, Q)
    present, kept = graph.mask[0].cpu(), graph.kept[0].cpu()
    masked = torch.where(kept.unsqueeze(1), cosines[1:-1], cosines[0])
    return Contributions(
        boxes=graph.boxes[0].float().cpu()[present],
        scores=graph.scores[0].float().cpu()[present],
        numbers=present.nonzero().flatten() + 1,
        kept=kept[present],
        whole=cosines[0],
        masked=masked[present],
        without_any=cosines[-1],
    )


@torch.no_grad()
def box_contributions(
    model: nn.Module,
    pixel_values: Tensor,
    queries: Tensor,
    *,
    boxes: Tensor,
    scores: Tensor | None = None,
) -> Contributions:
    """Return what lies under each of some boxes contributes, ``BATCH_SIZE`` boxes a pass.

    Boxes are treated as those of a proposer (``sanitize.sound_boxes``). Of more than ``MOST_BOXES``
    the strongest are asked about.

    Args:
        model: a ``BoxMaskingModel``, in evaluation mode.
        pixel_values: (1, 3, H, W), one picture.
        queries: as for ``node_contributions``.
        boxes: (M, 4) x1, y1, x2, y2 in pixels of ``pixel_values``.
        scores: (M,) in 0..1; None: all alike.

    Raises:
        UnsupportedError: the model cannot mask boxes, or was built so that it cannot.
        QueryError: not one picture, or queries that are not finite.
        RegionsError: boxes and scores that are no numbers or of another shape.
    """
    if not isinstance(model, BoxMaskingModel):
        raise _masks_no_boxes(model)
    pixels = _one_picture(pixel_values)
    found, sure = checked_boxes(boxes, scores, giver="The caller")
    size = (pixels.shape[-1], pixels.shape[-2])
    chosen, sure, rows = sound_boxes(found, sure, size, count=MOST_BOXES)  # (N, 4), (N,), (N,)
    # The first copy masks nothing: an empty box.
    variants = torch.cat([torch.zeros(1, 4), chosen]).to(pixels.device)
    try:
        features = [
            model.get_features_without_boxes(pixels, part) for part in variants.split(BATCH_SIZE)
        ]
    except NotImplementedError as error:
        raise UnsupportedError(str(error)) from error
    cosines = _cosines(torch.cat(features), queries)  # (1 + N, Q)
    return Contributions(
        boxes=chosen,
        scores=sure,
        numbers=rows + 1,
        kept=torch.ones(len(chosen), dtype=torch.bool),
        whole=cosines[0],
        masked=cosines[1:],
    )


def region_contributions(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    queries: Tensor,
    *,
    regions: Regions | None = None,
    picture_size: tuple[int, int] | None = None,
) -> Contributions:
    """Return contributions in the way of the model at hand, of nodes or of boxes, with the noise.

    Args:
        model: a ``NodeMaskingModel`` or ``BoxMaskingModel``, in evaluation mode.
        inputs: of one picture, as the processor gives them.
        queries: as for ``node_contributions``.
        regions: the boxes to ask a model about that has no regions of its own. A model that has
            some is asked about those, since only they had a part in its score.
        picture_size: (width, height) of the picture that the boxes of ``regions`` are in pixels
            of; default: they are in pixels of the model input.

    Raises:
        UnsupportedError: the model can leave out neither nodes nor boxes.
        QueryError: regions where the model has its own, or none where it has not.
        RegionsError: the regions are none; see ``node_contributions`` and ``box_contributions`` for
            the rest.
    """
    if isinstance(model, NodeMaskingModel):
        if regions is not None:
            raise QueryError(
                f"{type(model).__name__} has regions of its own, and its score hangs on those. "
                "Leave regions out; a detector's regions are handed in where the picture is read."
            )
        found = node_contributions(model, inputs, queries)
        return replace(found, noise=_noise_of_nodes(model, inputs, queries, found))
    if not isinstance(model, BoxMaskingModel):
        raise _masks_no_boxes(model)
    if regions is None:
        raise QueryError(
            f"{type(model).__name__} has no regions of its own. Give regions: a detector's, or "
            "the boxes of a GaLR model's region graph."
        )
    pixels = inputs["pixel_values"]
    boxes, scores = checked_boxes(
        getattr(regions, "boxes", None), getattr(regions, "scores", None), giver="The caller"
    )
    if picture_size is not None:
        scale = (pixels.shape[-1] / picture_size[0], pixels.shape[-2] / picture_size[1])
        boxes = boxes * torch.tensor(scale * 2)
    found = box_contributions(model, pixels, queries, boxes=boxes, scores=scores)
    if not len(found):
        return found
    sizes = found.boxes.repeat(math.ceil(MOST_BOXES / len(found)), 1)[:MOST_BOXES]
    moved = box_contributions(model, pixels, queries, boxes=_moved(sizes, pixels))
    return replace(found, noise=_noise(moved))


def _noise_of_nodes(
    model: nn.Module, inputs: Mapping[str, Tensor], queries: Tensor, found: Contributions
) -> Tensor | None:
    """Return the noise (Q,) of a graph whose nodes lie at random places.

    None without nodes, and where the model cannot take regions that are handed in.
    """
    if not len(found) or getattr(model.config, "region_source", None) != "model":
        return None
    pixels = inputs["pixel_values"]
    moved = _moved(found.boxes, pixels).to(pixels.device)
    given = {"pixel_values": pixels, "region_boxes": moved[None]}
    return _noise(node_contributions(model, given, queries))


def _noise(moved: Contributions) -> Tensor:
    return NOISES * moved.values[moved.kept].square().mean(dim=0).sqrt()  # (Q,)


def _moved(boxes: Tensor, pixels: Tensor) -> Tensor:
    """Return boxes (N, 4) of the same sizes at random places of a picture (1, 3, H, W)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    room = torch.tensor([pixels.shape[-1], pixels.shape[-2]]) - sides
    draw = torch.Generator().manual_seed(_NOISE_SEED)
    corners = torch.rand(len(boxes), 2, generator=draw) * room
    return torch.cat([corners, corners + sides], dim=1)


def _masks_no_boxes(model: nn.Module) -> UnsupportedError:
    return UnsupportedError(
        f"{type(model).__name__} cannot leave out what lies under a box. Use a CMPAGL-style or a "
        "GaLR model."
    )


def _one_picture(pixel_values: Tensor) -> Tensor:
    if pixel_values.ndim != 4 or len(pixel_values) != 1:
        raise QueryError(
            f"Got pictures of shape {tuple(pixel_values.shape)}; contributions are of one picture, "
            "(1, 3, H, W)."
        )
    return pixel_values


def _cosines(features: Tensor, queries: Tensor) -> Tensor:
    """Cosines (V, Q) of unit vectors (V, D) with queries (Q, D) or (D,)."""
    asked = queries.float().cpu().reshape(-1, queries.shape[-1])
    lengths = asked.norm(dim=-1, keepdim=True)
    if asked.shape[-1] != features.shape[-1] or not (lengths.isfinite() & (lengths > 0)).all():
        raise QueryError(
            f"Queries are {tuple(queries.shape)}; expected finite vectors of length "
            f"{features.shape[-1]}, none of them zero."
        )
    return features.float().cpu() @ (asked / lengths).T
