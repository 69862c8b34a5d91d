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

import contextlib
import hashlib
import importlib.util
import itertools
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import ROOT, Task, flags, read, run, save, settings, timed
from safetensors.torch import load_file
from tqdm import tqdm
from transformers import set_seed

from rsctir_cli.main import app as rsctir
from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.files.atomic import UNFINISHED
from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import sample_folder
from rsctir_hf.training.resumption import checkpoint_fault, checkpoints_of
from rsctir_hf.vector_index.opening import open_index
from tests.tiny_recipes import TINY, TINY_CONFIG

KILLS = 50
SEED = 0
TOLERANCE = 1e-5
TRAINED, HELD_OUT, PICTURES, OLDER = 9, 4, 48, 12  # pictures of each
TRAINING = TINY | {
    "num_train_epochs": "4",
    "disable_tqdm": "true",
    "resume_from_checkpoint": "true",
    "config": TINY_CONFIG["cmpagl"],
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
    """

    run: Callable[[Path], None]
    state: Callable[[Path], Any]
    older: Callable[[Path], None]


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, look, go on, print and write."""
    parser = flags(__doc__, "faults.json")
    parser.add_argument("--kills", type=int, default=KILLS, help="of each kind of work")
    parser.add_argument("--seed", type=int, default=SEED)
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
        "settings": settings(),
    }
    save(options.output, found)
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
        "training": Work(lambda folder: train(data, folder), trained_state, lambda folder: None),
        "embedding": Work(embed, embedded_state, partial(embed, count=OLDER)),
        "indexing": Work(index, indexed_state, partial(index, count=OLDER)),
        "cards": Work(
            partial(write_cards, results=newer), card_state, partial(write_cards, results=older)
        ),
    }


def kill_at_random(work: Work, place: Path, *, kills: int, title: str) -> Tally:
    """Kill one kind of work ``kills`` times, each time in a folder as an earlier run left it."""
    before, whole = place / "before", place / "whole"
    for folder in (before, whole):
        folder.mkdir(parents=True)
        in_child(partial(work.older, folder))
    older = work.state(before)
    seconds, events = timed(lambda: count_events(partial(work.run, whole)))
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
            if not same(work.state(folder), newer):
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
        if found is None or same(found, old):
            tally.left_older += 1
        elif same(found, new):
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
    """Return weights and curves of the finished model; empty before there is one.

    Of texts only whether they are there: they name the folder they were written in.
    """
    weights = folder / "model.safetensors"
    found: dict[str, Any] = {}
    if weights.is_file():
        found["weights"] = {name: each.float().numpy() for name, each in load_file(weights).items()}
    for name in ("config.json", "recipe.yaml", "README.md", "tokenizer.json"):
        if (folder / name).is_file():
            found[name] = (folder / name).stat().st_size > 0
    log = (read(folder / "results.json") or {"log": []})["log"]
    for key in ("loss", "eval_mR"):
        found[key] = np.array([(line["step"], line[key]) for line in log if key in line])
    return found


def same(left: Any, right: Any) -> bool:  # noqa: ANN401
    """Compare two states: numbers to ``TOLERANCE``, all else to the letter."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return all(same(one, other) for one, other in zip(left, right, strict=True))
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.shape == right.shape and np.allclose(left, right, rtol=0, atol=TOLERANCE)
    return left == right


def embedded_state(folder: Path) -> tuple[list[str], np.ndarray] | None:
    """Return the embeddings on record, by picture."""
    if not (folder / "out" / "embeddings.json").is_file():
        return None
    return by_name({row["id"]: row["embedding"] for row in load_embeddings(folder / "out")})


def indexed_state(folder: Path) -> tuple[list[str], np.ndarray] | None:
    """Return what the index loads to, by picture."""
    if not (folder / "out" / "index.json").is_file():
        return None
    index = open_index(folder / "out", must_exist=True)
    ids = index.ids()
    names = (str(entry.metadata["path"]) for entry in index.entries_of(ids))
    return by_name(dict(zip(names, index.vectors_of(ids).tolist(), strict=True)))


def by_name(vectors: dict[str, list[float]]) -> tuple[list[str], np.ndarray]:
    """Return names in order and the vectors of each."""
    names = sorted(vectors)
    return names, np.array([vectors[name] for name in names])


def card_state(folder: Path) -> dict[str, str]:
    """Return the hash of each file of the card."""
    files = (path for path in folder.rglob("*") if path.is_file() and UNFINISHED not in path.name)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("results.json", "config.json")  # what the card is made from
    }


def fork(work: Task, on_change: Task | None = None) -> BaseProcess:
    """Start work in a child that has all modules already; it tells of each change to a file."""

    def watch(event: str, details: tuple[Any, ...]) -> None:
        if on_change is not None and changes_files(event, details):
            on_change()

    def quietly() -> None:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        sys.addaudithook(watch)
        work()

    child = multiprocessing.get_context("fork").Process(target=quietly)
    child.start()
    return child


def in_child(work: Task, on_change: Task | None = None) -> None:
    """Do work to its end in a child.

    Raises:
        RuntimeError: it failed.
    """
    child = fork(work, on_change)
    child.join()
    if child.exitcode:
        raise RuntimeError(f"the command ended with {child.exitcode}")


def kill_after(work: Task, seconds: float) -> bool:
    """Kill work after a time; whether it was still at work."""
    child = fork(work)
    child.join(seconds)
    if child.is_alive():
        os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    return child.exitcode == -signal.SIGKILL


def kill_at_event(work: Task, number: int) -> bool:
    """Kill work just before its ``number``-th change to a file; whether there was one."""
    left = iter(range(number, 0, -1))

    def change() -> None:
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    child = fork(work, change)
    child.join()
    return child.exitcode == -signal.SIGKILL


def count_events(work: Task) -> int:
    """Do work to its end in a child, and count its changes to files."""
    seen = multiprocessing.get_context("fork").Value("i", 0)

    def change() -> None:
        seen.value += 1

    in_child(work, change)
    return seen.value


def changes_files(event: str, details: tuple[Any, ...]) -> bool:
    """Whether an audit event is a change to a file of ours, so not to a device or a pipe."""
    if event not in EVENTS:
        return False
    path, mode = str(details[0]), details[1] if event == "open" else "w"
    written = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return written and not path.startswith(("/dev", "/proc")) and not path.isdigit()


if __name__ == "__main__":
    run(main)
