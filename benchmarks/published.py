"""Rows of other people's tables, beside which our figures stand: ``published.csv``.

As printed there, all in percent; how ties are ranked is stated by none of them, nor on which split
each model was chosen. Repositories are named as on GitHub. UCM-Captions test has 210 pictures and
1,050 captions; RSICD test 1,093 pictures, rows of dual encoders without CLIP weights and of two
models that start from them.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

RSICD_CAVEAT = (
    "Published rows: the full RSICD test split, 1,093 pictures of 224 px. They and ours cannot be "
    "compared one to one."
)


@dataclass(frozen=True)
class Published:
    """A row of somebody else's table.

    Attributes:
        method: as the source calls it.
        recalls: image-to-text R@1, 5, 10, then text-to-image R@1, 5, 10, percent.
        mean: mR as printed by the source, percent.
        source: where it stands.
    """

    method: str
    recalls: tuple[float, ...]
    mean: float
    source: str


def read_published(data: str) -> list[Published]:
    """Return the rows about ``ucm`` or ``rsicd``."""
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = [row[1:] for row in csv.reader(file) if row[0] == data]
    return [
        Published(method, tuple(map(float, recalls)), float(mean), source)
        for method, *recalls, mean, source in rows
    ]


def published_rows(data: str, split: str) -> tuple[list[Published], str]:
    """Return the published rows that belong under a table, and what to say of them."""
    if "ucm" in data.lower() and split == "test":
        return read_published("ucm"), ""
    if "rsicd" in data.lower() and split != "train":
        return read_published("rsicd"), RSICD_CAVEAT
    return [], ""
