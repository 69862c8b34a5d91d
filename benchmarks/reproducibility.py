"""Whether the same seed gives the same weights, to the bit, and what threads change.

    python benchmarks/reproducibility.py
    python benchmarks/reproducibility.py --cuda

Trains each model a few steps from its shipped recipe, at the recipe's own size, on drawn pictures
that are made here, each time in a process of its own with hash seeds of its own: twice alike, once
with another seed, once on two threads instead of one, once with two workers of the loader. Compares
the SHA-256 of the weights files, the weights and the logged losses. The same for vectors: a gallery
embedded by two processes, on two threads, and in batches of another size.

Takes about ten minutes on two cores and writes ``results/reproducibility.json``; ends with an error
if the same seed gave other weights or another seed the same ones.

With ``--cuda`` the same trainings run on a GPU, from random weights, so that no package of weights
has to be there: each with and without ``full_determinism`` of the training arguments, and no
vectors. Writes ``results/reproducibility_cuda.json``.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults import write_imagefolder
from PIL import Image
from report import CHECKPOINTS, MODELS, RESULTS, ROOT, flags, run, save, settings
from safetensors.numpy import load_file
from tqdm import tqdm

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import sample_folder

RECIPES = ROOT / "training" / "recipes"
STEPS = 4
SPLITS = {"train": 48, "validation": 8, "test": 8}  # pictures of each
CLASSES = ("aircraft", "oiltank", "overpass", "playground")
FLAGS = {
    "max_steps": str(STEPS),
    "logging_steps": "1",
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "eval_steps": str(STEPS),
    "save_steps": str(STEPS),
    "frozen_epochs": "{}",  # all weights move
    "report_to": "none",
    "use_cpu": "true",
    "disable_tqdm": "true",
    "dataloader_num_workers": "0",
}
RETRIEVAL = {"per_device_train_batch_size": "8", "complete": "false"}
DETECTION = {"drawn_scenes": "0", "drawn_others": "0", "repeats": "1"}


Case = tuple[int, dict[str, str]]  # threads, and flags that differ


@dataclass(frozen=True)
class Trained:
    """A model that is trained here.

    Attributes:
        script: of ``training/``.
        recipe: below ``training/recipes``.
        data: folder of ``write_data`` that it is trained on.
        flags: beside ``FLAGS``.
    """

    script: str
    recipe: str
    data: str
    flags: Mapping[str, str]


TRAININGS = {
    "CMPAGL-style": Trained("run.py", "cmpagl_ucm.yaml", "captions", RETRIEVAL),
    "GaLR": Trained("run.py", "galr_ucm.yaml", "captions", RETRIEVAL),
    "detector": Trained("detector.py", "detector/rsod.yaml", "boxes", DETECTION),
}
RANDOM = {  # starts of each script
    "run.py": {"image_weights": "none", "text_weights": "none"},
    "detector.py": {"image_weights": "none"},
}
DETERMINISTIC = {"full_determinism": "true"}
AGAIN, OTHER_SEED = "again", "another seed"
#: Runs that are compared with the first one, which has one thread and no other flags.
CASES: dict[str, Case] = {
    AGAIN: (1, {}),
    OTHER_SEED: (1, {"seed": "1"}),
    "two threads": (2, {}),
    "two workers": (1, {"dataloader_num_workers": "2"}),
}
CASES_ON_CUDA = {case: CASES[case] for case in (AGAIN, OTHER_SEED)}
PICTURES = 24


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, embed, compare, print and write."""
    parser = flags(__doc__, "reproducibility.json")
    parser.add_argument("--cuda", action="store_true", help="train on a GPU, from random weights")
    options = parser.parse_args(arguments)
    output = RESULTS / "reproducibility_cuda.json" if options.cuda else options.output
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_data(place)
        models, cases = (on_cuda(), CASES_ON_CUDA) if options.cuda else (TRAININGS, CASES)
        training = {
            name: compare(model, place / name, data=place, cases=cases)
            for name, model in models.items()
        }
        embedded = () if options.cuda else MODELS
        embedding = {name: compare_embeddings(name, place) for name in embedded}
    found = {"steps": STEPS, "training": training, "embedding": embedding}
    of_machine = {"machine": torch.cuda.get_device_name()} if options.cuda else {}
    save(output, found | {"settings": settings(**of_machine)})
    faults = [name for name, report in training.items() if not as_promised(report)]
    if faults:
        raise SystemExit(f"Not reproducible: {', '.join(faults)}; see {output}.")


def on_cuda() -> dict[str, Trained]:
    """Return the same trainings on a GPU, each as it is and with deterministic algorithms."""
    models = {
        name: replace(model, flags={**model.flags, "use_cpu": "false", **RANDOM[model.script]})
        for name, model in TRAININGS.items()
    }
    return models | {
        f"{name}, full_determinism": replace(model, flags={**model.flags, **DETERMINISTIC})
        for name, model in models.items()
    }


