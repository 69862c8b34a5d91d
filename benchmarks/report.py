"""What all measurements share: flags, times, the machine, results files, tables in documents.

Importing it puts the clone on the path, so that ``python benchmarks/NAME.py`` finds the package and
the drawing program beside it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rsctir_hf.errors import RsctirError
from rsctir_hf.evaluation import library_versions, results_json
from rsctir_hf.files.atomic import write_atomically

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
CHECKPOINTS = ROOT / "checkpoints"
MODELS = ("cmpagl-rs", "galr-rs")  # the shipped ones
NONE = "–"  # noqa: RUF001 - a dash for an empty cell

Clock = Callable[[], float]
Task = Callable[[], Any]


def flags(
    doc: str | None,
    output: str = "",
    *,
    models: Sequence[str] = (),
    turns: int = 0,
) -> argparse.ArgumentParser:
    """Return the parser of a script, with the flags that several of them have.

    Args:
        doc: of the script; its first line is the description.
        output: name of its file in ``results/``; empty: it writes none.
        models: choices of ``--models``; empty: it has no such flag.
        turns: default of ``--turns``; 0: it has no such flag.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    if output:
        parser.add_argument("--output", type=Path, default=RESULTS / output, help="results file")
    if models:
        parser.add_argument("--models", nargs="+", default=models, choices=models)
    if turns:
        parser.add_argument("--turns", type=int, default=turns, help="counted turns")
    return parser


def run(main: Callable[[], None]) -> None:
    """Run a script; an error of ours is one line."""
    try:
        main()
    except RsctirError as error:
        sys.exit(f"error: {error}")


def timed(work: Task, clock: Clock = time.perf_counter) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    started = clock()
    result = work()
    return clock() - started, result


def turn_about(
    tasks: Mapping[str, Task], turns: int, *, warm_up: int = 1, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Let tasks take turns, so that whatever else the machine does falls on all of them.

    Args:
        tasks: by name.
        turns: that count.
        warm_up: turns before these.
        clock: of the machine, or ``time.process_time`` for that of this process.

    Returns:
        The seconds of each task in each turn that counts.
    """
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(warm_up + turns):
        for name, task in tasks.items():
            spent[name].append(timed(task, clock)[0])
    return {name: seconds[warm_up:] for name, seconds in spent.items()}


def median_ratio(over: Sequence[float], under: Sequence[float], digits: int = 3) -> float:
    """Return the median over turns of one time over the other in the same turn."""
    ratios = [one / other for one, other in zip(over, under, strict=True)]
    return round(statistics.median(ratios), digits)


def rounded(values: Iterable[float], digits: int = 2) -> list[float]:
    """Return values as a results file holds them."""
    return [round(float(value), digits) for value in values]


def settings(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return what a measurement was made on and with, and ``more`` of it."""
    return {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average_after": rounded(os.getloadavg()),
        "versions": library_versions(),
    } | more


def save(file: Path, found: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Write a results file, whole or not at all, and print its figures unless ``quiet``."""
    write_atomically(file, results_json(found))
    if not quiet:
        print(*figures(found), f"written to {file}", sep="\n")


def figures(found: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield a line for each figure and its place, and for each of several rows; no settings."""
    for name, value in found.items():
        if isinstance(value, Mapping) and name != "settings":
            yield from figures(value, f"{place}{name}, ")
        elif isinstance(value, int | float | str):
            yield f"{place}{name}: {value}"
        elif isinstance(value, Sequence):
            rows = [each for each in value if isinstance(each, Mapping)]
            yield from (f"{place}{name}: " + "; ".join(figures(each)) for each in rows)


def read(file: Path) -> Any:  # noqa: ANN401 - JSON
    """Return a results file, or None where it is not there."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def with_block(text: str, name: str, block: str) -> str:
    """Return a document with ``block`` between its markers ``NAME:begin`` and ``NAME:end``.

    Raises:
        ValueError: the markers do not stand there once each, in order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last) or begin in rest or end in after:
        raise ValueError(f"Expected {begin} and then {end}, once each.")
    return f"{before}{begin}\n{block}\n{end}{after}"
