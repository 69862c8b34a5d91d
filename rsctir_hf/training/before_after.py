"""What tuning has changed: the model a run starts from and the one it ends with, scored alike.

Validation is scored before training and after it. What is scored once (the test split of own data,
and benchmarks that the base knew) is scored with both when training has ended.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from torch import Tensor

from rsctir_hf.data.collator import without_decoding
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import RetrievalReport, SimilarityData, report_on, similarity_matrix
from rsctir_hf.training.sets import TEST, VALIDATION

logger = logging.getLogger(__name__)

BEFORE_TRAINING = "the base before training, the result after it"
ONCE = "both once, after training"


@dataclass(frozen=True)
class Answers:
    """How a model answers the captions of a set, without rerank.

    Attributes:
        report: its scores.
        ranks: (C,) int64 of each caption's own picture, from 1; equal scores share the best rank.
        first: (C,) int64 row of the picture that comes first.
    """

    report: RetrievalReport
    ranks: Tensor
    first: Tensor


@dataclass(frozen=True)
class Compared:
    """A set before and after.

    Attributes:
        data: its name.
        split: which part of it.
        kept: it is a benchmark that the base knew, no data of this run.
        scored: when, in words.
        rows: its pictures, not decoded, and captions.
        before: by the base.
        after: by the result.
    """

    data: str
    split: str
    kept: bool
    scored: str
    rows: Sequence[Mapping[str, Any]]
    before: Answers
    after: Answers

    @property
    def scores(self) -> tuple[float, float]:
        """The mR before and after, in percent."""
        return self.before.report.metrics["mR"], self.after.report.metrics["mR"]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; metrics in percent."""
        return {
            "data": self.data,
            "split": self.split,
            "kept": self.kept,
            "scored": self.scored,
            "images": self.after.report.images,
            "captions": self.after.report.captions,
            "before": self.before.report.metrics,
            "after": self.after.report.metrics,
        }


class BeforeAfter:
    """Scores validation with the model before training, and keeps a copy of it for afterwards.

    Args:
        encoder: with the model that training is about to change.
        validation: name of a set -> its validation rows.
        test: name of a set -> its test rows, scored once.
        kept: name of a benchmark -> split -> rows, scored once.
    """

    def __init__(
        self,
        encoder: Encoder,
        validation: Mapping[str, Any],
        *,
        test: Mapping[str, Any],
        kept: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.base = replace(encoder, model=copy.deepcopy(encoder.model))
        self.validation = {name: without_decoding(rows) for name, rows in validation.items()}
        self.once = [(name, TEST, without_decoding(rows), False) for name, rows in test.items()]
        self.once += [
            (name, split, without_decoding(rows), True)
            for name, splits in kept.items()
            for split, rows in splits.items()
        ]
        self.before = {name: answers_of(encoder, rows) for name, rows in validation.items()}
        logger.info(
            "The base, %s, has validation mR %.1f", encoder.id or "as given", self.base_score
        )

    @property
    def base_score(self) -> float:
        """Validation mR of the base, the mean over the sets, in percent."""
        return fmean(each.report.metrics["mR"] for each in self.before.values())

    def compare(self, encoder: Encoder, validation: Mapping[str, SimilarityData]) -> list[Compared]:
        """Score the result, and both models on what is scored once.

        Args:
            encoder: with the finished model.
            validation: name of a set -> its validation rows, embedded by that model.
        """
        found = [
            Compared(
                name, VALIDATION, False, BEFORE_TRAINING, self.validation[name], self.before[name],
                answers(data, encoder),
            )
            for name, data in validation.items()
        ]  # fmt: skip
        for name, split, rows, kept in self.once:
            logger.info("Scoring %s %s, once, with the base and with the result", name, split)
            both = [answers_of(each, rows) for each in (self.base, encoder)]
            found.append(Compared(name, split, kept, ONCE, rows, *both))
        return found


def answers_of(encoder: Encoder, rows: Any) -> Answers:  # noqa: ANN401 - rows of any kind
    """Embed a set and answer its captions."""
    return answers(similarity_matrix(encoder, rows), encoder)


def answers(data: SimilarityData, encoder: Encoder) -> Answers:
    """Answer the captions of a set that has been embedded by a model."""
    similarity, owners = data.similarity, data.image_of_caption  # (B, C), (C,)
    own = similarity.gather(0, owners[None])  # (1, C)
    ranks = 1 + (similarity > own).sum(dim=0)
    return Answers(report_on(data, encoder), ranks, similarity.argmax(dim=0))


def movers(compared: Compared, *, most: int = 10) -> tuple[list[int], list[int]]:
    """Return which captions rose most and fell most in rank, by their number; no sentence twice.

    Args:
        compared: a set.
        most: of either kind.
    """
    gains = (compared.before.ranks - compared.after.ranks).tolist()
    sentences = [caption for row in compared.rows for caption in row["captions"]]
    order = sorted({text: number for number, text in reversed([*enumerate(sentences)])}.values())
    rose = sorted((n for n in order if gains[n] > 0), key=lambda n: -gains[n])
    fell = sorted((n for n in order if gains[n] < 0), key=lambda n: gains[n])
    return rose[:most], fell[:most]


def table_lines(compared: Sequence[Compared]) -> list[str]:
    """Lay the comparison out as lines of text."""
    names = [f"{each.data}, {each.split}{' (kept)' if each.kept else ''}" for each in compared]
    width = max(map(len, names))
    lines = [f"{'mR in percent':{width}}  pictures  before   after  change"]
    for name, each in zip(names, compared, strict=True):
        before, after = each.scores
        lines.append(
            f"{name:{width}}  {each.after.report.images:8,}  {before:6.1f}  {after:6.1f}  "
            f"{after - before:+6.1f}"
        )
    return lines


def verdict(compared: Sequence[Compared]) -> tuple[bool, str]:
    """Say in a sentence whether the result is better than the base on the data of the run.

    Test decides where there is one, as validation has chosen the result; of several sets the mean.
    """
    own = [each for each in compared if not each.kept]
    decisive = [each for each in own if each.split == TEST] or own
    before, after = (
        fmean(scores) for scores in zip(*(each.scores for each in decisive), strict=True)
    )
    names = " and ".join(dict.fromkeys(f"{each.data} {each.split}" for each in decisive))
    figures = f"mR {before:.1f} before and {after:.1f} after, on {names}"
    if round(after, 1) > round(before, 1):
        return True, f"Better than the base: {figures}."
    return False, (
        f"NOT better than the base: {figures}. Keep the base, or train longer, at another "
        "learning rate, or on more captions."
    )
