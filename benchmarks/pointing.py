"""The pointing game without the models: ways to play it, where they point, what they hit.

See ``pointing_game.py``. All coordinates are in pixels of the model input.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from patch_similarity import cell_centre
from report import rounded
from torch import Tensor

from rsctir_hf.regions.contribution import Contributions

#: How a class is asked for; several sentences are averaged.
WORDINGS = {
    "word": ("{}",),
    "there is": ("there is a {} .",),
    "photo": ("a satellite photo of a {}",),
    "many": ("many {}s are in the picture .",),
    "ensemble": (
        *("{}", "there is a {} .", "a {} .", "many {}s ."),
        *("there are some {}s in the picture .", "an aerial photo of a {}"),
    ),
}
COSINE, BEYOND = "cosine", "beyond an average caption"
#: What is left out: a node of the graph, what lies under a default proposal, or under a finer one.
NODE, BOX, FINER = "node", "under the box", "under a finer box"
#: Powers of a box's area that its contribution is divided by.
DIVISORS = {"nothing": 0.0, "root of area": 0.5, "area": 1.0}


@dataclass(frozen=True)
class Asking:
    """How a class becomes a query: a key of ``WORDINGS``, and ``COSINE`` or ``BEYOND``."""

    wording: str
    score: str


@dataclass(frozen=True)
class Way:
    """A way of playing: ``NODE``, ``BOX`` or ``FINER``, and a key of ``DIVISORS``."""

    asking: Asking
    masked: str
    divisor: str


Shares = dict[str, Tensor]  # class -> (P,) a share, 0..1, of each of its pictures


@dataclass(frozen=True)
class Seen:
    """What was computed of one picture and one class in it; all in pixels of the model input.

    Attributes:
        objects: (M, 4) boxes of the class.
        found: ``NODE``, ``BOX`` or ``FINER`` -> contributions to A queries.
        cells: grid side -> (side * side, A) cosines of the map's cells.
        size: (width, height).
    """

    objects: Tensor
    found: Mapping[str, Contributions]
    cells: Mapping[int, Tensor]
    size: tuple[int, int]


@dataclass(frozen=True)
class Game:
    """Everything that was computed, and how the game comes out.

    Attributes:
        asked: the A queries of every class.
        seen: class -> its pictures.
    """

    asked: Sequence[Asking]
    seen: Mapping[str, Sequence[Seen]]

    def play(self, way: Way) -> Shares:
        """Point at the region with the largest contribution."""
        query, power = self.asked.index(way.asking), DIVISORS[way.divisor]
        return self._shares(lambda seen: strongest(seen.found[way.masked], query, power))

    def play_patches(self, asking: Asking, side: int) -> Shares:
        """Point at the centre of the nearest cell."""
        query = self.asked.index(asking)
        return self._shares(
            lambda seen: cell_centre(int(seen.cells[side][:, query].argmax()), side, seen.size)
        )

    def play_centre(self) -> Shares:
        """Point at the middle of the picture."""
        return self._shares(lambda seen: (seen.size[0] / 2, seen.size[1] / 2))

    def expect_proposal(self, masked: str) -> Shares:
        """Return the share of a way's proposals that would be hits."""
        return self._each(lambda seen: hits(centres(seen.found[masked].boxes), seen.objects))

    def expect_point(self) -> Shares:
        """Return the share of the picture that its objects cover."""
        return self._each(lambda seen: hits(every_point(seen.size), seen.objects))

    def _shares(self, point: Callable[[Seen], tuple[float, float]]) -> Shares:
        return self._each(lambda seen: hits(torch.tensor([point(seen)]), seen.objects))

    def _each(self, measure: Callable[[Seen], Tensor]) -> Shares:
        return {
            name: torch.stack([measure(seen).float().mean() for seen in pictures])
            for name, pictures in self.seen.items()
        }


def askings() -> Iterator[Asking]:
    """Yield every way to turn a class into a query."""
    for wording, against in product(WORDINGS, (COSINE, BEYOND)):
        yield Asking(wording, against)


def strongest(found: Contributions, query: int, power: float) -> tuple[float, float]:
    """Return the centre of the region with the largest contribution over its area's power.

    Of equal ones the proposer's surest. Regions the model did not use contribute 0.
    """
    areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(dim=1)
    values = found.values[:, query] / areas**power
    x, y = centres(found.boxes[values.argmax()][None])[0].tolist()
    return x, y


def centres(boxes: Tensor) -> Tensor:
    """Return the centres (N, 2) of boxes (N, 4)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def every_point(size: tuple[int, int]) -> Tensor:
    """Return the middle (H * W, 2) of each pixel."""
    x, y = torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5
    return torch.cartesian_prod(x, y)


def hits(points: Tensor, objects: Tensor) -> Tensor:
    """Tell for each of the points (P, 2) whether it lies in one of the boxes (M, 4)."""
    inside = (points[:, None] >= objects[:, :2]) & (points[:, None] <= objects[:, 2:])  # (P, M, 2)
    return inside.all(dim=2).any(dim=1)


def best(played: Mapping[Any, Mapping[str, Any]]) -> Any:  # noqa: ANN401 - a key
    """Return the way with the best macro, the first of equal ones."""
    return max(played, key=lambda way: played[way]["macro"])


def summary(shares: Shares) -> dict[str, Any]:
    """Share of hits of each class and their mean, percent."""
    percent = rounded(100 * float(each.mean()) for each in shares.values())
    classes = dict(zip(shares, percent, strict=True))
    return {"macro": round(statistics.fmean(classes.values()), 2), "classes": classes}
