"""Is what was asked for in one of the first five boxes that a scene answers with?

    python benchmarks/scene_search.py --data data/ucm_captions

Two scenes are built in a temporary folder, each searched by both shipped models with the defaults
of ``rsctir scene``:

- *photos*: 6,000 x 6,000 px at 0.3 m of UCM-Captions test and validation, 420 pictures in random
  order on a grid of 256 px, the other 109 cells nodata. Windows are of 224 px every 168 px, so
  they do not fit the grid: most show parts of two or four pictures. One sentence for each of the
  21 classes. A hit is a box of the first five, after merging, whose area belongs for more than
  half to pictures of the class; *centre* in its place asks for the box's middle.
- *drawn*: 10 x 8 scenes of our own code, four of each type, with seeds that no training used. One
  sentence for each kind of object. A hit is a box of the first five that holds an object's middle.

The sentences (``scene_queries.yaml``) were written before any score was seen, and nothing is chosen
on these scenes. Of the photos the models know neither (validation has chosen the checkpoints'
epochs and thresholds). *Chance* is the expected share of hits of five windows drawn at random.
Takes five minutes on one thread; writes ``results/scene_search.json``.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import yaml
from report import CHECKPOINTS, MODELS, flags, run, save, settings
from scene_mosaics import Mosaic, Thing, drawn_mosaic, photo_mosaic

from drawn_scenes import CATEGORIES
from rsctir_hf.geo.tiling import Window
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.scene import SceneAnswer, SceneIndex
from rsctir_hf.search.retriever import Retriever

FIRST = 5  # hits that are looked at
TARGET = 80.0
SIDE, SEED = 6000, 0
DRAWN_SEED, DRAWN_EACH, DRAWN_ACROSS = 500, 4, 10
RERANKS = ("none", "smr")
QUERIES = yaml.safe_load(Path(__file__).with_name("scene_queries.yaml").read_text("utf-8"))

#: Whether a window shows a thing of the kind asked for.
Shows = Callable[[Window, Sequence[Thing]], bool]


@dataclass(frozen=True)
class Task:
    """A scene, what is asked of it, and the rules by which an answer is right; the first counts."""

    mosaic: Mosaic
    queries: Mapping[str, str]
    rules: Mapping[str, Shows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the scenes, search them, print and write."""
    parser = flags(__doc__, "scene_search.json", models=MODELS)
    parser.add_argument("--data", required=True, help="folder of UCM-Captions")
    parser.add_argument("--side", type=int, default=SIDE, help="of the photo scene in pixels")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tasks = build(Path(folder), options.data, side=options.side)
        rows = [row for model in options.models for row in measure(CHECKPOINTS / model, tasks)]
    content = {
        "measured": f"share of queries (%) with the asked thing in one of the first {FIRST} boxes",
        "target": TARGET,
        "rows": rows,
        "settings": settings(),
    }
    save(options.output, content)


def build(folder: Path, data: str, *, side: int = SIDE) -> dict[str, Task]:
    """Build both scenes; a smaller ``side`` takes as many pictures as fit, for a try."""
    splits = datasets.load_dataset("imagefolder", data_dir=data)
    pictures = [
        (row["image"], row["class"]) for split in ("test", "validation") for row in splits[split]
    ]
    most = (side // 256) ** 2
    if len(pictures) > most:
        pictures = pictures[:: math.ceil(len(pictures) / most)]
    photos = photo_mosaic(folder / "photos.tif", pictures, side=side, seed=SEED)
    shape = {"across": DRAWN_ACROSS, "first_seed": DRAWN_SEED, "each": DRAWN_EACH}
    drawn = drawn_mosaic(folder / "drawn.tif", CATEGORIES, **shape)
    return {
        "photos": Task(photos, QUERIES["photos"], {"half": mostly_shows, "centre": centre_shows}),
        "drawn": Task(drawn, QUERIES["drawn"], {"holds": holds_one, "centre": centre_shows}),
    }


def measure(checkpoint: Path, tasks: Mapping[str, Task]) -> list[dict[str, Any]]:
    """Search every scene with one model; a row for each scene and rerank."""
    retriever = Retriever.from_pretrained(checkpoint, bank=read_caption_bank())
    made_by = {"model": checkpoint.name, "weights": weights_fingerprint(retriever.encoder.model)}
    rows = []
    for name, task in tasks.items():
        index = SceneIndex.build(retriever, task.mosaic.path)
        print(f"{checkpoint.name}: {name}, {len(index.windows)} windows", flush=True)
        rows += [
            {**made_by, "scene": name, "rerank": rerank, **asked(index, task, rerank=rerank)}
            for rerank in RERANKS
        ]
    return rows


def asked(index: SceneIndex, task: Task, *, rerank: str) -> dict[str, Any]:
    """Put every query to a scene and count the right answers by each rule."""
    by_kind = {
        kind: [thing for thing in task.mosaic.things if thing.kind == kind] for kind in task.queries
    }
    answers = {
        kind: index.search(text=words, top_k=FIRST, rerank=rerank)
        for kind, words in task.queries.items()
    }
    rule, other = task.rules
    ranks = {kind: first_right(answers[kind], by_kind[kind], task.rules[rule]) for kind in answers}
    others = [first_right(answers[kind], by_kind[kind], task.rules[other]) for kind in answers]
    return {
        "windows": len(index.windows),
        "skipped": index.skipped,
        "queries": len(ranks),
        "rule": rule,
        "hit": percent([rank is not None for rank in ranks.values()]),
        "other_rule": other,
        "hit_by_other_rule": percent([rank is not None for rank in others]),
        "chance": chance(index.windows, by_kind, task.rules[rule]),
        "rank_of_first_right": ranks,
    }


def first_right(answer: SceneAnswer, things: Sequence[Thing], shows: Shows) -> int | None:
    """Return the rank of the first hit that shows one of the things, or None."""
    return next((hit.rank for hit in answer.hits if shows(hit.window, things)), None)


def chance(
    windows: Sequence[Window], by_kind: Mapping[str, Sequence[Thing]], shows: Shows
) -> float:
    """Return the expected share of hits (%) of five windows drawn at random."""
    missed = [
        (1 - sum(shows(window, things) for window in windows) / len(windows)) ** FIRST
        for things in by_kind.values()
    ]
    return round(100 * (1 - sum(missed) / len(missed)), 2)


def mostly_shows(window: Window, things: Sequence[Thing]) -> bool:
    """More than half of the window belongs to these things, which do not overlap."""
    left, top, right, bottom = window.box
    covered = 0.0
    for thing in things:
        x1, y1, x2, y2 = thing.box
        across = max(min(right, x2) - max(left, x1), 0)
        covered += across * max(min(bottom, y2) - max(top, y1), 0)
    return covered > window.width * window.height / 2


def centre_shows(window: Window, things: Sequence[Thing]) -> bool:
    """The middle of the window lies in one of these things."""
    x, y = window.centre
    return any(t.box[0] <= x < t.box[2] and t.box[1] <= y < t.box[3] for t in things)


def holds_one(window: Window, things: Sequence[Thing]) -> bool:
    """The middle of one of these things lies in the window."""
    left, top, right, bottom = window.box
    middles = (((t.box[0] + t.box[2]) / 2, (t.box[1] + t.box[3]) / 2) for t in things)
    return any(left <= x < right and top <= y < bottom for x, y in middles)


def percent(right: Sequence[bool]) -> float:
    """Return the share that is true, in percent."""
    return round(100 * sum(right) / len(right), 2)


if __name__ == "__main__":
    run(main)
