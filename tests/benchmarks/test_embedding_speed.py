"""The embedding benchmark on tiny models: distinct files, every rate, each ratio by its limit."""

import json
import os
from contextlib import contextmanager

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


@contextmanager
def here(variables=None):
    yield lambda function, *given: function(*given)


def test_a_process_of_its_own_has_the_variables_that_it_was_given(monkeypatch):
    monkeypatch.delenv("RSCTIR_TOLD", raising=False)
    with (
        embedding_speed.process({"RSCTIR_TOLD": "yes"}) as told,
        embedding_speed.process() as not_told,
    ):
        assert told(os.getenv, "RSCTIR_TOLD") == "yes"
        assert not_told(os.getenv, "RSCTIR_TOLD") is None
        assert told(os.getpid) != os.getpid()
    assert "RSCTIR_TOLD" not in os.environ


@pytest.mark.slow
def test_a_small_run_measures_everything(models, picture_folder, monkeypatch):
    config = CLIPConfig(
        text_config=SMALL | {"vocab_size": 10, "max_position_embeddings": 8},
        vision_config=SMALL | {"image_size": 224, "patch_size": 112},
    )
    monkeypatch.setattr(embedding_speed, "CLIPConfig", lambda: config)
    monkeypatch.setattr(embedding_speed, "process", here)
    embedding_speed.clip.cache_clear()
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
    alone, beside = (found["pictures_per_second"][each] for each in ("alone", "beside"))
    assert set(embedding_speed.CLIPS) < set(beside) < set(alone)
    for name in embedding_speed.MODELS:
        index, bare = (f"{name} {kind}" for kind in (embedding_speed.INDEX, embedding_speed.BARE))
        for rates, key in [(alone, "of_the_bare_tower"), (beside, "of_the_bare_tower_beside")]:
            assert found[key][name] == pytest.approx(rates[index] / rates[bare], rel=0.02, abs=0.01)
        slower = alone[index] / beside[index]
        assert found["times_slower_beside"][name] == pytest.approx(slower, rel=0.02, abs=0.01)
        assert found["times_as_fast_as_clip"][name] > 0
        assert [point["pictures"] for point in found["growth"][name]] == [4, 9]
        assert set(found["milliseconds_of_a_picture"][name]) == {
            "decode",
            "resize_and_normalise",
            "tower",
        }
    assert len(folder_pictures(picture_folder)) == 8  # nothing is left beside the pictures
