"""Uploads, and what is no upload."""

import pytest
from gradio.data_classes import ImageData

from rsctir_hf.ui.server.uploads import is_upload, picture_input


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
