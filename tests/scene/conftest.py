"""A scene of coloured fields, and a tiny CLIP that searches it."""

import numpy as np
import pytest

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.search.retriever import Retriever
from tests.geo.rasters import write

FIELD = 32  # pixels a side
BANK = ["a river", "many planes", "green tennis courts"]


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
