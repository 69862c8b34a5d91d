"""The training story on miniature data in the released formats: every recipe, both families."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from rsctir_hf.data.reading import read_captioned
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import DataLayoutError, RecipeError
from rsctir_hf.hub.push import push_model
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.training import run_record
from rsctir_hf.training.recipe_files import read_recipe
from rsctir_hf.training.resumption import checkpoints_of
from tests import miniature
from tests.conftest import ROOT
from tests.geo.rasters import write
from tests.tiny_recipes import TINY, TINY_CONFIG, flags_of, load_door

FINETUNE = ROOT / "training" / "recipes" / "finetune.yaml"
GO_ON = {FINETUNE, FINETUNE.with_name("adapt.yaml")}  # with models of either family
SCORED_BY = ("use_regions", "text_guidance")  # what a recipe's objective asks of the model
RECIPES = sorted({*FINETUNE.parent.glob("*.yaml")} - GO_ON)


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
    said = read_recipe(recipe)
    config = yaml.safe_load(TINY_CONFIG[said["family"]])
    kept = {name: said["config"][name] for name in SCORED_BY if name in said.get("config", {})}
    options = {
        **TINY,
        "config": json.dumps(config | kept),
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
@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_one_recipe_goes_on_from_a_model_of_either_family(family, run, tmp_path):
    data = write_release("ucm", tmp_path / "data")
    run.main(arguments_for(FINETUNE.with_name(f"{family}_ucm.yaml"), data, tmp_path / "start"))
    thawing = dict.fromkeys(("frozen_epochs", "lr_factors"), "{image_tower: 1}")
    options = {**TINY, **thawing, "data": data, "output_dir": tmp_path / "out"}
    run.main([str(FINETUNE), *flags_of(options | {"initial_model": tmp_path / "start"})])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["base"]["model"] == str(tmp_path / "start")
    assert results["base"]["share"] in [tenths / 10 for tenths in range(11)]
    assert read_recipe(tmp_path / "out" / "recipe.yaml")["family"] == family
    assert len(Retriever.from_pretrained(tmp_path / "out").encoder.texts(["many boats"])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 30])
def test_own_data_is_trained_on_and_written_down_under_its_own_name(count, run, tmp_path):
    data = write_release("ucm", tmp_path / "data")
    run.main(arguments_for(FINETUNE.with_name("galr_ucm.yaml"), data, tmp_path / "start"))
    own = miniature.write_imagefolder(tmp_path, {"harbours": count}, first=50) / "harbours"
    options = {**TINY, "data": own, "output_dir": tmp_path / "out", "data_licence": "mit"}
    run.main([str(FINETUNE), *flags_of(options | {"initial_model": tmp_path / "start"})])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    held = results["validation"][0]["images"]
    assert results["training_sets"] == {"harbours": count - held}
    assert {row["data"] for row in results["validation"]} == {"harbours"}
    known = results["own_data"]["harbours"]
    assert known["held_out"].startswith(f"{held} of {count} pictures held out")
    assert (known["licence"], known["source"], known["test"]) == ("mit", None, False)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    said = f"harbours (own data), {count - held} pictures; before that UCM-Captions train, 6"
    assert config["training_images"].startswith(said)
    for name in ("README.md", "LICENSE"):
        lines = (tmp_path / "out" / name).read_text().splitlines()
        assert any(line.startswith("- before that, ") for line in lines)
        rest = " ".join(line for line in lines if not line.startswith("- before that, "))
        assert "harbours, " in rest and "Licence: mit." in rest
        assert "UCM" not in rest and "USGS" not in rest
    # What was written down runs again, on the same pictures.
    again = [str(tmp_path / "out" / "recipe.yaml"), "--output_dir", str(tmp_path / "again")]
    run.main(again)
    second = json.loads((tmp_path / "again" / "results.json").read_text())
    assert second["own_data"] == results["own_data"]
    assert [row["mR"] for row in second["validation"]] == [
        row["mR"] for row in results["validation"]
    ]


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
    assert len(RECIPES) == 20


@pytest.mark.slow
def test_nothing_that_only_serves_going_on_and_no_page_with_pictures_is_pushed(
    run, tmp_path, uploads
):
    recipe = ROOT / "training" / "recipes" / "galr_ucm.yaml"
    data = write_release("ucm", tmp_path / "data")
    options = {"push_to_hub": "true", "hub_model_id": "org/galr-mini"}
    run.main(arguments_for(recipe, data, tmp_path / "out", **options))
    out = tmp_path / "out"
    (out / "report.html").write_text("pictures of the user's")
    push_model(out, "org/galr-mini")
    (repo_id, files), by_hand = uploads
    assert (repo_id, files) == by_hand == ("org/galr-mini", files)
    expected = {"README.md", "LICENSE", "config.json", "model.safetensors", "modeling_galr.py"}
    expected |= {"processor_config.json", "recipe.yaml", "results.json", "modules.json"}
    assert expected <= files
    assert not {"training_args.bin", "report.html"} & files
    assert not [name for name in files if "checkpoint" in name or name.startswith("_")]
    assert checkpoints_of(out) and all(
        each.parent.name == "_checkpoints" for each in checkpoints_of(out)
    )
    assert "license: other" in (tmp_path / "out" / "README.md").read_text()


@pytest.fixture(scope="module")
def tuning(run, tmp_path_factory):
    """Flags of a run that goes on from a tiny model; both on the same miniature release."""
    root = tmp_path_factory.mktemp("tuning")
    data = write_release("ucm", root / "data")
    start = ROOT / "training" / "recipes" / "galr_ucm.yaml"
    run.main(arguments_for(start, data, root / "start", num_train_epochs="1"))
    recipe = ROOT / "training" / "recipes" / "finetune.yaml"
    kept = write_imagefolder_of(root / "kept")
    changes = {**TINY, "initial_model": root / "start", "keep_data": f"{{rsicd: {kept}}}"}
    changes |= {"benchmark": "ucm", "data": data}

    def flags(output, **more):
        return [str(recipe), *flags_of({**changes, "output_dir": output, **more})]

    return flags


def write_imagefolder_of(folder):
    return miniature.write_imagefolder(folder, {"train": 2, "validation": 2, "test": 3}, first=70)


@pytest.mark.slow
def test_a_tuned_model_is_shown_beside_what_it_began_with(run, tuning, tmp_path, caplog):
    out = tmp_path / "my tuned"
    with caplog.at_level("INFO"):
        run.main(tuning(out))
    results = json.loads((out / "results.json").read_text())
    own, kept = results["before_after"]
    assert (own["data"], own["split"], own["kept"], own["images"]) == (
        "ucm",
        "validation",
        False,
        3,
    )
    assert (kept["data"], kept["split"], kept["kept"], kept["images"]) == ("rsicd", "test", True, 3)
    assert "once" in kept["scored"] and set(kept["before"]) == set(kept["after"])
    assert own["after"]["mR"] == results["validation"][0]["mR"]
    assert "Before and after" in (out / "README.md").read_text()
    assert (out / "report.html").read_text().count("<svg") == 1
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1].split(":")[0] in ("Better than the base", "NOT better than the base")
    assert any(line.startswith("  rsctir push --model '") for line in lines[-3:])
    assert any(line.startswith("Epoch 2 of 2: validation mR") and "(base" in line for line in lines)


@pytest.mark.slow
def test_rasters_of_more_bands_and_bits_go_all_the_way(run, tuning, tmp_path, caplog):
    data = tmp_path / "deep"
    data.mkdir()
    lines = ["file_name,caption"]
    for number in range(8):
        values = np.random.default_rng(number).integers(300, 4000, (4, 40, 40))
        write(data / f"{number}.tif", values.astype(np.uint16))
        lines.append(f"{number}.tif,{miniature.sentences(number)[0]}")
    (data / "captions.csv").write_text("\n".join(lines))
    with caplog.at_level("INFO"):
        for flag in ("true", "false"):
            own = {"benchmark": "", "data": data, "keep_data": "{}", "dry_run": flag}
            run.main(tuning(tmp_path / "out", **own))
    assert "deep, read as: 0.tif, 40 x 40 px: “Some boats" in caplog.text
    assert "<img" in (tmp_path / "out" / "report.html").read_text()
    held = json.loads((tmp_path / "out" / "results.json").read_text())["validation"][0]["images"]
    assert len(read_captioned(tmp_path / "out" / "_held_out").splits["train"]) == held > 0
    assert f"--data {tmp_path}/out/_held_out" in caplog.text


@pytest.mark.slow
def test_a_dry_run_says_what_a_run_would_do_and_leaves_no_trace(run, tuning, tmp_path, caplog):
    out = tmp_path / "out"
    with caplog.at_level("INFO"):
        run.main(tuning(out, dry_run="true"))
    said = caplog.text
    assert not out.exists()
    assert "ucm, training: 6 pictures with" in said and said.count("ucm, read as: ") == 3
    assert "32 x 32 px: “" in said and "Leakage check over" in said
    assert "Steps: 4 at most, 2 epochs of 2, with up to 3 pictures" in said
    assert "Time: at most about" in said and "2 validations" in said
