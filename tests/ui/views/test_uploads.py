"""Pictures on their way to the browser."""

import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from rsctir_hf.ui.views.uploads import is_upload, picture_input, picture_uri, without_folders


def test_a_sixteen_bit_tiff_becomes_a_jpeg_that_browsers_show(tmp_path):
    wide = np.arange(100 * 50, dtype=np.uint16).reshape(50, 100)
    Image.fromarray(wide).save(tmp_path / "wide.tif")
    assert picture_uri(str(tmp_path / "wide.tif"), 32).startswith("data:image/jpeg;base64,")


def test_a_vanished_picture_has_a_placeholder(tmp_path):
    assert picture_uri(str(tmp_path / "gone.png")).startswith("data:image/svg+xml")


def test_messages_do_not_show_the_folders_of_the_server():
    text = "/tmp/gradio/ab12/pier 1.png is empty; see '/srv/models/x/config.json', or a/b."
    assert without_folders(text) == "pier 1.png is empty; see 'config.json', or a/b."


def test_the_picture_input_hands_on_a_damaged_file_unopened(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert picture_input("Picture").preprocess(ImageData(path=str(broken))) == str(broken)
    assert picture_input("Picture").preprocess(None) is None


@pytest.mark.parametrize("path", ["/etc/hostname", "up/../../../etc/hostname", "up/link", "."])
def test_the_picture_input_hands_on_nothing_but_uploads(tmp_path, monkeypatch, path):
    uploads = tmp_path / "uploads"
    (uploads / "up").mkdir(parents=True)
    (uploads / "up" / "link").symlink_to("/etc/hostname")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    named = str(uploads / path) if path != "." else str(tmp_path)
    assert not is_upload(named)
    assert picture_input("Picture").preprocess(ImageData(path=named)) is None
    assert is_upload(str(uploads / "up" / "picture.png"))
