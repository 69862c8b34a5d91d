"""Finding a model's files: what is refused before anything is loaded."""

import json
import pickle

import huggingface_hub
import pytest

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.loading.hub_files import could_be_dataset_id, could_be_hub_id, find_model_files
from rsctir_hf.training.recipe_args import ModelArguments
from rsctir_hf.training.start import build_model, text_source
from tests.models.tiny_cmpagl import seeded_model, tiny_config, tiny_processor


@pytest.fixture
def folder(tmp_path):
    model = seeded_model(tiny_config())
    model.save_pretrained(tmp_path / "model")
    tiny_processor(model).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_config(folder, **changes):
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_folder_is_its_own_place_and_has_no_revision(folder):
    files = find_model_files(folder)
    assert (files.name, files.folder, files.revision) == (str(folder), folder, None)
    with pytest.raises(ModelLoadError, match=r"revision is 'v1'.*folder, which has no revisions"):
        find_model_files(folder, revision="v1")


@pytest.mark.parametrize("name", ["cmpagl-rs", "galr-rs", "overhead-rsod"])
def test_the_shipped_configurations_are_of_this_version(name, checkpoint):
    assert find_model_files(checkpoint(name)).revision is None


def test_a_switch_that_is_not_known_means_a_newer_version(folder):
    change_config(folder, fusion_levels=3, use_cache=True)
    with pytest.raises(ModelLoadError, match=r"newer version.*has fusion_levels, which.*upgrade"):
        find_model_files(folder)


def test_a_threshold_of_an_older_version_is_passed_over(folder):
    change_config(folder, confident_score=0.6)
    assert find_model_files(folder).folder == folder


def test_a_family_that_is_not_known_means_a_newer_version_unless_it_brings_its_code(folder):
    change_config(folder, model_type="cmpagl3")
    assert find_model_files(folder).folder == folder  # auto_map: left to trust_remote_code
    change_config(folder, auto_map=None)
    with pytest.raises(ModelLoadError, match=r"newer version.*model_type 'cmpagl3'"):
        find_model_files(folder)


@pytest.mark.parametrize("kind", [["cmpagl"], 3])
def test_a_model_type_that_is_no_word_is_no_known_one(folder, kind):
    change_config(folder, model_type=kind, auto_map=None)
    with pytest.raises(ModelLoadError, match=r"config\.json has model_type"):
        find_model_files(folder)


def test_transformers_own_families_may_carry_keys_of_old(clip_folder):
    change_config(clip_folder, logit_scale_of_old=1)
    assert find_model_files(clip_folder).folder == clip_folder


@pytest.mark.parametrize("name", ["pytorch_model.bin", "open_clip_pytorch_model.bin", "model.pt"])
def test_pickles_do_not_stand_in_for_weights(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps({}))
    with pytest.raises(ModelLoadError, match=rf"pickles only \({name}\).*safetensors"):
        find_model_files(folder)


def test_the_text_side_of_a_recipe_starts_from_no_pickle_either(folder):
    (folder / "processor_config.json").unlink()
    arguments = ModelArguments(image_weights="none", text_weights=str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="pickles only"):
        build_model(arguments, [["a pier"]])
    with pytest.raises(ModelLoadError, match="neither a text model folder nor a Hub id"):
        text_source(str(folder / "absent"))


def test_weights_in_several_files_are_weights(folder):
    weights = folder / "model.safetensors"
    weights.rename(folder / "model-00001-of-00001.safetensors")
    assert find_model_files(folder).folder == folder


@pytest.mark.parametrize("name", ["checkpoints/cmpagl-rs", "X", "./absent"])
def test_whoever_has_no_model_at_hand_hears_where_one_comes_from(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelLoadError, match=r"OWNER/NAME.* checkpoints/ .*git clone --depth 1"):
        find_model_files(name)
    with pytest.raises(ModelLoadError, match=r"OWNER/NAME") as caught:
        find_model_files(name, what="detector")
    assert "git clone" not in str(caught.value)


def test_paths_are_told_from_ids():
    assert all(map(could_be_hub_id, ("gpt2", "org/name")))
    assert not any(map(could_be_hub_id, ("", "a/b/c", "./a", "/a", "~/a", "checkpoints/a")))
    assert could_be_dataset_id("org/name")
    assert not any(map(could_be_dataset_id, ("imagenet", "checkpoints/a", "a/b/c")))
