"""Hits on pictures of every kind: with and without a place, gone, oddly named, a tile."""

import numpy as np
import pytest
import torch
from PIL import Image

from rsctir_hf.collection.features import TakenHome
from rsctir_hf.files.names import as_text
from rsctir_hf.search.hits import Hit
from rsctir_hf.vector_index.contract import BoundingBox
from tests.geo.rasters import write


def hit(rank, path, **more):
    text = None if path is None else as_text(str(path))
    return Hit(rank - 1, text, more.pop("caption", None), 1 - rank / 10, rank, rank, None, **more)


@pytest.fixture
def taken(tmp_path):
    """Five hits: in Bremen, over the antimeridian, without a place, gone, a tile of a raster."""
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    names = ["pier.jpg", "b/pier.jpg", "=1+1 <b>.png"]
    for name, colour in zip(names, ("red", "green", "blue"), strict=True):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    raster = write(tmp_path / "town.tif", np.full((3, 64, 64), 90, np.uint8))
    tile = f"{raster}#window=0,32,32,32&size=16,16&bands=1,2,3"
    place = {"raster": "town.tif", "column": 0, "row": 32, "width": 32, "height": 32}
    ring = "9.0 53.0, 9.0 52.9, 9.1 52.9, 9.1 53.0"
    hits = [
        hit(
            1, folder / names[0], caption="a pier", box=BoundingBox(8.8, 53.0, 8.9, 53.1),
            metadata={"date": "2024-05-01", "gsd": 0.3, "cloudy": False, "score": "bad", "n": 1},
        ),
        hit(2, folder / names[1], box=BoundingBox(179.0, -10, -179.0, -9), metadata={"n": "two"}),
        hit(3, folder / names[2], caption="-1+cmd|' /C calc'!A0", metadata={"width": 40}),
        hit(4, folder / "gone.jpg", box=BoundingBox(1, 2, 3, 4)),
        hit(5, tile, metadata={**place, "outline": ring}, merged=3),
    ]  # fmt: skip
    return TakenHome.of_hits(
        hits,
        text="piers & <boats>",
        title="piers & <boats>",
        link="?text=piers",
        made_by={"model": "tiny", "index": "my_index"},
        vectors=torch.eye(5, 8),
    )
