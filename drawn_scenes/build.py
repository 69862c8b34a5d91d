"""Draw the whole gallery again: 200 JPEGs, their ``metadata.jsonl`` and the caption bank.

python -m drawn_scenes.build                    # rewrites the committed files
python -m drawn_scenes.build --folder /tmp/out  # or draws them elsewhere

``build_gallery`` also draws other scenes, for training.
"""

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from drawn_scenes.bank import write_bank
from drawn_scenes.gallery import CATEGORIES, SCENES_PER_CATEGORY, DrawnScene, draw_scene
from rsctir_hf.files.metadata import METADATA_FILE
from rsctir_hf.sample import SCENE_FOLDER

logger = logging.getLogger(__name__)

JPEG_QUALITY = 82
SHIPPED_SCENES = SCENES_PER_CATEGORY * len(CATEGORIES)


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
    scenes: int | Callable[[str], int] = SHIPPED_SCENES,
    first_seed: int = 0,
) -> int:
    """Draw scenes into a folder.

    One takes half a second, so every core draws; which one draws what makes no difference.

    Args:
        folder: for the JPEGs and ``metadata.jsonl``, which is written last.
        scenes: how many in all, as many of each category as of any other, give or take one; or
            how many of each category.
        first_seed: seed of the first scene of each category; the next has the next.

    Returns:
        The number of bytes of the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(scenes, first_seed)
    with ProcessPoolExecutor() as pool:
        drawn = pool.map(partial(write_scene, folder), jobs)
        bar = tqdm(drawn, desc="Drawing scenes", unit="scene", total=len(jobs), disable=None)
        rows = list(bar)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / METADATA_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum((folder / row["file_name"]).stat().st_size for row in rows)


def _jobs(scenes: int | Callable[[str], int], first_seed: int) -> list[tuple[str, int]]:
    """Return category and seed of each scene, in the order of the metadata."""
    if callable(scenes):
        return [
            (category, first_seed + number)
            for category in CATEGORIES
            for number in range(scenes(category))
        ]
    endless = ((category, seed) for seed in count(first_seed) for category in CATEGORIES)
    return sorted(islice(endless, scenes))


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
