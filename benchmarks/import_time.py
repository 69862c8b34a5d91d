"""What ``import rsctir_hf`` costs over the libraries that every model of this kind imports.

    python benchmarks/import_time.py

Either import runs in a process of its own and times itself there, so the start of Python is not
counted. The two take turns, so noise of the machine meets both; the first pair only fills the
disk's cache. Takes about two minutes on two quiet cores; writes ``results/import_time.json``.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from report import ROOT, flags, median_ratio, rounded, run, save, settings

BASE = "import torch, torchvision, timm; from transformers import AutoModel, PreTrainedModel"
OURS = "import rsctir_hf"
LIMIT = 0.3  # seconds over BASE
# What the timed process prints: wall-clock and processor seconds of the statement.
TIMED = """
import time
wall, processor = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - wall, time.process_time() - processor)
"""


class Seconds(NamedTuple):
    """How long one import took, in seconds of the clock and of the processor."""

    wall: float
    processor: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = flags(__doc__, "import_time.json", turns=9).parse_args(arguments)
    _, *counted = [(import_seconds(BASE), import_seconds(OURS)) for _ in range(options.turns + 1)]
    save(options.output, summary(counted))


def import_seconds(statement: str) -> Seconds:
    """Time one statement in a new process."""
    command = [sys.executable, "-c", TIMED.format(statement=statement)]
    said = subprocess.check_output(command, cwd=ROOT, text=True).split()
    return Seconds(*map(float, said[-2:]))


def summary(pairs: Sequence[tuple[Seconds, Seconds]]) -> dict[str, Any]:
    """Return medians over pairs of (libraries alone, ours), and whether the limit is kept."""
    base, ours = ([seconds.wall for seconds in each] for each in zip(*pairs, strict=True))
    over = [our - base for base, our in zip(base, ours, strict=True)]
    processor = [our.processor - base.processor for base, our in pairs]
    return {
        "base": BASE,
        "ours": OURS,
        "limit_seconds": LIMIT,
        "base_seconds": round(statistics.median(base), 3),
        "ours_seconds": round(statistics.median(ours), 3),
        "ratio": median_ratio(ours, base),
        "over_seconds": round(statistics.median(over), 3),
        "over_processor_seconds": round(statistics.median(processor), 3),
        "kept": statistics.median(over) <= LIMIT,
        "over_seconds_of_each_pair": rounded(over, 3),
        "settings": settings(),
    }


if __name__ == "__main__":
    run(main)
