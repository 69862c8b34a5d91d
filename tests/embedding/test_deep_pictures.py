"""Scenes whose values use little of the range of 16 bits are found as those of 8 bits are."""

import numpy as np
import pytest

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.pictures import read_image
from rsctir_hf.sample import sample_folder
from tests.files.deep_files import png16, write_tiff

pytestmark = pytest.mark.slow
OF_EACH = 2  # pictures of each of the 20 categories
MOST = 1200  # of 65,535, as Sentinel-2 and Planet store reflectances


@pytest.mark.parametrize("name", ["galr-rs", "cmpagl-rs"])
def test_the_category_of_every_drawn_scene_is_found_in_sixteen_bits(name, checkpoint, tmp_path):
    encoder = Encoder.from_pretrained(checkpoint(name))
    folder = sample_folder()
    files = {file.stem: file for file in sorted(folder.glob("*.jpg"))}
    kinds = sorted({stem.rpartition("_")[0] for stem in files})
    words = np.asarray(encoder.texts([kind.replace("_", " ") for kind in kinds]))
    found = []
    for kind in kinds:
        for number in range(OF_EACH):
            shades = np.asarray(read_image(files[f"{kind}_{number:02d}"]), np.float64)
            deep = np.round(shades / 255 * MOST).astype(np.uint16)
            chip = write_tiff(tmp_path / "chip.tif", deep)
            for source in (png16(deep), chip):
                nearest = words @ np.asarray(encoder.image(source))
                found.append(kinds[int(nearest.argmax())] == kind)
    assert (sum(found), len(found)) == (80, 80)
