"""Learning from pictures that nobody has described: three terms over two views or two sensors.

Source: Sumbul, Müller and Demir, ICIP 2022, arXiv 2202.11429, of which the abstract could be read
and no code: (i) mutual information across the two modalities, (ii) a small angle within each
pair, (iii) a high cosine of the most similar pictures within each modality. Our choices: NT-Xent
for (i), as in code of one of the authors, with its temperature; the angle as a share of a half
turn; the nearest neighbour sought in the batch, without a gradient through it; the weights.

As an objective it stands beside the losses of captions; ``training.adaptation_trainer`` does
without these, and takes two sensors as well.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rsctir_hf.metrics import check_scores
from rsctir_hf.training.objectives.objective import Batch, Objective, Options
from rsctir_hf.training.recipe_files import check

TEMPERATURE = 0.1  # of the code named above
NEIGHBOUR_WEIGHT = 0.5  # of each modality, so that both together weigh 1
_STEEP = 1e-6  # from a cosine of 1: there the slope of the arc cosine has no bound


@dataclass(frozen=True)
class LabelFreeOptions(Options):
    """See ``label_free_loss``.

    Attributes:
        temperature: of NT-Xent.
        angle_weight: of the angle.
        neighbour_weight: of the neighbours, for each view.
        border: share of a side that the second view is without, all round.
    """

    temperature: float = TEMPERATURE
    angle_weight: float = 1.0
    neighbour_weight: float = NEIGHBOUR_WEIGHT
    border: float = 0.125

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "temperature", self.temperature > 0, "more than 0")
        check(self, "border", 0 <= self.border < 0.5, "0 <= share < 0.5")
        for name in ("angle_weight", "neighbour_weight"):
            check(self, name, getattr(self, name) >= 0, "0 or more")


class LabelFree(Objective):
    """The three terms over the pictures of a batch and a second view of each."""

    Options: ClassVar[type[Options]] = LabelFreeOptions
    options: LabelFreeOptions

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss, a scalar; it takes a second pass of the picture side."""
        options = self.options
        seen = second_view(batch.inputs["pixel_values"], border=options.border)
        first = batch.outputs.image_embeds.float()
        second = batch.model.get_image_features(seen).pooler_output.float()
        with torch.autocast(first.device.type, enabled=False):
            return label_free_loss(
                first,
                second,
                temperature=options.temperature,
                angle_weight=options.angle_weight,
                neighbour_weight=options.neighbour_weight,
            )


def second_view(pixels: Tensor, *, border: float) -> Tensor:
    """Return pictures turned by a quarter and mirrored, without their border (our choice).

    Nothing here is random: the first view has been drawn at random already.

    Args:
        pixels: (B, 3, H, W).
        border: share of a side to leave out, all round.

    Returns:
        (B, 3, H, W).
    """
    height, width = pixels.shape[-2:]
    top, left = round(border * height), round(border * width)
    inner = pixels[..., top : height - top, left : width - left].rot90(1, (-2, -1)).flip(-1)
    return F.interpolate(inner, size=(height, width), mode="bilinear", align_corners=False)


def label_free_loss(
    first: Tensor,
    second: Tensor,
    *,
    temperature: float = TEMPERATURE,
    angle_weight: float = 1.0,
    neighbour_weight: float = NEIGHBOUR_WEIGHT,
) -> Tensor:
    """Return NT-Xent + angle within a pair + distance to the nearest neighbour of either side.

    Args:
        first: (B, D) unit vectors of one view, or of one sensor.
        second: (B, D) of the other; row i shows the same place.
        temperature: of NT-Xent.
        angle_weight: of the angle.
        neighbour_weight: of the neighbours, for each side.

    Returns:
        Scalar.

    Raises:
        ValueError: wrong shapes, NaN, or a temperature of 0 or less.
    """
    loss = nt_xent_loss(first, second, temperature=temperature)
    loss = loss + angle_weight * pair_angle(first, second)
    near = neighbour_distance(first) + neighbour_distance(second)
    return loss + neighbour_weight * near


def nt_xent_loss(first: Tensor, second: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Return SimCLR's loss: of 2 B vectors each is to find its partner among all others.

    A bound on the mutual information of the two sides.

    Args:
        first: (B, D) unit vectors.
        second: (B, D) of their partners.
        temperature: divides the cosines.

    Returns:
        Scalar, the mean over the 2 B vectors.

    Raises:
        ValueError: wrong shapes, NaN, or a temperature of 0 or less.
    """
    _check_pair(first, second)
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; expected more than 0.")
    both = torch.cat([first, second]).float()  # (2B, D)
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    logits = (both @ both.T / temperature).masked_fill(itself, -torch.inf)  # (2B, 2B)
    return F.cross_entropy(logits, torch.arange(len(both), device=both.device).roll(len(first)))


def pair_angle(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean angle between partners, as a share of a half turn: 0 to 1.

    Args:
        first: (B, D) unit vectors.
        second: (B, D) of their partners.

    Raises:
        ValueError: wrong shapes or NaN.
    """
    _check_pair(first, second)
    cosine = (first.float() * second.float()).sum(dim=1)  # (B,)
    return cosine.clamp(_STEEP - 1, 1 - _STEEP).arccos().mean() / math.pi


def neighbour_distance(vectors: Tensor) -> Tensor:
    """Return the mean of 1 - cosine to the nearest other vector, which is not moved by it.

    Args:
        vectors: (B, D) unit vectors of one side.

    Returns:
        Scalar; 0 of a single vector, which has no neighbour.

    Raises:
        ValueError: wrong shape or NaN.
    """
    check_scores(vectors, "vectors")
    if len(vectors) == 1:
        return vectors.new_zeros((), dtype=torch.float32)
    vectors, fixed = vectors.float(), vectors.detach().float()
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    nearest = (fixed @ fixed.T).masked_fill(itself, -torch.inf).argmax(dim=1)  # (B,)
    return (1 - (vectors * fixed[nearest]).sum(dim=1)).mean()


def _check_pair(first: Tensor, second: Tensor) -> None:
    check_scores(first, "first")
    check_scores(second, "second")
    if first.shape != second.shape:
        raise ValueError(
            f"first is {tuple(first.shape)} and second {tuple(second.shape)}; expected the same "
            "(B, D): row i of both shows the same place."
        )