def as_promised(report: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the same seed gave the same file, and another seed another one."""
    return report[AGAIN]["same_file"] and not report[OTHER_SEED]["same_file"]


def compare(
    model: Trained, place: Path, *, data: Path, cases: Mapping[str, Case]
) -> dict[str, dict[str, Any]]:
    """Train a model once, and once for each case; return how each case differs from the first."""
    first = train(model, place / "first", data=data, case=(1, {}))
    report = {}
    for name, case in tqdm(cases.items(), desc=model.recipe, unit="run"):
        again = train(model, place / name.replace(" ", "-"), data=data, case=case)
        report[name] = differences(first, again)
        tqdm.write(f"{model.recipe}, {name}: {report[name]}")
        shutil.rmtree(again)
    return report


def train(model: Trained, folder: Path, *, data: Path, case: Case) -> Path:
    """Train in a process of its own; return the folder of the finished model.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    threads, changed = case
    flags = {**FLAGS, **model.flags, **changed}
    flags |= {"data": str(data / model.data), "output_dir": str(folder)}
    if flags["dataloader_num_workers"] == "0":
        flags["dataloader_persistent_workers"] = "false"
    command = [str(ROOT / "training" / model.script), str(RECIPES / model.recipe)]
    command += [part for key, value in flags.items() for part in (f"--{key}", value)]
    python(command, threads=threads)
    return folder


def python(arguments: Sequence[str], *, threads: int) -> None:
    """Run Python with a number of threads and a hash seed that no other run has."""
    environ = os.environ | {"PYTHONHASHSEED": str(random.SystemRandom().randrange(1, 2**32))}
    environ |= {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:2])} failed:\n{done.stderr[-2000:]}")


def differences(first: Path, second: Path) -> dict[str, Any]:
    """Compare two finished models: file, weights, losses."""
    files = [folder / "model.safetensors" for folder in (first, second)]
    weights = [load_file(file) for file in files]
    losses = [losses_of(folder) for folder in (first, second)]
    return {
        "same_file": len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1,
        "largest_weight_difference": max(
            float(np.abs(each.astype(np.float64) - weights[1][name]).max(initial=0))
            for name, each in weights[0].items()
        ),
        "largest_loss_difference": float(np.abs(losses[0] - losses[1]).max()),
    }


def losses_of(folder: Path) -> np.ndarray:
    """Return the losses (steps,) of a run."""
    log = json.loads((folder / "results.json").read_text(encoding="utf-8"))["log"]
    return np.array([line["loss"] for line in log if "loss" in line])


def compare_embeddings(name: str, place: Path) -> dict[str, dict[str, Any]]:
    """Embed a few pictures with a shipped model in several ways."""
    pictures = place / "few"
    if not pictures.exists():
        pictures.mkdir()
        for picture in list_images(sample_folder())[:PICTURES]:
            shutil.copy(picture, pictures)
    first = embed(name, pictures, place / f"{name}-first")
    ways = {
        AGAIN: embed(name, pictures, place / f"{name}-again"),
        "two threads": embed(name, pictures, place / f"{name}-threads", threads=2),
        "one by one": embed(name, pictures, place / f"{name}-alone", batch=1),
    }
    return {
        way: {
            "same_numbers": bool((first == vectors).all()),
            "largest_difference": float(np.abs(first - vectors).max()),
        }
        for way, vectors in ways.items()
    }


def embed(
    name: str, pictures: Path, output: Path, *, threads: int = 1, batch: int = 8
) -> np.ndarray:
    """Return the vectors (n, D) of pictures by ``rsctir embed``, in the order of their names."""
    command = ["-m", "rsctir_hf", "embed", "--model", str(CHECKPOINTS / name)]
    command += ["--images", str(pictures), "--output", str(output), "--batch-size", str(batch)]
    python([*command, "--workers", "0"], threads=threads)
    rows = sorted(load_embeddings(output), key=lambda row: row["id"])
    return np.array([row["embedding"] for row in rows], np.float32)


def write_data(place: Path) -> None:
    """Write drawn pictures with a sentence each, and squares with their boxes, both in splits."""
    pictures = iter(list_images(sample_folder()))
    for split, count in SPLITS.items():
        write_imagefolder(place / "captions" / split, list(islice(pictures, count)))
        if split != "validation":  # the detector holds its own out
            write_squares(place / "boxes" / split, count)
    (place / "boxes" / "classes.json").write_text(json.dumps(CLASSES), encoding="utf-8")


def write_squares(folder: Path, count: int) -> None:
    """Write noise with one bright square a picture; its brightness is its class."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    lines = []
    for number in range(count):
        kind, side = number % len(CLASSES), 64
        pixels = rng.integers(20, 60, (448, 448, 3), np.uint8)
        left, top = (int(each) for each in rng.integers(0, 448 - side, 2))
        pixels[top : top + side, left : left + side] = 100 + 40 * kind
        Image.fromarray(pixels).save(folder / f"{number}.png")
        objects = {"bbox": [[left, top, side, side]], "category": [kind]}
        lines.append(json.dumps({"file_name": f"{number}.png", "objects": objects}))
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    run(main)
