"""Draw the whole gallery again: 200 JPEGs, their ``metadata.jsonl`` and the caption bank.

python -m rsctir_hf.drawn.build                    # rewrites the committed files
python -m rsctir_hf.drawn.build --folder /tmp/out  # or draws them elsewhere

``build_gallery`` also draws other scenes, for training.
"""

import argparse
import json
import logging
from collections.abc import Sequence
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
    rows, size = [], 0
    for category, seed in tqdm(jobs, desc="Drawing scenes", unit="scene"):
        scene = draw_scene(category, seed)
        path = folder / scene_file(category, seed)
        scene.image.save(path, quality=JPEG_QUALITY, optimize=True, subsampling="4:2:0")
        size += path.stat().st_size
        rows.append(json.dumps(metadata_row(scene, seed), ensure_ascii=False))
    (folder / METADATA).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return size


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
