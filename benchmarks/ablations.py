"""What each part of the two families is worth: short trainings, paired over the same seeds.

    python benchmarks/ablations.py --data data/ucm_captions       # train what is missing
    python benchmarks/ablations.py --only galr_regions --seeds 0  # a part of it

A row is a recipe of ``training/recipes/ablations`` scored on UCM-Captions validation, or a rerank
of the reports such a run leaves behind. Both towers stay frozen at 128 px, so figures are far
below those of a full training; what counts is the difference to the row's reference over the same
seeds, which give both the same pictures, crops, captions and batches. ``results/ablations.json`` is
written after each run, and a run it holds is not repeated unless its recipe has changed.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from report import NONE, RESULTS, ROOT, flags, read, run, save

from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.training.recipe_args import read_recipe

RECIPES = ROOT / "training" / "recipes" / "ablations"
FILE = RESULTS / "ablations.json"
NO_RUNS = "No ablations yet: run `python benchmarks/ablations.py --data data/ucm_captions`."
SEEDS = (0, 1, 2)
#: Keys of a recipe that change no figure.
COSMETIC = {"output_dir", "run_name", "data", "logging_steps", "disable_tqdm", "report_to"}
SCHEDULE = ("num_train_epochs", "per_device_train_batch_size", "learning_rate", "frozen_epochs")
# Free of what else the machine does; the median, since the first run also warms caches.
PROCESSOR = "processor_minutes"

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: what it shows.
        recipe: the training behind it, a file of ``training/recipes/ablations`` without suffix.
        reference: name of the row it is compared with; empty for a row that starts a comparison.
        score: which mR of that training's reports: ``none``, ``mr``, ``smr``, ``match``, or
            ``smr_bank`` (live form: text to picture with the caption bank).
    """

    name: str
    recipe: str
    reference: str = ""
    score: str = "none"


ROWS = (
    Row("GaLR, global only", "galr_global_only"),
    Row("GaLR, + regions (plain graph)", "galr_regions", "GaLR, global only"),
    Row("GaLR, + DREA (default)", "galr_base", "GaLR, + regions (plain graph)"),
    Row("GaLR, regions of a detector", "galr_detector_regions", "GaLR, + DREA (default)"),
    Row("GaLR, MIDF as in the paper", "galr_midf_paper", "GaLR, + DREA (default)"),
    Row("GaLR, MIDF as released", "galr_midf_released", "GaLR, + DREA (default)"),
    Row("GaLR, pooled levels off", "galr_no_levels", "GaLR, + DREA (default)"),
    Row("GaLR, MR rerank", "galr_base", "GaLR, + DREA (default)", "mr"),
    Row("CMPAGL, local windows only", "cmpagl_local_only"),
    Row("CMPAGL, concat", "cmpagl_concat", "CMPAGL, local windows only"),
    Row("CMPAGL, cross (default)", "cmpagl_base", "CMPAGL, local windows only"),
    Row("CMPAGL, pre-alignment off", "cmpagl_no_pre_alignment", "CMPAGL, cross (default)"),
    Row("CMPAGL, intra-class term off", "cmpagl_no_intra_class", "CMPAGL, cross (default)"),
    Row("CMPAGL, pooled levels off", "cmpagl_no_levels", "CMPAGL, cross (default)"),
    Row("CMPAGL, two-stage match()", "cmpagl_base", "CMPAGL, cross (default)", "match"),
    Row("CMPAGL, SMR, all queries at once", "cmpagl_base", "CMPAGL, cross (default)", "smr"),
    Row("CMPAGL, SMR, live with the bank", "cmpagl_base", "CMPAGL, cross (default)", "smr_bank"),
)
TRAINED = tuple(dict.fromkeys(row.recipe for row in ROWS))
COLUMNS = ("Row", "mR", "Compared with", "Difference", "By seed", "Processor minutes", "Recipe")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print the table of what is there."""
    parser = flags(__doc__, FILE.name)
    parser.add_argument("--data", default="", help="UCM-Captions; default: as the recipe says")
    parser.add_argument(
        "--only", nargs="+", choices=TRAINED, default=TRAINED, metavar="RECIPE", help=str(TRAINED)
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args(arguments)
    train_missing(options.output, recipes=options.only, seeds=options.seeds, data=options.data)
    print(table(read_runs(options.output)))


def train_missing(file: Path, *, recipes: Sequence[str], seeds: Sequence[int], data: str) -> None:
    """Train every recipe with every seed that ``file`` lacks, and record each run there.

    Seed by seed, so that an interrupted series still compares like with like.

    Args:
        file: JSON of the runs; a run whose recipe has changed since counts as missing.
        recipes: names of recipes.
        seeds: of the run.
        data: folder of UCM-Captions; empty for the recipe's own.
    """
    made = {(run["recipe"], run["seed"]) for run in valid_runs(file)}
    missing = [(r, seed) for seed in seeds for r in recipes if (r, seed) not in made]
    for number, (recipe, seed) in enumerate(missing, start=1):
        print(f"[{number}/{len(missing)}] {recipe}, seed {seed} ...", flush=True)
        new = train(recipe, seed=seed, data=data)
        # Read again: another series may have written its own recipes in the meantime.
        save(file, report_on([*valid_runs(file), new]), quiet=True)
        print(f"    mR {new['mR']['none']:.2f}", flush=True)


def valid_runs(file: Path) -> list[Run]:
    """Return the runs of ``file`` whose recipe still says what it said then."""
    current = {recipe: fingerprint(recipe) for recipe in TRAINED}
    return [run for run in read_runs(file) if run["fingerprint"] == current.get(run["recipe"])]


def train(recipe: str, *, seed: int, data: str) -> Run:
    """Run ``training/run.py`` once, in a process of its own, and return what it found.

    Raises:
        subprocess.CalledProcessError: the training failed; its own message stands above.
    """
    path = recipe_path(recipe)
    used = processor_seconds()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "training" / "run.py"), str(path)]
        command += ["--output_dir", folder, "--seed", str(seed)]
        subprocess.run([*command, *(["--data", data] if data else [])], check=True)
        results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    return {
        "recipe": recipe,
        "seed": seed,
        "mR": validation_scores(results["validation"]),
        PROCESSOR: round((processor_seconds() - used) / 60, 2),
        "schedule": schedule(read_recipe(path)),
        "fingerprint": fingerprint(recipe),
        "git_revision": results["git_revision"],
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


def recipe_path(recipe: str) -> Path:
    """File of a recipe's name."""
    return RECIPES / f"{recipe}.yaml"


