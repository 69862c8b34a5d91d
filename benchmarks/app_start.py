"""From the start of the app to its first answer, beside the mere import of what it is built on.

    python benchmarks/app_start.py

Both run in a process of its own, from its start: the one ends after importing torch, timm,
transformers and gradio, the other is ``app.py`` with what ships, until it has answered a sentence
over plain HTTP. The answer counts only where it is the one that the whole gallery gives. The two
take turns; the first turn only fills the disk's cache. Takes about three minutes on two quiet
cores; writes ``results/app_start.json``.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from app_visitor import RefusedError, Visitor
from report import ROOT, flags, median_ratio, rounded, run, save, settings, timed
from space_start import PATIENCE, RunningApp, started_app

from rsctir_hf.ui.server.workbench import READY
from rsctir_hf.ui.tabs.search_tab import EXAMPLES

BASE = "import torch, timm, transformers, gradio"
LIMIT = 1.3  # times BASE
_ASKED = (EXAMPLES[0], "none", 20, False)
_LOOK = 0.02  # seconds between two tries


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "app_start.json", turns=7)
    parser.add_argument("flags", nargs="*", help="of app.py, after --")
    options = parser.parse_args(arguments)
    given = ["--gallery", "sample", *options.flags]
    turns = [(import_seconds(), answer_seconds(given)) for _ in range(options.turns + 1)]
    save(options.output, summary(turns[1:]))


def import_seconds() -> float:
    """Return the seconds of a process that imports and ends."""
    command = [sys.executable, "-c", f"{BASE}; import os; os._exit(0)"]
    return timed(lambda: subprocess.run(command, cwd=ROOT, check=True))[0]


def answer_seconds(given: Sequence[str]) -> float:
    """Start the app with flags; return the seconds until its first answer, which must be whole."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log.txt"
        with started_app(ROOT, given, log=log) as app:
            visitor = Visitor(int(app.url.rpartition(":")[2]), number=0)
            first = first_answer(app, visitor)
            seconds = app.seconds()
            app.wait_for_log(READY)
            if first != visitor.call("text_to_image", *_ASKED):
                raise RuntimeError("The first answer was not that of the whole gallery.")
    return seconds


def first_answer(app: RunningApp, visitor: Visitor) -> Mapping[str, Any]:
    """Ask until the server is there; return its answer."""
    deadline = time.monotonic() + PATIENCE
    while app.process.poll() is None and time.monotonic() < deadline:
        with suppress(RefusedError, OSError, HTTPException):
            return visitor.call("text_to_image", *_ASKED)
        time.sleep(_LOOK)
    raise RuntimeError(f"app.py ended or hangs:\n{app.log.read_text('utf-8')}")


def summary(turns: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return medians over turns of (import, first answer), and whether the limit is kept."""
    imports, answers = zip(*turns, strict=True)
    ratio = median_ratio(answers, imports)
    return {
        "base": BASE,
        "limit": LIMIT,
        "import_seconds": round(statistics.median(imports), 2),
        "first_answer_seconds": round(statistics.median(answers), 2),
        "ratio": ratio,
        "kept": ratio <= LIMIT,
        "import_seconds_of_each_turn": rounded(imports),
        "first_answer_seconds_of_each_turn": rounded(answers),
        "settings": settings(),
    }


if __name__ == "__main__":
    run(main)
