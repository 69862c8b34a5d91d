"""Where regions come from: boxes in a picture, and whoever finds them.

A role is a ``Protocol``: anything with these methods fits, whether it is ours or a user's own.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

MODEL_REGIONS = "model"  # the regions that the model at hand proposes itself
NO_REGIONS = "none"  # global information only


@dataclass(frozen=True)
class Regions:
    """Boxes found in one picture, strongest first.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the picture they were found in.
        scores: (N,) in 0..1.
        labels: N class names, or an empty tuple where the proposer knows no classes.
    """

    boxes: Tensor
    scores: Tensor
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectorRecord:
    """What identifies a detector in an index or a report.

    Attributes:
        source: folder or Hub id it was loaded from; its name.
        revision: commit on the Hub, or None for a folder.
        fingerprint: of its weights (``checks.weights_fingerprint``).
        threshold: least score of a region, 0..1.
        max_regions: most regions of a picture, N.
    """

    source: str
    revision: str | None
    fingerprint: str
    threshold: float
    max_regions: int

    def finds_the_same(self, other: "DetectorRecord") -> bool:
        """Tell whether both find the same regions; the same weights may lie elsewhere."""
        return (self.fingerprint, self.threshold, self.max_regions) == (
            other.fingerprint,
            other.threshold,
            other.max_regions,
        )

    def __str__(self) -> str:
        return (
            f"{self.source} (weights {self.fingerprint}, score {self.threshold} or more, "
            f"at most {self.max_regions})"
        )


class RegionProposer(Protocol):
    """Finds regions in a picture; ``name`` is recorded in results and indexes."""

    @property
    def name(self) -> str:
        """A name of its own, neither ``model`` nor ``none``."""

    def __call__(self, image: Image.Image) -> Regions:
        """Return at most N regions of one RGB picture."""


@runtime_checkable
class RecordedProposer(Protocol):
    """A proposer that says more than its name, so that two of one name are told apart."""

    @property
    def record(self) -> DetectorRecord:
        """What identifies it."""
