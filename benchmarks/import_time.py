"""What ``import rsctir_hf`` costs over the libraries that every model of this kind imports.

    python benchmarks/import_time.py

Either import runs in a process of its own and times itself there, so the start of Python is not
counted. The two take turns, so noise of the machine meets both; the first pair only fills the
disk's cache. Takes about two minutes on two quiet cores; writes ``results/import_time.json``.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctir_hf.evaluation import library_versions

ROOT = Path(__file__).resolve().parents[1]
BASE = "import torch, torchvision, timm; from transformers import AutoModel, PreTrainedModel"
OURS = "import rsctir_hf"
LIMIT = 0.3  # seconds over BASE
TURNS = 9
# What the timed process prints: wall-clock and processor seconds of the statement.
TIMED = """
import time
wall, processor = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - wall, time.process_time() - processor)
"""


@dataclass(frozen=True)
class Seconds:
    """How long one import took, in seconds of the clock and of the processor."""

    wall: float
    processor: float


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Seconds of importing the package.")
    parser.add_argument("--turns", type=int, default=TURNS, help="counted pairs of processes")
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "import_time.json")
    options = parser.parse_args(arguments)
    _, *counted = [
        (import_seconds(BASE), import_seconds(OURS)) for _ in range(options.turns + 1)
    ]  # fmt: skip
    found = summary(counted)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(
        f"{OURS}: {found['ours_seconds']} s, its libraries alone {found['base_seconds']} s "
        f"(medians of {len(counted)}); ratio {found['ratio']}\n"
        f"over them: {found['over_seconds']} s ({found['over_processor_seconds']} s of the "
        f"processor), limit {LIMIT} s: {'kept' if found['kept'] else 'MISSED'}"
    )


def import_seconds(statement: str) -> Seconds:
    """Time one statement in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement=statement)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wall, processor = map(float, done.stdout.split()[-2:])
    return Seconds(wall, processor)


def summary(pairs: Sequence[tuple[Seconds, Seconds]]) -> dict[str, Any]:
    """Return medians over pairs of (libraries alone, ours), and whether the limit is kept."""
    over = statistics.median(ours.wall - base.wall for base, ours in pairs)
    return {
        "base": BASE,
        "ours": OURS,
        "limit_seconds": LIMIT,
        "base_seconds": round(statistics.median(base.wall for base, _ in pairs), 3),
        "ours_seconds": round(statistics.median(ours.wall for _, ours in pairs), 3),
        "ratio": round(statistics.median(ours.wall / base.wall for base, ours in pairs), 3),
        "over_seconds": round(over, 3),
        "over_processor_seconds": round(
            statistics.median(ours.processor - base.processor for base, ours in pairs), 3
        ),
        "kept": over <= LIMIT,
        "over_seconds_of_each_pair": [round(ours.wall - base.wall, 3) for base, ours in pairs],
        "settings": {
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
            "machine": platform.machine(),
            "versions": library_versions(),
        },
    }


if __name__ == "__main__":
    main(sys.argv[1:])
