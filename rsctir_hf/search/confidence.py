"""Whether a hit fits what was asked: its score, held against what other sentences reach there.

A cosine alone does not say it: the best of ten thousand pictures scores higher than the best of
ten, and pictures unlike those of the training score lower. So a gallery is asked two more kinds of
sentences. Those of ``OFF_TOPIC`` fit no picture from above: what they reach is worth nothing.
``typical_sentences`` name what such pictures show: the best of them reach what a right answer does.
Between the two lies the scale (our rule). Where it is cut was chosen on UCM-Captions and RSICD
validation for both shipped models alike, and lies so that a level is seldom wrong; what is left is
``perhaps`` (``benchmarks/confidence.py``). No model needs a threshold of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from torch import Tensor

from rsctir_hf.sample import read_caption_bank

OFF_TOPIC = (
    "A cat sleeps on a sofa.",
    "The quarterly report shows rising costs.",
    "She plays the violin in an orchestra.",
    "A bowl of soup with fresh bread.",
    "Two people shake hands in an office.",
    "He reads a book by the fire.",
    "A close-up of a red flower.",
    "The dog catches a ball.",
    "A bottle of wine and a glass.",
    "Children sing a song at school.",
    "A portrait of an old woman.",
    "Please restart the computer.",
    "A plate of pasta with cheese.",
    "The football team won the cup.",
    "A pair of leather shoes.",
    "He asks the doctor a question.",
    "A black and white cartoon.",
    "The clock shows half past nine.",
    "A keyboard and a mouse on a desk.",
    "They watch a film at night.",
)
_Score = TypeVar("_Score", float, Tensor)
_TYPICAL = 64  # more of the bank moves no figure, and each has to be embedded
_BEST_SHARE = 0.98  # of them, since most are about what a gallery does not show


class Level(StrEnum):
    """How well a hit fits."""

    FITS = "fits"
    PERHAPS = "perhaps"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Cuts:
    """Where the scale is cut; 0 is what off-topic sentences reach, 1 what fitting ones do."""

    nothing_below: float
    fits_from: float


WORDS = Cuts(-0.3, 0.55)
PICTURES = Cuts(0.3, 0.8)  # a picture lies nearer to its like than words do
LIKELY = Cuts(0.1, 0.5)  # of labels: likelihoods, no places on a scale


@dataclass(frozen=True)
class ScoreScale:
    """What cosines mean on one gallery.

    Attributes:
        low: the mean best score of ``OFF_TOPIC``.
        high: the best score that the best typical sentences reach.
        cuts: of the kind of query.
    """

    low: float
    high: float
    cuts: Cuts

    def place(self, score: _Score) -> _Score:
        """Return where a cosine, or each of several, lies: 0 at ``low``, 1 at ``high``."""
        return (score - self.low) / (self.high - self.low)

    @property
    def fits_from(self) -> float:
        """The cosine from which a hit fits."""
        return self.low + self.cuts.fits_from * (self.high - self.low)

    def level(self, score: float) -> Level:
        """Return how well a hit of this cosine fits."""
        place = self.place(score)
        if place < self.cuts.nothing_below:
            return Level.NOTHING
        return Level.FITS if place >= self.cuts.fits_from else Level.PERHAPS


def typical_sentences() -> list[str]:
    """Return sentences of the bank that ships, evenly spaced over its subjects."""
    bank = read_caption_bank()
    return bank[:: len(bank) // _TYPICAL][:_TYPICAL]


def yardstick_sentences() -> list[str]:
    """Return all that a gallery is asked, those of ``OFF_TOPIC`` first."""
    return [*OFF_TOPIC, *typical_sentences()]


def score_scale(off_topic: Tensor, typical: Tensor, cuts: Cuts) -> ScoreScale | None:
    """Return the scale of a gallery; None where the model cannot tell the two kinds apart.

    Args:
        off_topic: (N,) best cosine of each sentence of ``OFF_TOPIC`` with the gallery.
        typical: (M,) the same of ``typical_sentences``.
        cuts: of the kind of query.
    """
    low, high = off_topic.mean(), typical.quantile(_BEST_SHARE)
    apart = high - low > off_topic.std(correction=0)
    return ScoreScale(low.item(), high.item(), cuts) if apart else None


def likely_level(likelihood: float) -> Level:
    """Return how well a hit fits that is as likely as this, 0 to 1, what was asked for."""
    if likelihood < LIKELY.nothing_below:
        return Level.NOTHING
    return Level.FITS if likelihood >= LIKELY.fits_from else Level.PERHAPS


def best_level(levels: Iterable[Level | None]) -> Level | None:
    """Return the best of several levels; None where nothing was judged."""
    found = set(levels)
    return next((level for level in Level if level in found), None)
