"""The training story on miniature data in the released formats: every recipe, both families."""

import json
import shutil

import pytest
import torch
import yaml

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import DataLayoutError, RecipeError
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.training import run_record
from rsctir_hf.training.recipe_args import read_recipe
from tests import miniature
from tests.conftest import ROOT
from tests.tiny_recipes import TINY, TINY_CONFIG, flags_of, load_door

RECIPES = sorted((ROOT / "training" / "recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def run():
    return load_door("run")


def write_release(benchmark, root):
    """Each benchmark in the form it was released in; the general models' main set is UCM."""
    if benchmark in ("ucm", "rs"):
        return miniature.write_karpathy(root, {"train": 6, "val": 3, "test": 3})
    if benchmark == "rsicd":
        return miniature.write_imagefolder(root)
    if benchmark == "rsitmd":
        return miniature.write_precomp(root, {"train": 20, "test": 3}, blank=(4,))
    return miniature.write_precomp(root, newline="\r\n")


def arguments_for(recipe, data, output, **changes):
    family = recipe.stem.split("_")[0]
    options = {
        **TINY,
        "config": TINY_CONFIG[family],
        "data": str(data),
        "output_dir": str(output),
        **changes,
    }
    return [str(recipe), *flags_of(options)]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_trains_saves_and_can_be_searched_with(recipe, run, tmp_path):
    benchmark = recipe.stem.split("_")[1]
    data = write_release(benchmark, tmp_path / "data")
    extra = {}
    if benchmark == "rs":
        counts = {"train": 5, "validation": 2}
        rsicd = miniature.write_imagefolder(tmp_path / "rsicd", counts, first=50)
        extra = {"extra_data": f"{{rsicd: {rsicd}, drawn: generated:2}}"}
    said = read_recipe(recipe)
    if "initial_model" in said:  # a model of the same family stands in for it, and for teachers
        start = recipe.with_name(f"{recipe.stem.split('_')[0]}_{benchmark}.yaml")
        run.main(arguments_for(start, data, tmp_path / "start", **extra))
        extra |= {
            key: str(tmp_path / "start") for key in ("initial_model", "teachers") if key in said
        }
    run.main(arguments_for(recipe, data, tmp_path / "out", **extra))
    final = tmp_path / "out"
    results = json.loads((final / "results.json").read_text())
    assert [row["rerank"] for row in results["validation"]][:3] == ["none", "smr", "mr"]
    assert all(0 <= row["mR"] <= 100 for row in results["validation"])
    assert results["validation"][0]["split"] == "validation"
    assert results["git_revision"]
    sets = ["ucm", "rsicd"] if benchmark == "rs" else [benchmark]
    assert list(dict.fromkeys(row["data"] for row in results["validation"])) == sets
    assert list(results["training_sets"]) == [*sets, *(["drawn"] if benchmark == "rs" else [])]
    config = json.loads((final / "config.json").read_text())
    assert config["smr_temperature"] > 0
    starts = 2 if "initial_model" in extra else 1
    assert config["training_images"].count(" pictures") == starts * len(results["training_sets"])
    assert bool(results["seen_before"]) == (starts == 2)
    assert results["seen_before"] in config["training_images"]
    assert results["weights"] == weights_fingerprint(Encoder.from_pretrained(final).model)
    assert (final / "README.md").is_file()
    retriever = Retriever.from_pretrained(str(final))
    pictures = miniature.write_pictures(tmp_path / "gallery", ["a.png", "b.png"])
    assert retriever.index(pictures).indexed == 2
    assert len(retriever.search("many boats", top_k=2)) == 2


@pytest.mark.slow
def test_the_saved_recipe_trains_the_same_model_again(run, tmp_path):
    recipe = ROOT / "training" / "recipes" / "galr_ucm.yaml"
    data = write_release("ucm", tmp_path / "data")
    run.main(arguments_for(recipe, data, tmp_path / "out"))
    saved = tmp_path / "again.yaml"
    shutil.copy(tmp_path / "out" / "recipe.yaml", saved)
    run.main([str(saved), "--output_dir", str(tmp_path / "out2")])
    first, second = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("out", "out2")
    )
    keys = ("loss", "eval_mR")
    assert [{key: row[key] for key in keys if key in row} for row in first["log"]] == [
        {key: row[key] for key in keys if key in row} for row in second["log"]
    ]


@pytest.mark.slow
def test_stored_weights_are_half_precision_and_load_as_float32(run, tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoModel

    recipe = ROOT / "training" / "recipes" / "galr_ucm.yaml"
    run.main(arguments_for(recipe, write_release("ucm", tmp_path / "data"), tmp_path / "out"))
    final = tmp_path / "out"
    stored = load_file(final / "model.safetensors")
    assert {value.dtype for value in stored.values() if value.is_floating_point()} == {
        torch.float16
    }
    assert AutoModel.from_pretrained(final).dtype == torch.float32


def test_a_picture_in_two_splits_stops_the_run_and_is_named(run, tmp_path):
    root = miniature.write_imagefolder(tmp_path / "data")
    shutil.copy(root / "train" / "scene00.png", root / "test" / "scene09.png")
    recipe = ROOT / "training" / "recipes" / "cmpagl_ucm.yaml"
    with pytest.raises(DataLayoutError, match="two splits"):
        run.main(arguments_for(recipe, root, tmp_path / "out"))


def test_freed_memory_is_kept_from_before_anything_is_loaded(run, tmp_path, monkeypatch):
    asked = []

    def load(*args, **options):
        raise DataLayoutError("so far")

    monkeypatch.setattr(run_record, "keep_freed_memory", lambda: asked.append(True))
    monkeypatch.setattr(run, "load_training_data", load)
    with pytest.raises(DataLayoutError, match="so far"):
        run.main(["--output_dir", str(tmp_path)])
    assert asked == [True]


def test_an_unknown_key_in_a_recipe_is_named(run, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("famly: galr\n")
    with pytest.raises(RecipeError, match="famly"):
        run.main([str(recipe)])


def test_missing_data_name_root_tree_and_remedy(run, tmp_path):
    recipe = ROOT / "training" / "recipes" / "cmpagl_ucm.yaml"
    with pytest.raises(DataLayoutError) as caught:
        run.main(arguments_for(recipe, tmp_path / "nowhere", tmp_path / "out"))
    message = str(caught.value)
    assert str(tmp_path / "nowhere") in message
    assert "metadata.jsonl" in message  # the tree that was expected
    assert "--data" in message or "Hub id" in message  # what to do


def test_every_recipe_is_valid_yaml_with_a_story():
    for recipe in RECIPES:
        text = recipe.read_text()
        assert text.startswith("#"), f"{recipe.name} begins with a comment that says what it is"
        assert yaml.safe_load(text)
    assert len(RECIPES) == 17


@pytest.mark.slow
def test_push_to_hub_goes_through_the_trainer_and_uploads_the_finished_folder(
    run, tmp_path, uploads
):
    recipe = ROOT / "training" / "recipes" / "galr_ucm.yaml"
    data = write_release("ucm", tmp_path / "data")
    options = {"push_to_hub": "true", "hub_model_id": "org/galr-mini"}
    run.main(arguments_for(recipe, data, tmp_path / "out", **options))
    repo_id, message, files = uploads[-1]
    assert (repo_id, message) == ("org/galr-mini", "End of training")
    expected = {"README.md", "LICENSE", "config.json", "model.safetensors", "modeling_galr.py"}
    expected |= {"processor_config.json", "recipe.yaml", "results.json", "modules.json"}
    assert expected <= files
    assert "training_args.bin" not in files
    assert "license: other" in (tmp_path / "out" / "README.md").read_text()
