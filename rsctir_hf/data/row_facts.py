"""What a training set knows of its rows beside pictures and captions, by row number.

Kinds of scenes come from a column ``category``. A release without one has them in the names of its
pictures: RSICD and RSITMD as ``airport_12.jpg``; UCM numbers its 21 classes, in alphabetical order,
from 1 on, a hundred each.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import PurePath
from typing import Any, Self

import torch
from torch import Tensor

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.data.class_names import class_words
from rsctir_hf.data.collator import TrainingRow

LABELS = "labels"  # name of the column with several labels of each picture
UCM_CLASSES = (
    *("agricultural", "airplane", "baseballdiamond", "beach", "buildings"),
    *("chaparral", "denseresidential", "forest", "freeway", "golfcourse", "harbor"),
    *("intersection", "mediumresidential", "mobilehomepark", "overpass"),
    *("parkinglot", "river", "runway", "sparseresidential", "storagetanks", "tenniscourt"),
)
_OF_A_CLASS = 100  # pictures of UCM
_LETTERS = re.compile(r"([a-zA-Z]+)_?\d+")


@dataclass(frozen=True)
class RowFacts:
    """What is known of n rows, counted through over all sets as ``EpochView`` does.

    Attributes:
        captions: number of captions of each row; empty where nothing is known, as of a stream.
        classes: the kind of scene of each row, "" unknown.
        labels: names of what each picture shows, None where that is not known.
    """

    captions: Sequence[int] = ()
    classes: Sequence[str] = ()
    labels: Sequence[Sequence[str] | None] = ()

    @classmethod
    def of(cls, sets: Mapping[str, Any]) -> Self:
        """Read the tables of a training, name -> rows."""
        rows = [(name, row) for name, table in sets.items() for row in without_pictures(table)]
        return cls(
            [len(row["captions"]) for _, row in rows],
            [class_of(row, benchmark=name) for name, row in rows],
            [row.get(LABELS) for _, row in rows],
        )

    @cached_property
    def class_names(self) -> list[str]:
        """Kinds of scenes that occur, in alphabetical order."""
        return sorted({name for name in self.classes if name})

    @cached_property
    def label_names(self) -> list[str]:
        """Labels that occur, in alphabetical order."""
        return sorted({name for each in self.labels for name in each or ()})

    @cached_property
    def pairs(self) -> int:
        """Number of pairs of picture and sentence."""
        return sum(self.captions)

    @cached_property
    def _first_pair(self) -> list[int]:
        return list(accumulate(self.captions, initial=0))

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """Return what is known of B rows with C captions, as ``objectives.Batch`` has it.

        Equal sentences of one picture have one number, that of the first.
        """
        if not self.captions:
            return {}
        numbers = [
            self._first_pair[row.row] + row.all_captions.index(caption)
            for row in rows
            for caption in row.captions
        ]
        facts = {"pairs": torch.tensor(numbers)}
        if self.class_names:
            places = {name: place for place, name in enumerate(self.class_names)}
            facts["classes"] = torch.tensor(
                [places.get(self.classes[row.row], -1) for row in rows]
            )  # (B,)
        if self.label_names:
            facts["labels"] = torch.tensor([self._label_row(row.row) for row in rows])  # (B, L)
        return facts

    def _label_row(self, row: int) -> list[float]:
        if (shown := self.labels[row]) is None:
            return [float("nan")] * len(self.label_names)
        return [float(name in shown) for name in self.label_names]


def class_of(row: Mapping[str, Any], *, benchmark: str = "") -> str:
    """Return the kind of scene of a row in words, "" where nobody says it.

    Args:
        row: with ``category``, or with the ``file_name`` of a benchmark's release.
        benchmark: name of the set.
    """
    if row.get("category"):
        return class_words(str(row["category"]))
    if benchmark not in BENCHMARKS:
        return ""
    stem = PurePath(row.get("file_name") or "").stem
    if benchmark == "ucm" and stem.isdecimal():
        place = (int(stem) - 1) // _OF_A_CLASS
        return UCM_CLASSES[place] if 0 <= place < len(UCM_CLASSES) else ""
    found = _LETTERS.fullmatch(stem)
    return class_words(found[1]) if found else ""


def without_pictures(table: Any) -> Any:  # noqa: ANN401 - a Dataset, or any sequence of rows
    """Return rows whose pictures nobody decodes."""
    names = getattr(table, "column_names", None)
    return table if names is None else table.remove_columns("image")