def schedule(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to know of a recipe's schedule."""
    size = {"image_size": recipe["config"]["image_size"]}
    return {key: recipe[key] for key in SCHEDULE} | size


def fingerprint(recipe: str) -> str:
    """Short digest of what a recipe says, inherited keys included and cosmetic ones left out."""
    settings = read_recipe(recipe_path(recipe))
    decisive = {key: value for key, value in settings.items() if key not in COSMETIC}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


def read_runs(file: Path = FILE) -> list[Run]:
    """Return the runs of a results file; none where it is not there yet."""
    return (read(file) or {"runs": []})["runs"]


def report_on(runs: Sequence[Run]) -> dict[str, Any]:
    """Content of the results file: the rows, and the runs they come from."""
    return {
        "data": "ucm",
        "split": "validation",
        "rows": list(summaries(runs)),
        "runs": sorted(runs, key=lambda run: (TRAINED.index(run["recipe"]), run["seed"])),
    }


def summaries(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Yield each row that has runs: scores by seed, mean, deviation, paired difference, time.

    Differences are over the seeds that row and reference share.
    """
    by_row = {row.name: scores_by_seed(row, runs) for row in ROWS}
    for row in ROWS:
        scores = by_row[row.name]
        if not scores:
            continue
        mine = [run for run in runs if run["recipe"] == row.recipe]
        yield {
            **asdict(row),
            "recipe": recipe_path(row.recipe).relative_to(ROOT).as_posix(),
            "mR_by_seed": {str(seed): score for seed, score in scores.items()},
            "mean": round(statistics.fmean(scores.values()), 3),
            "deviation": deviation(list(scores.values())),
            "difference": paired_difference(scores, by_row.get(row.reference, {})),
            PROCESSOR: round(statistics.median(run[PROCESSOR] for run in mine), 2),
            "schedule": mine[0]["schedule"],
        }


def scores_by_seed(row: Row, runs: Sequence[Run]) -> dict[int, float]:
    """Return mR of a row for each seed it was trained with, in order of seeds."""
    found = {run["seed"]: run["mR"][row.score] for run in runs if run["recipe"] == row.recipe}
    return dict(sorted(found.items()))


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


def table(runs: Sequence[Run]) -> str:
    """Markdown of all rows that have runs."""
    return markdown_table(COLUMNS, map(cells, summaries(runs))) if runs else NO_RUNS


def cells(row: Mapping[str, Any]) -> list[str]:
    """Cells of one row."""
    gain = row["difference"]
    return [
        row["name"],
        with_spread(f"{row['mean']:.2f}", row["deviation"]),
        row["reference"] or NONE,
        with_spread(f"{gain['mean']:+.2f}", gain["standard_error"]) if gain else NONE,
        " / ".join(f"{value:+.2f}" for value in gain["by_seed"].values()) if gain else NONE,
        f"{row[PROCESSOR]:.1f}" if row["score"] == "none" else NONE,
        f"`{Path(row['recipe']).stem}`",
    ]


def with_spread(value: str, spread: float | None) -> str:
    """Join a figure with its spread, where there is one."""
    return value if spread is None else f"{value} ± {spread:.2f}"


if __name__ == "__main__":
    run(main)
