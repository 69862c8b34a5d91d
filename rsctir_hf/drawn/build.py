"""Draw the whole gallery again: 200 JPEGs, their ``metadata.jsonl`` and the caption bank.

python -m rsctir_hf.drawn.build                    # rewrites the committed files
python -m rsctir_hf.drawn.build --folder /tmp/out  # or draws them elsewhere

``build_gallery`` also draws other scenes, for training.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rsctir_hf.drawn.bank import write_bank
from rsctir_hf.drawn.gallery import (
    CATEGORIES,
    SCENE_FOLDER,
    SCENES_PER_CATEGORY,
    DrawnScene,
    draw_scene,
)

logger = logging.getLogger(__name__)

JPEG_QUALITY = 82
METADATA = "metadata.jsonl"


def scene_file(category: str, seed: int) -> str:
    """Return the file name of a scene."""
    return f"{category}_{seed:02d}.jpg"


def metadata_row(scene: DrawnScene, seed: int) -> dict[str, Any]:
    """Return what ``metadata.jsonl`` says of a scene (imagefolder layout)."""
    return {
        "file_name": scene_file(scene.category, seed),
        "captions": list(scene.captions),
        "category": scene.category,
        "seed": seed,
        "objects": {
            "bbox": [list(o.bbox) for o in scene.objects],
            "category": [o.category for o in scene.objects],
        },
        "geotransform": list(scene.geotransform.coefficients),
        "crs": scene.geotransform.crs,
    }


def build_gallery(
    folder: Path = SCENE_FOLDER,
    *,
    scenes: int = SCENES_PER_CATEGORY * len(CATEGORIES),
    first_seed: int = 0,
) -> int:
    """Draw scenes into a folder, as many of each category as of any other, give or take one.

    One takes half a second, so every core draws; which one draws what makes no difference.

    Args:
        folder: for the JPEGs and ``metadata.jsonl``, which is written last.
        scenes: how many in all.
        first_seed: seed of the first scene of each category; the next has the next.

    Returns:
        The number of bytes of the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    endless = ((category, seed) for seed in count(first_seed) for category in CATEGORIES)
    jobs = sorted(islice(endless, scenes))
    with ProcessPoolExecutor() as pool:
        drawn = pool.map(partial(write_scene, folder), jobs)
        rows = list(tqdm(drawn, desc="Drawing scenes", unit="scene", total=len(jobs)))
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / METADATA).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum((folder / row["file_name"]).stat().st_size for row in rows)


def write_scene(folder: Path, job: tuple[str, int]) -> dict[str, Any]:
    """Draw the scene of a category and seed into a folder; return its row of the metadata."""
    scene = draw_scene(*job)
    row = metadata_row(scene, job[1])
    path = folder / row["file_name"]
    scene.image.save(path, quality=JPEG_QUALITY, optimize=True, subsampling="4:2:0")
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=SCENE_FOLDER, help="where to draw")
    folder = parser.parse_args(arguments).folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    size = build_gallery(folder)
    sentences = write_bank() if folder == SCENE_FOLDER else 0
    logger.info("%s: %.2f MB of pictures, %d bank sentences", folder, size / 1e6, sentences)


if __name__ == "__main__":
    main()
