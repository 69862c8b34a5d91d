"""What may be done with a model that has been trained: commands that work as they stand."""

import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.data.collator import undecoded, without_decoding
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.hub.space import SAMPLE_GALLERY
from rsctir_hf.training.adaptation_args import PictureArguments
from rsctir_hf.training.before_after import Compared, verdict
from rsctir_hf.training.data_args import DataArguments
from rsctir_hf.training.sets import TEST, VALIDATION, TrainingData

logger = logging.getLogger(__name__)

#: Below the folder of a run: the pictures that it held out; no push takes what begins with "_".
HELD_OUT = "_held_out"
APP = Path(__file__).parents[2] / "app.py"  # who trains has a checkout


def say_goodbye(
    folder: Path,
    arguments: DataArguments | PictureArguments,
    data: TrainingData,
    *,
    compared: Sequence[Compared],
    adapts: str | None = None,
) -> None:
    """Log where the model lies, what may be done with it, and last whether it is any better.

    What the run held out by itself is written beside the model, so that it can be scored again.
    """
    name, rows = scored_set(data)
    if was_held_out(name, arguments, data):
        keep_rows(rows, folder / HELD_OUT)
    logger.info("The model lies in %s. Next, for example:", folder)
    for step in next_steps(folder, arguments, data, adapts=adapts):
        logger.info("  %s", step)
    if compared:
        better, said = verdict(compared)
        logger.log(logging.INFO if better else logging.WARNING, said)


def say_what_is_unknown(name: str) -> None:
    """Log that nobody knows whether an adaptation without captions has helped."""
    logger.warning(
        "Whether it finds more on %s than before cannot be told without captions. Write some for a "
        "hundred of its pictures and compare both models: rsctir evaluate --data THEM",
        name,
    )


def next_steps(
    folder: Path,
    arguments: DataArguments | PictureArguments,
    data: TrainingData,
    *,
    adapts: str | None = None,
) -> list[str]:
    """Return commands to evaluate, index, search, show and push a finished model.

    Args:
        folder: of the model, or of an adapter.
        arguments: where the pictures and captions of the run came from.
        data: what was read there.
        adapts: of an adapter: the model that it was trained in.
    """
    model = ["--model", adapts, "--adapter", folder] if adapts else ["--model", folder]
    gallery, index = picture_folder(data), f"{folder}_index"
    repository = (
        re.sub(r"[^\w.-]+", "-", folder.resolve().name, flags=re.ASCII).strip("-.") or "model"
    )
    name, rows = scored_set(data)
    query = without_decoding(rows)[0]["captions"][0]
    if isinstance(arguments, PictureArguments):  # nothing there says what is right
        scored = ["--data", SAMPLE_GALLERY]
    elif was_held_out(name, arguments, data):  # a part of a split, which has no name
        scored = ["--data", str(folder / HELD_OUT)]
    else:
        scored = _place_of(name, arguments, split=TEST if data.test else VALIDATION)
    steps: list[list[Any]] = [
        ["rsctir", "evaluate", *model, *scored],
        ["rsctir", "index", *model, "--images", gallery, "--output", index],
        ["rsctir", "search", "--index", index, f"--text={query}"],
        ["python", APP.name if Path(APP.name).is_file() else APP, "--gallery", index],
        ["rsctir", "push", "--model", folder, "--repo", f"OWNER/{repository}"],
    ]
    return [shlex.join(map(str, step)) for step in steps]


def scored_set(data: TrainingData) -> tuple[str, Any]:
    """Return name and rows of the set that is scored next: test, where there is one."""
    return next(iter((data.test or data.validation).items()))


def was_held_out(
    name: str, arguments: DataArguments | PictureArguments, data: TrainingData
) -> bool:
    """Tell whether the rows of ``scored_set`` are a share of train, held out by the run."""
    if data.test or isinstance(arguments, PictureArguments):
        return False
    if name in data.own:
        return bool(data.own[name].held_out)
    return name == arguments.benchmark and bool(arguments.validation_share)


def keep_rows(rows: Any, place: Path) -> None:  # noqa: ANN401 - a table
    """Write captioned rows into a folder of their own: names of files, else the pictures too."""
    shutil.rmtree(place, ignore_errors=True)
    paths = [*_paths(rows)]
    if not all(path and os.path.isfile(path) for path in paths):
        rows.save_to_disk(place)
        return
    lines = (
        json.dumps({"image": os.path.abspath(str(path)), "captions": captions}) + "\n"
        for path, captions in zip(paths, rows["captions"], strict=True)
    )
    write_atomically(place / "held_out.jsonl", "".join(lines))


def _place_of(name: str, arguments: DataArguments, *, split: str) -> list[str]:
    """Return options that read a split of a set of the run."""
    if name not in arguments.extra:
        return ["--data", arguments.data, "--split", split, *_how_to_read(arguments)]
    known = ["--benchmark", name] if name in BENCHMARKS else []
    return ["--data", arguments.extra[name], "--split", split, *known]


def _how_to_read(arguments: DataArguments) -> Iterator[str]:
    for name in ("benchmark", "images", "image_column", "caption_column", "class_templates"):
        if value := getattr(arguments, name, None):
            yield from (f"--{name.replace('_', '-')}", value)
    if arguments.allow_missing:
        yield "--allow-missing"


def picture_folder(data: TrainingData) -> str:
    """Return the folder that all pictures of the first set lie below; else the drawn gallery."""
    paths = [*_paths(next(iter(data.train.values())))]
    files = [os.path.abspath(path) for path in paths if path and os.path.isfile(path)]
    if not files or len(files) < len(paths):
        return SAMPLE_GALLERY
    place = Path(os.path.commonpath([os.path.dirname(file) for file in files]))
    return SAMPLE_GALLERY if place == Path(place.anchor) else as_seen_from_here(place)


def as_seen_from_here(place: Path) -> str:
    """Return a path as short as it may be typed."""
    return os.path.relpath(place) if place.is_relative_to(Path.cwd()) else str(place)


def _paths(rows: Any) -> Iterable[str | None]:  # noqa: ANN401 - a table or a stream
    cells: Iterable[Any] = undecoded(rows)["image"] if hasattr(rows, "column_names") else [None]
    for cell in cells:
        yield cell["path"] if isinstance(cell, Mapping) and not cell.get("bytes") else None
