"""What is left when training, embedding, indexing or card writing is killed at any moment.

    OMP_NUM_THREADS=1 python benchmarks/faults.py

Each kind of work is killed (SIGKILL) in a process forked from this one, until it was at work
``--kills`` times: half of them at a moment drawn over the length of an undisturbed run, half at
the n-th time a file is opened for writing, moved or removed, with n drawn too. After each kill
- every file of ours must be the older or the newer one (hashes; for an index and embeddings, which
  name their files anew, what is loaded from them), and
- the same command, run again, must end with what the undisturbed run made. For training that is
  the loss curve and the weights, to 1e-5, from the last checkpoint that is whole.

On drawn pictures, with tiny models of random weights. Takes about ten minutes on two cores and
writes ``results/faults.json``; ends with an error if anything was found.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import itertools
import json
import logging
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm import tqdm
from transformers import set_seed

from rsctir_cli.main import app as rsctir
from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.evaluation import library_versions
from rsctir_hf.files.atomic import UNFINISHED
from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import sample_folder
from rsctir_hf.training.resumption import checkpoint_fault, checkpoints_of
from rsctir_hf.vector_index.opening import open_index

ROOT = Path(__file__).resolve().parents[1]
KILLS = 50
SEED = 0
TOLERANCE = 1e-5
TRAINED, HELD_OUT, PICTURES, OLDER = 9, 4, 48, 12  # pictures of each
TRAINING = {
    "image_weights": "none",
    "text_weights": "none",
    "text_layers": "0",
    "max_tokens": "12",
    "num_train_epochs": "4",
    "per_device_train_batch_size": "3",
    "per_device_eval_batch_size": "4",
    "frozen_epochs": "{}",
    "lr_factors": "{}",
    "report_to": "none",
    "use_cpu": "true",
    "disable_tqdm": "true",
    "dataloader_num_workers": "0",
    "dataloader_persistent_workers": "false",
    "complete": "false",
    "resume_from_checkpoint": "true",
    "config": "{image_size: 32, embed_dim: 8, depths: [1, 1], num_heads: [2, 2], window_size: 4, "
    "projection_dim: 8, fusion_layers: 1, text_config: {vocab_size: 30522, hidden_size: 8, "
    "num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}}",
}
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")


@dataclass(frozen=True)
class Work:
    """One kind of work that is killed.

    Attributes:
        run: does all of it in the folder it is given.
        state: what the folder holds, in a form that is equal for equal content; None where it
            holds nothing yet. Raises where something of ours cannot be read.
        older: fills the folder with what an earlier run left.
        equal: whether two states are the same, up to rounding.
    """

    run: Callable[[Path], None]
    state: Callable[[Path], Any]
    older: Callable[[Path], None]
    equal: Callable[[Any, Any], bool] = lambda left, right: left == right


@dataclass
class Tally:
    """What the kills of one kind of work left."""

    kills: int = 0
    ended_before: int = 0
    left_older: int = 0
    left_newer: int = 0
    broken_checkpoints_passed_over: int = 0
    resumed_equal: int = 0
    findings: list[str] = field(default_factory=list)


def main(arguments: Sequence[str]) -> None:
    """Kill, look, go on, print and write."""
    parser = argparse.ArgumentParser(description="Kill our work at any moment.")
    parser.add_argument("--kills", type=int, default=KILLS, help="of each kind of work")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "faults.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a fork must not meet the threads of this process
    logging.disable(logging.CRITICAL)
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, work in works(place).items():
            random.seed(f"{options.seed} {name}")
            tallies[name] = kill_at_random(work, place / name, kills=options.kills, title=name)
    found = {
        "kills_of_each": options.kills,
        "seed": options.seed,
        "tolerance": TOLERANCE,
        "work": {name: vars(tally) for name, tally in tallies.items()},
        "settings": {"machine": platform.machine(), "versions": library_versions()},
    }
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, tally in tallies.items():
        print(
            f"{name}: {tally.kills} kills, older {tally.left_older}, newer {tally.left_newer}, "
            f"broken checkpoints {tally.broken_checkpoints_passed_over}, gone on to the same end "
            f"{tally.resumed_equal}, findings {len(tally.findings)}"
        )
    if any(tally.findings for tally in tallies.values()):
        raise SystemExit("\n".join(each for tally in tallies.values() for each in tally.findings))


def works(place: Path) -> dict[str, Work]:
    """Return the four kinds of work on inputs made below ``place``."""
    pictures = list_images(sample_folder())
    gallery, data = place / "gallery", place / "data"
    write_imagefolder(data / "train", pictures[:TRAINED])
    held = {"validation": TRAINED, "test": TRAINED + HELD_OUT}
    for split, first in held.items():
        write_imagefolder(data / split, pictures[first : first + HELD_OUT])
    model = place / "model"
    in_child(lambda: train(data, model))
    record = json.loads((model / "results.json").read_text(encoding="utf-8"))
    older, newer = ({**record, "git_revision": name} for name in ("older", "newer"))

    def write_cards(folder: Path, results: dict[str, Any]) -> None:
        shutil.copy(model / "config.json", folder)
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
        command("card", "--model", folder, "--name", f"someone/{results['git_revision']}")

    def embed(folder: Path, count: int = PICTURES) -> None:
        fill(gallery, pictures[:count])
        command("embed", "--model", model, "--images", gallery, "--output", folder / "out",
                "--batch-size", 4, "--workers", 0)  # fmt: skip

    def index(folder: Path, count: int = PICTURES) -> None:
        fill(gallery, pictures[:count])
        command("index", "--model", model, "--images", gallery, "--index", folder / "out")

    return {
        "training": Work(
            run=lambda folder: train(data, folder),
            state=trained_state,
            older=lambda folder: None,
            equal=same_training,
        ),
        "embedding": Work(
            run=embed, state=embedded_state, older=lambda folder: embed(folder, OLDER),
            equal=same_vectors,
        ),
        "indexing": Work(
            run=index, state=indexed_state, older=lambda folder: index(folder, OLDER),
            equal=same_vectors,
        ),
        "cards": Work(
            run=lambda folder: write_cards(folder, newer),
            state=card_state,
            older=lambda folder: write_cards(folder, older),
        ),
    }  # fmt: skip


def kill_at_random(work: Work, place: Path, *, kills: int, title: str) -> Tally:
    """Kill one kind of work ``kills`` times, each time in a folder as an earlier run left it."""
    before, whole = place / "before", place / "whole"
    for folder in (before, whole):
        folder.mkdir(parents=True)
        in_child(partial(work.older, folder))
    older = work.state(before)
    started = time.monotonic()
    events = count_events(lambda: work.run(whole))
    seconds = time.monotonic() - started
    newer = work.state(whole)
    tally = Tally()
    progress = tqdm(total=kills, desc=title, unit="kill")
    for number in itertools.count():
        if tally.kills == kills:
            break
        folder = place / "killed"
        shutil.copytree(before, folder)
        if number % 2:
            moment = random.uniform(0, seconds)
            killed = kill_after(partial(work.run, folder), moment)
            when = f"{title}, kill {number}, after {moment:.2f} s"
        else:
            event = random.randint(1, events)
            killed = kill_at_event(partial(work.run, folder), event)
            when = f"{title}, kill {number}, at event {event}"
        tally.kills += killed
        progress.update(killed)
        tally.ended_before += not killed
        with noted(tally, when):
            look(work, folder, older, newer, tally)
            in_child(partial(work.run, folder))
            if not work.equal(work.state(folder), newer):
                raise ValueError("the run that went on ended differently")
            tally.resumed_equal += 1
        shutil.rmtree(folder)
    progress.close()
    return tally


def look(work: Work, folder: Path, older: Any, newer: Any, tally: Tally) -> None:  # noqa: ANN401
    """Check what a kill has left."""
    tally.broken_checkpoints_passed_over += sum(
        checkpoint_fault(each) is not None for each in checkpoints_of(folder)
    )
    left = work.state(folder)
    if isinstance(left, dict) and isinstance(newer, dict):  # file by file
        pairs = [(left[name], (older or {}).get(name), newer.get(name)) for name in left]
    else:
        pairs = [(left, older, newer)]
    for found, old, new in pairs:
        if found is None or work.equal(found, old):
            tally.left_older += 1
        elif work.equal(found, new):
            tally.left_newer += 1
        else:
            raise ValueError("a file is neither the older nor the newer one")


@contextlib.contextmanager
def noted(tally: Tally, when: str) -> Iterator[None]:
    """Note whatever goes wrong as a finding."""
    try:
        yield
    except Exception as error:
        tally.findings.append(f"{when}: {type(error).__name__}: {error}")


def train(data: Path, folder: Path) -> None:
    """Run training/run.py's ``main`` on a tiny model; goes on from what is in the folder."""
    spec = importlib.util.spec_from_file_location("training_run", ROOT / "training" / "run.py")
    if spec is None or spec.loader is None:
        raise SystemExit("training/run.py is missing.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    set_seed(0)
    given = {**TRAINING, "data": str(data), "output_dir": str(folder)}
    recipe = str(ROOT / "training" / "recipes" / "cmpagl_ucm.yaml")
    module.main([recipe, *(part for key, value in given.items() for part in (f"--{key}", value))])


def command(*arguments: object) -> None:
    """Run a command of ``rsctir`` in this process."""
    rsctir([str(argument) for argument in arguments], standalone_mode=False)


def write_imagefolder(folder: Path, pictures: Sequence[Path]) -> None:
    """Write drawn pictures and a sentence for each as a split in imagefolder form."""
    folder.mkdir(parents=True)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for number, picture in enumerate(pictures):
            shutil.copy(picture, folder)
            captions = [f"picture {number} of a {picture.stem.split('_')[0]}"]
            line = {"file_name": picture.name, "captions": captions}
            lines.write(json.dumps(line) + "\n")


def fill(folder: Path, pictures: Sequence[Path]) -> None:
    """Make a folder hold just these pictures; those that are there stay as they are."""
    folder.mkdir(exist_ok=True)
    for picture in pictures:
        if not (folder / picture.name).exists():
            shutil.copy2(picture, folder)
    for extra in {path.name for path in folder.iterdir()} - {path.name for path in pictures}:
        (folder / extra).unlink()


def trained_state(folder: Path) -> dict[str, Any]:
    """Return weights and loss curve of the finished model; empty before there is one."""
    weights = folder / "model.safetensors"
    found: dict[str, Any] = {}
    if weights.is_file():
        found["weights"] = {name: each.float().numpy() for name, each in load_file(weights).items()}
    for name in ("config.json", "recipe.yaml", "README.md", "tokenizer.json"):
        if (folder / name).is_file():
            found[name] = (folder / name).read_text(encoding="utf-8")
    if (folder / "results.json").is_file():
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        log = results["log"]
        found["curve"] = [(line["step"], line["loss"]) for line in log if "loss" in line]
        found["scores"] = [(line["step"], line["eval_mR"]) for line in log if "eval_mR" in line]
    return found


def same_training(left: Any, right: Any) -> bool:  # noqa: ANN401
    """Compare weights and curves to ``TOLERANCE``, texts by character."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            same_training(left[name], right[name]) for name in left
        )
    if isinstance(left, np.ndarray | list) and isinstance(right, np.ndarray | list):
        return np.allclose(left, right, rtol=0, atol=TOLERANCE)
    # Texts name the folder they were written in.
    return isinstance(left, str) and isinstance(right, str) and len(left) > 0 and len(right) > 0


def embedded_state(folder: Path) -> list[tuple[str, list[float]]] | None:
    """Return the embeddings on record, by picture."""
    if not (folder / "out" / "embeddings.json").is_file():
        return None
    return sorted((row["id"], row["embedding"]) for row in load_embeddings(folder / "out"))


def indexed_state(folder: Path) -> list[tuple[str, list[float]]] | None:
    """Return what the index loads to, by picture."""
    if not (folder / "out" / "index.json").is_file():
        return None
    index = open_index(folder / "out", must_exist=True)
    ids = index.ids()
    names = (str(entry.metadata["path"]) for entry in index.entries_of(ids))
    return sorted(zip(names, index.vectors_of(ids).tolist(), strict=True))


def same_vectors(left: Any, right: Any) -> bool:  # noqa: ANN401
    """Compare ids, and vectors to ``TOLERANCE``: batches differ, and with them the last digit."""
    if not left or not right:
        return not left and not right
    (ids, vectors), (others, expected) = (tuple(zip(*each, strict=True)) for each in (left, right))
    return ids == others and np.allclose(vectors, expected, rtol=0, atol=TOLERANCE)


def card_state(folder: Path) -> dict[str, str]:
    """Return the hash of each file of the card."""
    files = (path for path in folder.rglob("*") if path.is_file() and UNFINISHED not in path.name)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("results.json", "config.json")  # what the card is made from
    }


def fork(work: Callable[[], None], prepare: Callable[[], None]) -> BaseProcess:
    """Start work in a child that has all modules already."""

    def quietly() -> None:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        prepare()
        work()

    child = multiprocessing.get_context("fork").Process(target=quietly)
    child.start()
    return child


def in_child(work: Callable[[], None]) -> None:
    """Do work to its end in a child.

    Raises:
        RuntimeError: it failed.
    """
    child = fork(work, lambda: None)
    child.join()
    if child.exitcode:
        raise RuntimeError(f"the command ended with {child.exitcode}")


def kill_after(work: Callable[[], None], seconds: float) -> bool:
    """Kill work after a time; whether it was still at work."""
    child = fork(work, lambda: None)
    child.join(seconds)
    if child.is_alive():
        os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    return child.exitcode == -signal.SIGKILL


def kill_at_event(work: Callable[[], None], number: int) -> bool:
    """Kill work just before its ``number``-th change to a file; whether there was one."""

    def prepare() -> None:
        left = iter(range(number, 0, -1))

        def watch(event: str, details: tuple[Any, ...]) -> None:
            if changes_files(event, details) and next(left) == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)

    child = fork(work, prepare)
    child.join()
    return child.exitcode == -signal.SIGKILL


def count_events(work: Callable[[], None]) -> int:
    """Do work to its end in a child, and count its changes to files."""
    seen = multiprocessing.get_context("fork").Value("i", 0)

    def prepare() -> None:
        def watch(event: str, details: tuple[Any, ...]) -> None:
            seen.value += changes_files(event, details)

        sys.addaudithook(watch)

    child = fork(work, prepare)
    child.join()
    if child.exitcode:
        raise RuntimeError(f"an undisturbed run ended with {child.exitcode}")
    return seen.value


def changes_files(event: str, details: tuple[Any, ...]) -> bool:
    """Whether an audit event is a change to a file of ours, so not to a device or a pipe."""
    if event not in EVENTS:
        return False
    path, mode = str(details[0]), details[1] if event == "open" else "w"
    written = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return written and not path.startswith(("/dev", "/proc")) and not path.isdigit()


if __name__ == "__main__":
    main(sys.argv[1:])
