"""Pictures on their way to the browser."""

import numpy as np
from PIL import Image

from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.ui.views.thumbnails import picture_uri


def test_a_sixteen_bit_tiff_becomes_a_jpeg_that_browsers_show(tmp_path):
    wide = np.arange(100 * 50, dtype=np.uint16).reshape(50, 100)
    Image.fromarray(wide).save(tmp_path / "wide.tif")
    assert picture_uri(str(tmp_path / "wide.tif"), 32).startswith("data:image/jpeg;base64,")


def test_a_vanished_picture_has_a_placeholder(tmp_path):
    assert picture_uri(str(tmp_path / "gone.png")).startswith("data:image/svg+xml")


def test_what_is_clear_stays_clear():
    assert encode_picture(Image.new("RGBA", (8, 8)), 4).startswith("data:image/webp;base64,")
