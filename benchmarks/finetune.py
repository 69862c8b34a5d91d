"""Fine-tune the shipped models on a few captioned pictures, and say what it brings and costs.

    python ../shared/cases/split_nwpu.py data/nwpu --layout splits
    python benchmarks/finetune.py --own data/nwpu --data data/ucm_captions

Each run is ``python training/run.py training/recipes/finetune.yaml --data OWN`` as a user starts
it, with so many training pictures, drawn by the run's seed, and all validation pictures. The
finished model is then scored on the test splits of the own pictures and of UCM-Captions, which no
run looks at. A run that the results file holds already is not made again, so no finished model is
scored twice.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from shutil import copyfile
from statistics import fmean, stdev
from typing import Any

import torch
from report import CHECKPOINTS, MODELS, ROOT, flags, read, run, save

from rsctir_hf.data.benchmarks import load_benchmark, load_captioned_folder
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import Rows, evaluate_retrieval

RECIPE = Path("training/recipes/finetune.yaml")
ROWS = "metadata.jsonl"
PICTURES = (30, 100, 276)
SEEDS = (0, 1, 2)
KEY = ("model", "pictures", "seed", "way")


def mean_recall(encoder: Encoder, tables: dict[str, Rows]) -> dict[str, float]:
    """Return the mR of a model on each table, in percent, without a rerank."""
    return {
        name: round(evaluate_retrieval(encoder, rows).metrics["mR"], 2)
        for name, rows in tables.items()
    }


def draw(own: Path, pictures: int, *, seed: int, folder: Path) -> None:
    """Copy own pictures without their test split, and so many of the training pictures."""
    for split in ("train", "validation"):
        rows = (own / split / ROWS).read_text().splitlines()
        if split == "train":
            rows = Random(seed).sample(rows, pictures)
        (folder / split).mkdir(parents=True)
        (folder / split / ROWS).write_text("\n".join(rows))
        for row in rows:
            name = json.loads(row)["file_name"]
            copyfile(own / split / name, folder / split / name)


def tune(model: str, *, data: Path, seed: int, options: list[str], folder: Path) -> float:
    """Start a run as a user does; return how many minutes it took."""
    command = [sys.executable, "training/run.py", str(RECIPE), "--data", str(data)]
    command += ["--initial_model", str(CHECKPOINTS / model), "--seed", str(seed)]
    command += ["--output_dir", str(folder), *options]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True)
    return (time.perf_counter() - start) / 60


def measure(
    options: argparse.Namespace, way: list[str], done: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield each base, and each run that is not among those ``done``."""
    tests: dict[str, Rows] = {
        "own": load_captioned_folder(options.own, "test", verify=False),
        "ucm": load_benchmark("ucm", options.data, split="test", verify=False),
    }
    made = {tuple(each[name] for name in KEY) for each in done}
    for model in options.models:
        if (model, 0, 0, "") not in made:
            encoder = Encoder.from_pretrained(CHECKPOINTS / model)
            yield dict(zip(KEY, (model, 0, 0, ""), strict=True)) | {
                "test": mean_recall(encoder, tests)
            }
    for pictures, seed, model in product(options.pictures, options.seeds, options.models):
        key = (model, pictures, seed, " ".join(way))
        if key in made:
            continue
        with tempfile.TemporaryDirectory() as place:
            data, folder = Path(place) / "own", Path(place) / "tuned"
            draw(options.own, pictures, seed=seed, folder=data)
            minutes = tune(model, data=data, seed=seed, options=way, folder=folder)
            record = read(folder / "results.json")
            encoder = open_tuned(folder, model)
            yield dict(zip(KEY, key, strict=True)) | {
                "minutes": round(minutes, 1),
                "threads": torch.get_num_threads(),
                "git_revision": record["git_revision"],
                "weights": record["weights"],
                "base_share": record.get("base", {}).get("share"),
                "test": mean_recall(encoder, tests),
            }


def open_tuned(folder: Path, model: str) -> Encoder:
    """Open what a run left: a whole model, or an adapter of the base."""
    if any(folder.glob("adapter_config.json")):
        return Encoder.from_pretrained(CHECKPOINTS / model, adapter=folder)
    return Encoder.from_pretrained(folder)


def summary(done: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, of each model, number of pictures and way, mean and spread over seeds."""
    bases = {each["model"]: each["test"] for each in done if not each["pictures"]}
    rows = []
    for model, pictures, way in dict.fromkeys(
        (each["model"], each["pictures"], each["way"]) for each in done if each["pictures"]
    ):
        seeds = [
            each
            for each in done
            if (each["model"], each["pictures"], each["way"]) == (model, pictures, way)
        ]
        row: dict[str, Any] = {"model": model, "pictures": pictures, "way": way}
        row["seeds"] = len(seeds)
        for name in ("own", "ucm"):
            found = [each["test"][name] for each in seeds]
            row[name] = round(fmean(found), 2)
            row[f"{name}_spread"] = round(stdev(found), 2) if len(found) > 1 else None
            row[f"{name}_gain"] = round(fmean(found) - bases[model][name], 2)
        row["minutes"] = round(fmean(each["minutes"] for each in seeds), 1)
        rows.append(row)
    return rows


def main() -> None:
    """Make the runs that are not there yet, and write all of them."""
    parser = flags(__doc__, "finetune.json", models=MODELS)
    parser.add_argument("--own", type=Path, required=True, help="own pictures, with all splits")
    parser.add_argument("--data", type=Path, required=True, help="UCM-Captions")
    parser.add_argument("--pictures", type=int, nargs="+", default=PICTURES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options, way = parser.parse_known_args()  # what is not known goes to the run
    done = read(options.output)["runs"] if options.output.exists() else []
    for each in measure(options, way, done):
        done.append(each)
        save(options.output, {"summary": summary(done), "runs": done})


if __name__ == "__main__":
    run(main)
