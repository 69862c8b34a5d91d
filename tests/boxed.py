"""Miniature pictures with boxes: squares of one colour a class, in RSOD's layout."""

import json

import numpy as np
from PIL import Image

from rsctir_hf.detection.crops import BoxedPicture

CLASSES = ["aircraft", "oiltank", "overpass", "playground"]
COLOURS = np.array([[250, 30, 30], [30, 250, 30], [240, 240, 40], [240, 240, 240]])


def boxed_picture(number, *, side=64):
    """A dark picture with one square of class ``number % 4``."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(20, 60, (side, side, 3), dtype=np.uint8)
    left, top = rng.integers(4, side - 28, 2)
    pixels[top : top + 24, left : left + 24] = COLOURS[number % 4]
    boxes = np.array([[left, top, left + 24, top + 24]], np.float32)
    return BoxedPicture(f"{number}.png", Image.fromarray(pixels), boxes, np.array([number % 4]))


def write_rsod(root, counts):
    """Write splits of RSOD, such as ``{"train": 12, "test": 4}``."""
    root.mkdir(parents=True)
    (root / "classes.json").write_text(json.dumps(CLASSES))
    for offset, (split, count) in enumerate(counts.items()):
        (root / split).mkdir()
        rows = []
        for number in range(count):
            picture = boxed_picture(100 * offset + number)
            picture.image.save(root / split / picture.name)
            left, top, right, bottom = picture.boxes[0].tolist()
            objects = {"bbox": [[left, top, right - left, bottom - top]]}
            objects["category"] = picture.labels.tolist()
            rows.append(json.dumps({"file_name": picture.name, "objects": objects}))
        (root / split / "metadata.jsonl").write_text("\n".join(rows))
    return root
