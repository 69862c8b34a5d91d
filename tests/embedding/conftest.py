"""Fixtures of the embedding tests."""

import pytest

from rsctir_hf.embedding.encoder import Encoder
from tests.embedding.galleries import draw


@pytest.fixture
def loaded(tiny_clip, tiny_clip_processor):
    return Encoder(tiny_clip, tiny_clip_processor, id="tiny-clip", revision=None)


@pytest.fixture
def gallery(tmp_path):
    """Twelve different pictures in two folders, which have not changed for an hour."""
    folder = tmp_path / "gallery"
    (folder / "below").mkdir(parents=True)
    for number in range(12):
        draw(folder / ("below" if number % 3 else "") / f"{number:02d}.png", number)
    return folder


@pytest.fixture
def settled(monkeypatch):
    """No file is so young that its times cannot be trusted."""
    monkeypatch.setattr("rsctir_hf.files.listing.SETTLED_AFTER", -1)
