"""How fast a training step is by memory format, and by how idle threads wait, beside a neighbour.

    python benchmarks/training_format.py --data data/ucm_captions

For each shipped recipe the bare step of ``benchmarks/training_speed.py``, with weights as PyTorch
makes them and as our Trainers lay them out (``rsctir_hf.training.precision``): the latter is to be
at least 1.25 times as fast. Then, for the first recipe, with OpenMP's threads waiting busily (its
default) and asleep (``OMP_WAIT_POLICY=passive``, which the training doors set unless you do), alone
and beside a process that keeps one processor busy. Each runs in new processes that take turns.
Some 7 minutes on two quiet cores; writes ``results/training_format.json``.
"""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from embedding_speed import busy_process
from report import ROOT, flags, median_ratio, rounded, run, save, settings
from training_speed import Setting, bare_seconds, in_new_process

RECIPES = ("cmpagl_ucm", "galr_ucm")
TARGET = 1.25
STEPS = 2  # counted, of each stage in each process
POLICIES = ("active", "passive")

Stages = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "training_format.json", turns=2)
    parser.add_argument("--data", required=True, help="folder of the recipes' benchmark")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {"target": TARGET, "times_as_fast": {}}
    for name in options.recipes:
        found["times_as_fast"][name] = formats(recipe(name), options.data, options.turns)
    found["wait_policy"] = policies(recipe(options.recipes[0]), options.data)
    save(options.output, found | {"settings": settings(steps=STEPS, turns=options.turns)})


def recipe(name: str) -> Path:
    """Return the file of a recipe."""
    return ROOT / "training" / "recipes" / f"{name}.yaml"


def formats(file: Path, data: str, turns: int) -> dict[str, Any]:
    """Return by stage the seconds of a step in both formats, and how many times as fast ours is."""
    spent: dict[bool, Stages] = {True: {}, False: {}}
    for _ in range(turns):
        for contiguous, stages in spent.items():
            setting = Setting(contiguous=contiguous)
            for stage, took in in_new_process(bare_seconds, file, data, STEPS, setting).items():
                stages.setdefault(stage, []).append(took)
    return {
        stage: {
            "times_as_fast": median_ratio(before, spent[False][stage]),
            "seconds_contiguous": rounded(before, 3),
            "seconds_channels_last": rounded(spent[False][stage], 3),
        }
        for stage, before in spent[True].items()
    }


def policies(file: Path, data: str) -> dict[str, Any]:
    """Return the seconds of a step, in both stages, by condition and by how threads wait."""
    found: dict[str, Any] = {"alone": {}, "beside": {}}
    for condition, seconds in found.items():
        for policy in POLICIES:
            with (
                patch.dict(os.environ, {"OMP_WAIT_POLICY": policy}),
                busy_process() if condition == "beside" else nullcontext(),
            ):
                took = in_new_process(bare_seconds, file, data, STEPS, Setting())
            seconds[policy] = {stage: round(each, 3) for stage, each in took.items()}
    return found


if __name__ == "__main__":
    run(main)
