"""Adapt a model that knows UCM-Captions alone to RSICD's pictures, without their sentences.

    python benchmarks/adaptation.py --data data --starts outputs/galr_ucm_small_*

Each start is a model of ``training/recipes/adaptation/galr_ucm_small.yaml``, of one seed. Each run
is ``python training/run.py training/recipes/adapt.yaml --data RSICD/train``, as a user starts it;
the captions that lie beside those pictures are not read. Scored is validation, of RSICD (AID
subset) and of UCM-Captions, before and after. Settings were chosen on the first start, by training
pictures of RSICD with their sentences. A run that the results file holds is not made again.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from report import ROOT, flags, read, run, save

from rsctir_hf.data.benchmarks import load_benchmark
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import Rows, evaluate_retrieval

RECIPE = Path("training/recipes/adapt.yaml")
SETS = {"rsicd": "rsicd_aid", "ucm": "ucm_captions"}


def scores(model: Path, tables: dict[str, Rows]) -> dict[str, float]:
    """Return the validation mR of a model on each set, in percent, without a rerank."""
    encoder = Encoder.from_pretrained(model)
    return {
        name: round(evaluate_retrieval(encoder, rows).metrics["mR"], 2)
        for name, rows in tables.items()
    }


def adapt(start: Path, pictures: Path, *, seed: int, options: list[str], folder: Path) -> float:
    """Start a run as a user does; return how many minutes it took."""
    command = [sys.executable, "training/run.py", str(RECIPE), "--data", str(pictures)]
    command += ["--initial_model", str(start), "--seed", str(seed), "--output_dir", str(folder)]
    begun = time.perf_counter()
    subprocess.run([*command, *options], cwd=ROOT, check=True)
    return (time.perf_counter() - begun) / 60


def measure(
    options: argparse.Namespace, way: list[str], done: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield each run that is not among those ``done``."""
    tables: dict[str, Rows] = {
        name: load_benchmark(
            name, options.data / folder, split="validation", complete=False, verify=False
        )
        for name, folder in SETS.items()
    }
    made = {(each["start"], each["way"]) for each in done}
    for start in options.starts:
        record = read(start / "results.json")
        if (record["weights"], " ".join(way)) in made:
            continue
        seed = record["validation"][0]["seed"]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "adapted"
            pictures = options.data / SETS["rsicd"] / "train"
            minutes = adapt(start.resolve(), pictures, seed=seed, options=way, folder=folder)
            adapted = read(folder / "results.json")
            yield {
                "start": record["weights"],
                "way": " ".join(way),
                "seed": seed,
                "before": scores(start, tables),
                "after": scores(folder, tables),
                "minutes": round(minutes, 1),
                "threads": torch.get_num_threads(),
                "pictures": sum(adapted["training_sets"].values()),
                "weights": adapted["weights"],
                "git_revision": adapted["git_revision"],
            }


def summary(done: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, of each way, mean before, mean after and the gains over starts."""
    rows = []
    for way in dict.fromkeys(each["way"] for each in done):
        runs = [each for each in done if each["way"] == way]
        row: dict[str, Any] = {"way": way, "starts": len(runs)}
        for name in SETS:
            gains = [each["after"][name] - each["before"][name] for each in runs]
            for when in ("before", "after"):
                row[f"{name}_{when}"] = round(fmean(each[when][name] for each in runs), 2)
            row[f"{name}_gain"] = round(fmean(gains), 2)
            row[f"{name}_least_gain"] = round(min(gains), 2)
            row[f"{name}_spread"] = round(stdev(gains), 2) if len(gains) > 1 else None
        row["minutes"] = round(fmean(each["minutes"] for each in runs), 1)
        rows.append(row)
    return rows


def main() -> None:
    """Make the runs that are not there yet, and write all of them."""
    parser = flags(__doc__, "adaptation.json")
    parser.add_argument("--data", type=Path, required=True, help="folder with both sets")
    parser.add_argument("--starts", type=Path, nargs="+", required=True, help="models of UCM alone")
    options, way = parser.parse_known_args()  # what is not known goes to the run
    done = read(options.output)["runs"] if options.output.exists() else []
    for each in measure(options, way, done):
        done.append(each)
        save(options.output, {"summary": summary(done), "runs": done})


if __name__ == "__main__":
    run(main)
