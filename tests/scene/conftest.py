"""A scene of coloured fields, and a tiny CLIP that searches it."""

import numpy as np
import pytest
import rasterio

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.search.retriever import Retriever
from tests.geo.rasters import write

FIELD = 32  # pixels a side
BANK = ["a river", "many planes", "green tennis courts"]
CUT = {"tile": FIELD, "overlap": 0.0}
FAR = rasterio.Affine(0.3, 0, 400_000, 0, -0.3, 6_000_000)


def fields(across=6, down=5, bands=3, seed=0):
    """Fields of (bands, down * FIELD, across * FIELD), each of one colour, none of them 0."""
    colours = np.random.default_rng(seed).integers(1, 256, (bands, down, across), dtype=np.uint8)
    return np.kron(colours, np.ones((1, FIELD, FIELD), np.uint8))


@pytest.fixture
def retriever(tiny_clip, tiny_clip_processor):
    return Retriever(Encoder(tiny_clip, tiny_clip_processor), bank=BANK)


@pytest.fixture
def scene_file(tmp_path):
    return write(tmp_path / "fields.tif", fields())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "rasters"
    (folder / "north").mkdir(parents=True)
    write(folder / "south.tif", fields(3, 2))
    write(folder / "north" / "far.tif", fields(4, 2, seed=1), transform=FAR)
    write(folder / "blank.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    (folder / "broken.tif").write_text("no raster")
    return folder
