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

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from report import CHECKPOINTS, MODELS, flags, run, save, settings, timed
from scene_mosaics import repeated_mosaic
from torch import Tensor

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.embedding.encode import default_batch_size, evaluating
from rsctir_hf.geo.raster import TileReader, open_raster
from rsctir_hf.sample import sample_folder
from rsctir_hf.scene import SceneIndex
from rsctir_hf.scene.plan import plan_tiles
from rsctir_hf.search.retriever import Retriever

SIDE = 10_000
TARGET = 0.85
BARE_TILES = 192  # of the limit: a multiple of the batch


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "scene_speed.json", models=MODELS)
    parser.add_argument("--side", type=int, default=SIDE, help="of the scene in pixels")
    parser.add_argument("--tiles", type=int, default=BARE_TILES, help="of each bare measurement")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as the command line does
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scene.tif"
        repeated_mosaic(file, sorted(sample_folder().glob("*.jpg")), side=options.side, seed=0)
        megabytes = round(file.stat().st_size / 1e6, 1)
        rows = [measure(CHECKPOINTS / name, file, tiles=options.tiles) for name in options.models]
    content = {
        "measured": "tiles a second of rsctir_hf.scene over those of the bare image tower",
        "target": TARGET,
        "side": options.side,
        "file_megabytes": megabytes,
        "rows": rows,
        "settings": settings(),
    }
    save(options.output, content)


def measure(checkpoint: Path, file: Path, *, tiles: int) -> dict[str, Any]:
    """Time a model on a scene and alone."""
    retriever = Retriever.from_pretrained(checkpoint)
    batches, alone = ready_batches(retriever, file, tiles)
    run_tower(retriever, batches[:1])  # warm-up
    bare_run = partial(run_tower, retriever, batches)
    before, _ = timed(bare_run)
    whole, index = timed(partial(SceneIndex.build, retriever, file))
    after, _ = timed(bare_run)
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
    plan = plan_tiles(raster, retriever.encoder.model.config)
    windows = plan.windows[:tiles]
    with TileReader(raster) as reader:
        reading, tiles_read = timed(
            lambda: [reader.read(window, plan.size_of(window)).picture for window in windows]
        )
    pictures = [picture for picture in tiles_read if picture is not None]
    size = default_batch_size(retriever.encoder.model)  # as a scene's search takes them
    processing, batches = timed(
        lambda: [
            retriever.encoder.inputs(pictures[at : at + size])
            for at in range(0, len(pictures), size)
        ]
    )
    alone = {"read": reading, "processor": processing}
    return batches, {step: round(1000 * value / len(windows), 2) for step, value in alone.items()}


def run_tower(retriever: Retriever, batches: Sequence[dict[str, Tensor]]) -> None:
    """Embed ready tensors and do nothing else."""
    model: Any = retriever.encoder.model
    with evaluating(model):
        for batch in batches:
            model.get_image_features(**batch)


if __name__ == "__main__":
    run(main)
