"""What share of the bare image tower's speed the search of a large scene keeps.

    python benchmarks/scene_speed.py                 # 10,000 px a side: minutes a model
    python benchmarks/scene_speed.py --side 2000     # a try

A scene of drawn pictures (a tiled, compressed GeoTIFF at 0.3 m in a temporary folder) is embedded
with the defaults of ``rsctir scene``: windows of 224 px, 25 % overlap. The limit is the tower
alone over ready tensors of the first tiles of the same scene, in batches of the same size, measured
right before and right after it in the same process. Beside the ratio stands where the time goes
when each step is done alone, one after the other: reading tiles, the processor, the tower. Writes
``results/scene_speed.json``.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from scene_mosaics import repeated_mosaic
from score_test import ROOT
from torch import Tensor

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.embedding.encode import default_batch_size, evaluating, image_inputs
from rsctir_hf.embedding.roles import DualEncoder
from rsctir_hf.evaluation import library_versions
from rsctir_hf.geo.raster import TileReader, open_raster
from rsctir_hf.sample import sample_folder
from rsctir_hf.scene import SceneIndex
from rsctir_hf.scene.plan import plan_tiles
from rsctir_hf.search.retriever import Retriever

MODELS = ("cmpagl-rs", "galr-rs")
SIDE = 10_000
TARGET = 0.85
BARE_TILES = 192  # of the limit: a multiple of the batch


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Scene search against the bare image tower.")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--side", type=int, default=SIDE, help="of the scene in pixels")
    parser.add_argument("--tiles", type=int, default=BARE_TILES, help="of each bare measurement")
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "scene_speed.json")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as the command line does
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scene.tif"
        repeated_mosaic(file, sorted(sample_folder().glob("*.jpg")), side=options.side, seed=0)
        megabytes = round(file.stat().st_size / 1e6, 1)
        for name in options.models:
            rows.append(measure(ROOT / "checkpoints" / name, file, tiles=options.tiles))
            print(json.dumps(rows[-1]), flush=True)
    content = {
        "measured": "tiles a second of rsctir_hf.scene over those of the bare image tower",
        "target": TARGET,
        "side": options.side,
        "file_megabytes": megabytes,
        "rows": rows,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "versions": library_versions(),
    }
    options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def measure(checkpoint: Path, file: Path, *, tiles: int) -> dict[str, Any]:
    """Time a model on a scene and alone."""
    retriever = Retriever.from_pretrained(checkpoint)
    batches, alone = ready_batches(retriever, file, tiles)
    run_tower(retriever, batches[:1])  # warm-up
    before = seconds_of(lambda: run_tower(retriever, batches))
    started = time.perf_counter()
    index = SceneIndex.build(retriever, file)
    whole = time.perf_counter() - started
    after = seconds_of(lambda: run_tower(retriever, batches))
    count = sum(len(batch["pixel_values"]) for batch in batches)
    bare = count / statistics.mean([before, after])
    return {
        "model": checkpoint.name,
        "tiles": len(index.windows),
        "seconds": round(whole, 2),
        "tiles_per_second": round(len(index.windows) / whole, 2),
        "bare_per_second": round(bare, 2),
        "bare_before_and_after": [round(count / before, 2), round(count / after, 2)],
        "ratio": round(len(index.windows) / whole / bare, 3),
        "milliseconds_per_tile_alone": {**alone, "tower": round(1000 / bare, 2)},
    }


def ready_batches(
    retriever: Retriever, file: Path, tiles: int
) -> tuple[list[dict[str, Tensor]], dict[str, float]]:
    """Return the first tiles as tensors, and milliseconds a tile of reading and processor."""
    raster = open_raster(file)
    plan = plan_tiles(raster, retriever.model.config)
    windows = plan.windows[:tiles]
    started = time.perf_counter()
    with TileReader(raster) as reader:
        read = [reader.read(window, plan.size_of(window)).picture for window in windows]
    between = time.perf_counter()
    pictures = [picture for picture in read if picture is not None]
    batches = [
        image_inputs(retriever.model, retriever.processor, batch)
        for batch in in_batches(pictures, default_batch_size(retriever.model))
    ]
    ended = time.perf_counter()
    each = 1000 / len(windows)
    alone = {"read": (between - started) * each, "processor": (ended - between) * each}
    return batches, {step: round(value, 2) for step, value in alone.items()}


def in_batches(pictures: Sequence[Image.Image], size: int) -> Iterator[list[Image.Image]]:
    """Yield as many pictures at a time as a scene's search does."""
    remaining = iter(pictures)
    while batch := list(islice(remaining, size)):
        yield batch


def run_tower(retriever: Retriever, batches: Sequence[dict[str, Tensor]]) -> None:
    """Embed ready tensors and do nothing else."""
    with evaluating(retriever.model):
        for batch in batches:
            cast(DualEncoder, retriever.model).get_image_features(**batch)


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1:])
