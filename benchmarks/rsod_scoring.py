"""What the measurements on RSOD share: chosen on train, scored on test once, shares with intervals.

``pointing_game.py`` and ``proposal_recall.py`` write a file of RSOD train that names what was
chosen there and the weights it was chosen with. Test is scored only with that file in the last
commit as it stands, as ``score_test.py`` does it for retrieval, and a line of
``results/README.md`` says so.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from report import CHECKPOINTS, ROOT, flags, save, settings
from score_test import TEST, Scoring, add_log_line, refuse_second_score
from torch import Tensor

import rsctir_hf
from rsctir_hf.detection.crops import BoxedPicture

TRAIN = "train"
RESAMPLES = 10_000
SEED = 0
CONFIDENCE_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class RsodScoring(Scoring):
    """A measurement on RSOD in the place of a retrieval benchmark.

    Attributes:
        measured: what is measured, as the log writes it: ``pointing game``.
    """

    measured: str = ""

    @property
    def title(self) -> str:
        """Data, split and measurement as the log writes them."""
        return f"RSOD {self.split}, {self.measured}"

    @property
    def record_file(self) -> Path:
        """The figures on train that the choice was made on, and the choice."""
        return self._file(TRAIN)

    @property
    def test_file(self) -> Path:
        """Where the figures on test are written."""
        return self._file(TEST)

    def _file(self, split: str) -> Path:
        return self.root / "results" / f"{self.name}_{self.benchmark}_{split}.json"


def rsod_flags(doc: str | None, models: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser that both scripts share."""
    parser = flags(doc, models=models)
    parser.add_argument("--data", required=True, help="folder of RSOD: classes.json, train/, test/")
    parser.add_argument("--pictures", type=int, default=0, help="of each class of train; 0: all")
    parser.add_argument("--test", action="store_true", help="score what was chosen, once")
    return parser


def scoring_of(name: str, measured: str, *, root: Path = ROOT) -> RsodScoring:
    """Describe a measurement of a shipped model."""
    benchmark = f"rsod-{measured.replace(' ', '-')}"
    return RsodScoring(CHECKPOINTS / name, name, benchmark, TEST, root, measured)


def write(scoring: RsodScoring, split: str, content: Mapping[str, Any], *, weights: str) -> None:
    """Write the figures on train with what was ``chosen``, or those on test and their log line."""
    named = {
        "model": scoring.name,
        "weights": weights,
        "model_revision": f"weights:{weights}",
        "data": scoring.benchmark,
        "split": split,
        "code": f"rsctir_hf {rsctir_hf.__version__}",
        "settings": settings(),
    }
    save(scoring.test_file if split == TEST else scoring.record_file, {**named, **content})
    if split == TEST:
        add_log_line(scoring, scoring.title, seed=None)


def refuse_choice_after_test(scoring: RsodScoring) -> None:
    """Raise ``ScoringRefusedError`` where test has been scored: the choice stands."""
    if scoring.test_file.is_file():
        refuse_second_score(scoring)


def some_of_each_class(pictures: Sequence[BoxedPicture], most: int) -> list[BoxedPicture]:
    """Return ``most`` pictures of each class, drawn with a fixed seed; all of them for 0.

    A picture counts for the class of its first box; those without boxes are left out.
    """
    boxed = [picture for picture in pictures if len(picture.labels)]
    if not most:
        return boxed
    order = torch.randperm(len(boxed), generator=torch.Generator().manual_seed(SEED)).tolist()
    taken: dict[int, list[int]] = {}
    for row in order:
        taken.setdefault(int(boxed[row].labels[0]), []).append(row)
    return [boxed[row] for row in sorted(row for rows in taken.values() for row in rows[:most])]


def wilson_interval(hits: float, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share, in percent (Wilson 1927).

    ``trials`` count as independent; those of one picture are not, so it is rather wider.

    Raises:
        ValueError: no trials, or more hits than trials.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{hits} hits of {trials} trials are no share.")
    z, share = CONFIDENCE_Z, hits / trials
    scale = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)) / scale
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def macro_interval(
    values: Sequence[Tensor], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean over classes, in percent.

    Pictures are drawn with replacement within each class, so that every class keeps its number.

    Args:
        values: for each class, a share (0..1) of each of its pictures.
        resamples: how many sets of pictures are drawn.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(resamples, dtype=torch.float64)
    for of_class in values:
        drawn = torch.randint(len(of_class), (resamples, len(of_class)), generator=generator)
        total += of_class.double()[drawn].mean(dim=1)
    low, high = (100 * total / len(values)).quantile(torch.tensor([0.025, 0.975]).double())
    return float(low), float(high)
