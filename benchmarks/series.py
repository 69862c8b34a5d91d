"""Short trainings behind a table: recipes run over the same seeds, rows compared seed by seed.

A results file is written after each run, and a run that it holds is not repeated unless its recipe
has changed.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from report import NONE, ROOT, flags, read, save

from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.training.recipe_files import read_recipe

RECIPES = ROOT / "training" / "recipes"
SEEDS = (0, 1, 2)
#: Keys of a recipe that change no figure.
COSMETIC = {"output_dir", "run_name", "data", "logging_steps", "disable_tqdm", "report_to"}
SCHEDULE = ("num_train_epochs", "per_device_train_batch_size", "learning_rate", "frozen_epochs")
# Free of what else the machine does; the median, since the first run also warms caches.
PROCESSOR = "processor_minutes"

Run = Mapping[str, Any]
Measure = Callable[[Path, Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: what it shows.
        recipe: the training behind it, a file of the series' folder without suffix.
        reference: name of the row it is compared with; empty for a row that starts a comparison.
        score: which mR of that training's reports: ``none``, ``mr``, ``smr``, ``match``, or
            ``smr_bank`` (live form: text to picture with the caption bank).
    """

    name: str
    recipe: str
    reference: str = ""
    score: str = "none"


@dataclass(frozen=True)
class Series:
    """The rows of a table, and the runs that they come from.

    Attributes:
        rows: of the table.
        folder: of their recipes.
        file: the results file.
        columns: headings of the table.
        cells: of one row's summary, a cell a column.
        measure: what else is measured of the folder that a run leaves, with the data's folder.
    """

    rows: tuple[Row, ...]
    folder: Path
    file: Path
    columns: tuple[str, ...]
    cells: Callable[[Mapping[str, Any]], list[str]]
    measure: Measure | None = None

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Recipes, each once."""
        return tuple(dict.fromkeys(row.recipe for row in self.rows))

    def parser(self, doc: str | None) -> argparse.ArgumentParser:
        """Return the flags of a script that trains a series."""
        parser = flags(doc, self.file.name)
        parser.add_argument("--data", default="", help="UCM-Captions; default: as the recipe says")
        parser.add_argument(
            "--only",
            nargs="+",
            choices=self.trained,
            default=self.trained,
            metavar="RECIPE",
            help=", ".join(self.trained),
        )
        parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
        return parser

    def main(self, doc: str | None, arguments: Sequence[str] | None = None) -> None:
        """Train what is missing, and print the table of what is there."""
        options = self.parser(doc).parse_args(arguments)
        self.train_missing(
            options.output, recipes=options.only, seeds=options.seeds, data=options.data
        )
        print(self.table(self.read_runs(options.output)))

    def table(self, runs: Sequence[Run]) -> str:
        """Markdown of all rows that have runs."""
        if not runs:
            name = self.file.stem
            return f"No {name} yet: run `python benchmarks/{name}.py --data data/ucm_captions`."
        return markdown_table(self.columns, map(self.cells, self.summaries(runs)))

    def train_missing(
        self, file: Path, *, recipes: Sequence[str], seeds: Sequence[int], data: str
    ) -> None:
        """Train every recipe with every seed that ``file`` lacks, and record each run there.

        Seed by seed, so that an interrupted series still compares like with like.

        Args:
            file: JSON of the runs; a run whose recipe has changed since counts as missing.
            recipes: names of recipes.
            seeds: of the run.
            data: folder of UCM-Captions; empty for the recipe's own.
        """
        made = {(run["recipe"], run["seed"]) for run in self.valid_runs(file)}
        missing = [(r, seed) for seed in seeds for r in recipes if (r, seed) not in made]
        for number, (recipe, seed) in enumerate(missing, start=1):
            print(f"[{number}/{len(missing)}] {recipe}, seed {seed} ...", flush=True)
            new = self.train(recipe, seed=seed, data=data)
            # Read again: another series may have written its own recipes in the meantime.
            save(file, self.report_on([*self.valid_runs(file), new]), quiet=True)
            print(f"    mR {new['mR']['none']:.2f}", flush=True)

    def valid_runs(self, file: Path) -> list[Run]:
        """Return the runs of ``file`` whose recipe still says what it said then."""
        current = {recipe: self.fingerprint(recipe) for recipe in self.trained}
        runs = self.read_runs(file)
        return [run for run in runs if run["fingerprint"] == current.get(run["recipe"])]

    def train(self, recipe: str, *, seed: int, data: str) -> Run:
        """Run ``training/run.py`` once, in a process of its own, and return what it found.

        Raises:
            subprocess.CalledProcessError: the training failed; its own message stands above.
        """
        path = self.recipe_path(recipe)
        used = processor_seconds()
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ROOT / "training" / "run.py"), str(path)]
            command += ["--output_dir", folder, "--seed", str(seed)]
            subprocess.run([*command, *(["--data", data] if data else [])], check=True)
            minutes = round((processor_seconds() - used) / 60, 2)
            results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
            place = Path(data or read_recipe(path)["data"])
            more = {"measured": self.measure(Path(folder), place)} if self.measure else {}
        return {
            "recipe": recipe,
            "seed": seed,
            "mR": validation_scores(results["validation"]),
            **more,
            PROCESSOR: minutes,
            "schedule": schedule(read_recipe(path)),
            "fingerprint": self.fingerprint(recipe),
            "git_revision": results["git_revision"],
        }

    def recipe_path(self, recipe: str) -> Path:
        """File of a recipe's name."""
        return self.folder / f"{recipe}.yaml"

    def fingerprint(self, recipe: str) -> str:
        """Short digest of what a recipe says, with what it inherits and without cosmetic keys."""
        settings = read_recipe(self.recipe_path(recipe))
        decisive = {key: value for key, value in settings.items() if key not in COSMETIC}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    def read_runs(self, file: Path | None = None) -> list[Run]:
        """Return the runs of a results file; none where it is not there yet."""
        return (read(file or self.file) or {"runs": []})["runs"]

    def report_on(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Content of the results file: the rows, and the runs they come from."""
        return {
            "data": "ucm",
            "split": "validation",
            "rows": list(self.summaries(runs)),
            "runs": sorted(runs, key=lambda run: (self.trained.index(run["recipe"]), run["seed"])),
        }

    def summaries(self, runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
        """Yield each row that has runs: scores by seed, mean, deviation, paired difference, time.

        Differences are over the seeds that row and reference share; what was measured beside is
        the mean over seeds.
        """
        by_row = {row.name: scores_by_seed(row, runs) for row in self.rows}
        for row in self.rows:
            scores = by_row[row.name]
            if not scores:
                continue
            mine = [run for run in runs if run["recipe"] == row.recipe]
            yield {
                **asdict(row),
                "recipe": self.recipe_path(row.recipe).relative_to(ROOT).as_posix(),
                "mR_by_seed": {str(seed): score for seed, score in scores.items()},
                "mean": round(statistics.fmean(scores.values()), 3),
                "deviation": deviation(list(scores.values())),
                "difference": paired_difference(scores, by_row.get(row.reference, {})),
                **({"measured": mean_of(mine)} if self.measure else {}),
                PROCESSOR: round(statistics.median(run[PROCESSOR] for run in mine), 2),
                "schedule": mine[0]["schedule"],
            }


def processor_seconds() -> float:
    """Processor time of child processes that have ended, free of the machine's other load."""
    spent = os.times()
    return spent.children_user + spent.children_system


def validation_scores(reports: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return mR in percent of each rerank, and of those with a caption bank as ``NAME_bank``."""
    scores = {}
    for found in reports:
        scores[found["rerank"]] = round(found["mR"], 3)
        if found["bank_metrics"]:
            scores[f"{found['rerank']}_bank"] = round(found["bank_metrics"]["mR"], 3)
    return scores


def schedule(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to know of a recipe's schedule."""
    size = {"image_size": recipe["config"]["image_size"]}
    return {key: recipe[key] for key in SCHEDULE} | size


def scores_by_seed(row: Row, runs: Sequence[Run]) -> dict[int, float]:
    """Return mR of a row for each seed it was trained with, in order of seeds."""
    found = {run["seed"]: run["mR"][row.score] for run in runs if run["recipe"] == row.recipe}
    return dict(sorted(found.items()))


def mean_of(runs: Sequence[Run]) -> dict[str, float]:
    """Return the mean over runs of what was measured beside, and of mR with SMR."""
    found = [{"smr": run["mR"]["smr"], **run["measured"]} for run in runs]
    return {name: round(statistics.fmean(each[name] for each in found), 3) for name in found[0]}


def paired_difference(
    scores: Mapping[int, float], reference: Mapping[int, float]
) -> dict[str, Any] | None:
    """Compare two rows seed by seed.

    Args:
        scores: seed -> mR, percent.
        reference: the same of the other row.

    Returns:
        ``by_seed``, ``mean`` and ``standard_error`` (deviation of the differences over the root
        of their number; None for one seed), or None where no seed is shared.
    """
    shared = {seed: score - reference[seed] for seed, score in scores.items() if seed in reference}
    if not shared:
        return None
    spread = statistics.stdev(shared.values()) if len(shared) > 1 else None
    return {
        "by_seed": {str(seed): round(gain, 3) for seed, gain in shared.items()},
        "mean": round(statistics.fmean(shared.values()), 3),
        "standard_error": None if spread is None else round(spread / len(shared) ** 0.5, 3),
    }


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation, or None for a single value."""
    return round(statistics.stdev(values), 3) if len(values) > 1 else None


def compared_cells(row: Mapping[str, Any]) -> list[str]:
    """Cells that every table has: name, mR, reference, difference, differences by seed."""
    gain = row["difference"]
    return [
        row["name"],
        with_spread(f"{row['mean']:.2f}", row["deviation"]),
        row["reference"] or NONE,
        with_spread(f"{gain['mean']:+.2f}", gain["standard_error"]) if gain else NONE,
        " / ".join(f"{value:+.2f}" for value in gain["by_seed"].values()) if gain else NONE,
    ]


def with_spread(value: str, spread: float | None) -> str:
    """Join a figure with its spread, where there is one."""
    return value if spread is None else f"{value} ± {spread:.2f}"
