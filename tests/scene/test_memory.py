"""A scene far larger than what may be held in memory is searched within a bound."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SIDE, BLOCK = 20_000, 256
RASTER_MB = SIDE * SIDE * 3 * 2 / 1e6  # 2,400 as numbers of 16 bits
LIMIT_MB = 600

SCRIPT = """
import resource, sys
import numpy as np, rasterio, torch
from rasterio.windows import Window
from torch import nn
from types import SimpleNamespace
from transformers import CLIPImageProcessor
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.scene import SceneIndex

file, side, block = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
shape = dict(width=side, height=side, count=3, dtype="uint16", crs="EPSG:32632",
             transform=rasterio.Affine(0.3, 0, 5e5, 0, -0.3, 5e6))
with rasterio.open(file, "w", driver="GTiff", tiled=True, blockxsize=block, blockysize=block,
                   compress="deflate", zlevel=1, SPARSE_OK="TRUE", **shape) as target:
    noise = np.random.default_rng(0).integers(1, 4000, (3, block, block), dtype=np.uint16)
    for place in range(0, side - block, 4 * block):  # a diagonal of blocks; the rest is zeros
        target.write(noise, window=Window(place, place, block, block))

class Colours(nn.Module):
    config = SimpleNamespace()
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))
    def get_image_features(self, pixel_values):
        return pixel_values.mean(dim=(2, 3)) @ self.weight + 1
    def get_text_features(self, input_ids, attention_mask=None):
        return torch.ones(len(input_ids), 3)

size = {"height": 32, "width": 32}
processor = CLIPImageProcessor(size=size, crop_size=size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
index = SceneIndex.build(Retriever(Encoder(Colours(), processor)), file, tile=1000, overlap=0.0)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(index.windows), (after - before) / 1024)
"""


def test_memory_stays_far_below_the_size_of_the_raster(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "large.tif"), str(SIDE), str(BLOCK)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    windows, more_mb = done.stdout.split()
    assert int(windows) == (SIDE // 1000) ** 2
    assert float(more_mb) < LIMIT_MB < RASTER_MB / 3
