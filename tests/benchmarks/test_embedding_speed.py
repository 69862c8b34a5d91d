"""The embedding benchmark on tiny models: distinct files, every rate, each ratio by its limit."""

import json

import embedding_speed
import pytest
from transformers import CLIPConfig

from rsctir_hf.embedding.records import folder_pictures
from rsctir_hf.files.pictures import list_images, read_image
from tests.ui.tiny_models import save_models

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@pytest.fixture
def models(tmp_path):
    save_models(tmp_path)
    for family in ("cmpagl", "galr"):
        (tmp_path / family).rename(tmp_path / f"{family}-rs")
    return tmp_path


def test_copies_are_other_files_with_the_same_pixels(picture_folder, tmp_path):
    sources = list_images(picture_folder)
    embedding_speed.copy_files(sources, tmp_path / "copies", count=20)
    copies = list_images(tmp_path / "copies")
    assert len({path.read_bytes() for path in copies}) == 20
    for copy, source in zip(copies, [*sources, *sources], strict=False):
        assert read_image(copy).tobytes() == read_image(source).tobytes()


@pytest.mark.slow
def test_a_small_run_measures_everything(models, picture_folder, monkeypatch):
    config = CLIPConfig(
        text_config=SMALL | {"vocab_size": 10, "max_position_embeddings": 8},
        vision_config=SMALL | {"image_size": 224, "patch_size": 112},
    )
    monkeypatch.setattr(embedding_speed, "CLIPConfig", lambda: config)
    monkeypatch.setattr(embedding_speed, "keep_freed_memory", lambda: None)
    file = models / "found.json"
    arguments = [
        "--data",
        picture_folder,
        "--checkpoints",
        models,
        "--pictures",
        "6",
        "--blocks",
        "1",
    ]
    arguments += ["--growth", "4", "9", "--output", file]
    embedding_speed.main([str(each) for each in arguments])
    found = json.loads(file.read_text())
    rates = found["pictures_per_second"]
    assert {"clip transformers", "clip sentence-transformers"} < set(rates)
    for name in embedding_speed.MODELS:
        share = rates[f"{name} end to end"] / rates[f"{name} bare"]
        assert found["of_the_bare_tower"][name] == pytest.approx(share, abs=0.01)
        assert [point["pictures"] for point in found["growth"][name]] == [4, 9]
        assert set(found["milliseconds_of_a_picture"][name]) == {
            "decode",
            "resize_and_normalise",
            "tower",
        }
    assert len(folder_pictures(picture_folder)) == 8  # nothing is left beside the pictures
