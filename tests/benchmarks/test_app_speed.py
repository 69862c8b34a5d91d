"""The benchmark of the app's search on a tiny model: the gallery it makes, the steps it times."""

import json

import app_speed
import torch

from rsctir_hf.search.retriever import Retriever
from tests.ui.tiny_models import BANK, save_launch


def test_a_gallery_is_filled_with_vectors_near_those_of_real_pictures(tmp_path):
    save_launch(tmp_path)
    retriever = Retriever.from_pretrained(tmp_path / "cmpagl")
    retriever.index(tmp_path / "gallery")
    originals = retriever.engine.vectors_of(retriever.engine.ids())
    app_speed.fill(retriever, 300)
    assert len(retriever) == 300
    ids = retriever.engine.ids()[len(originals) :]
    copies = retriever.engine.vectors_of(ids)
    torch.testing.assert_close(copies.norm(dim=1), torch.ones(len(copies)))
    # |v + 0.5 n| with n across v: the cosine is 1 / sqrt(1.25) = 0.89, a little off where it is not
    assert 0.7 < (copies @ originals.T).amax(dim=1).mean() < 1
    assert {item.path for item in retriever.items[20:]} <= {
        item.path for item in retriever.items[:20]
    }


def test_a_small_run_times_each_step(tmp_path, monkeypatch):
    save_launch(tmp_path)
    monkeypatch.setattr(app_speed, "read_caption_bank", lambda: BANK)
    file = tmp_path / "found.json"
    arguments = ["--model", tmp_path / "cmpagl", "--pictures", tmp_path / "gallery"]
    arguments += ["--size", "100", "--turns", "1", "--output", file]
    app_speed.main([str(each) for each in arguments])
    found = json.loads(file.read_text())
    assert found["gallery"] == 100
    assert {"sentence to vector", "search of the index", "rerank match", "cards"} <= set(
        found["milliseconds"]
    )
