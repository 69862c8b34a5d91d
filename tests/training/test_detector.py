"""The detector's story: recipe, training, a folder that transformers loads, and one score on test.

Miniature data in RSOD's layout; the real one where it is at hand.
"""

import importlib.util
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from benchmarks import detector_map
from drawn_scenes.build import build_gallery
from drawn_scenes.gallery import CATEGORIES
from rsctir_hf.detection.boxed_sets import (
    DRAWN_NAMES,
    DRAWN_TYPES,
    hold_out_by_class,
    load_detector_data,
    read_split,
)
from rsctir_hf.detection.detection_evaluation import detect
from rsctir_hf.detection.detector_args import parse_detector_recipe
from rsctir_hf.errors import DataLayoutError, RecipeError, RsctirError
from rsctir_hf.sample import sample_folder
from tests.boxed import boxed_picture, write_rsod
from tests.conftest import ROOT

RECIPE = ROOT / "training" / "recipes" / "detector" / "rsod.yaml"
TINY = {
    "image_weights": "none",
    "backbone": "test_efficientnet",
    "pyramid_channels": "32",
    "picture_side": "64",
    "crop_side": "64",
    "drawn_scenes": "0",
    "drawn_others": "0",
    "repeats": "1",
    "max_steps": "2",
    "eval_steps": "1",
    "save_steps": "1",
    "per_device_train_batch_size": "2",
    "report_to": "none",
    "use_cpu": "true",
    "bf16": "false",
}


def load_script():
    place = ROOT / "training" / "detector.py"
    spec = importlib.util.spec_from_file_location("training_detector", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rsod(tmp_path_factory.mktemp("rsod") / "rsod", {"train": 12, "test": 4})


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run") / "out"
    flags = [str(RECIPE), "--data", str(data), "--output_dir", str(folder)]
    for key, value in TINY.items():
        flags += [f"--{key}", value]
    load_script().main(flags)
    return folder


@pytest.mark.slow
def test_the_folder_holds_model_processor_record_and_recipe(trained):
    record = json.loads((trained / "results.json").read_text())
    (report,) = record["validation"]
    assert report["split"] == "validation" and report["pictures"] == 4 and report["seed"] == 0
    assert "mAP50" in report["metrics"] and "AP50_oil tank" in report["metrics"]
    assert record["training_sets"] == {"rsod": 8, "drawn": 0}
    assert record["git_revision"] and len(record["weights"]) == 16
    assert any("eval_mAP50" in entry for entry in record["log"])
    recipe = yaml.safe_load((trained / "recipe.yaml").read_text())
    assert recipe["backbone"] == "test_efficientnet" and recipe["crop_side"] == 64


@pytest.mark.slow
def test_the_loaded_detector_scores_as_recorded_and_predicts(trained, data):
    model, processor = detector_map.load_detector(trained)
    assert list(model.config.id2label.values())[:2] == ["aircraft", "oil tank"]
    images = [each.image for each in read_split(data, "test")]
    found = list(detect(model, processor, images, batch_size=3))
    assert len(found) == 4
    assert all(np.isfinite(each.boxes).all() for each in found)
    _, validation = hold_out_by_class(read_split(data, "train"), share=0.15)
    recorded = json.loads((trained / "results.json").read_text())["validation"][0]["metrics"]
    scores = detector_map.evaluate_detection(model, processor, validation, batch_size=4)
    assert scores == pytest.approx(recorded, abs=1e-3)


@pytest.mark.slow
def test_a_model_in_training_is_given_back_as_it_was(trained):
    model, processor = detector_map.load_detector(trained)
    model.train()
    held = next(module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))
    held.eval()
    found = detect(model, processor, [boxed_picture(0).image] * 2, batch_size=1)
    next(found)
    found.close()  # left in the middle
    assert model.training and not held.training


@pytest.mark.slow
def test_push_to_hub_uploads_the_finished_folder(data, tmp_path, monkeypatch):
    uploads = []

    class Api:
        def create_repo(self, repo_id, **options):
            return type("Url", (), {"repo_id": repo_id})()

        def upload_folder(self, *, folder_path, **options):
            uploads.append({path.name for path in Path(folder_path).iterdir()})

    monkeypatch.setattr("transformers.trainer.hf_api", Api)
    flags = [str(RECIPE), "--data", str(data), "--output_dir", str(tmp_path / "out")]
    flags += ["--push_to_hub", "true", "--hub_model_id", "org/mini"]
    for key, value in TINY.items():
        flags += [f"--{key}", value]
    load_script().main(flags)
    assert {"README.md", "model.safetensors", "results.json", "recipe.yaml"} <= uploads[-1]


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.mark.slow
def test_test_is_scored_once_after_the_record_is_committed(trained, data, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "README.md").write_text("# Results\n\n| a |\n| - |\n")
    git(tmp_path, "init")
    scoring = detector_map.DetectorScoring(trained, "tiny", "rsod", "test", tmp_path)
    pictures = read_split(data, "test")
    with pytest.raises(DataLayoutError, match="is missing"):
        detector_map.score(scoring, pictures)
    detector_map.write_run_record(scoring)
    with pytest.raises(RsctirError, match="not in the last commit"):
        detector_map.score(scoring, pictures)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "chosen")
    report = detector_map.score(scoring, pictures)
    assert json.loads(scoring.map_file.read_text()) == report
    log = (tmp_path / "results" / "README.md").read_text().splitlines()
    assert "`tiny` (seed 0)" in log[-1] and "RSOD test, AP50" in log[-1]
    with pytest.raises(RsctirError, match="scored on RSOD test before"):
        detector_map.score(scoring, pictures)


def test_the_same_share_of_every_class_is_held_out():
    pictures = [boxed_picture(number) for number in range(40)]
    train, held = hold_out_by_class(pictures, share=0.2)
    assert len(train) == 32
    assert np.bincount([each.labels[0] for each in held]).tolist() == [2, 2, 2, 2]
    assert not {each.name for each in train} & {each.name for each in held}
    again = hold_out_by_class(pictures, share=0.2)[1]
    assert [each.name for each in held] == [each.name for each in again]


def test_drawn_scenes_teach_the_classes_and_are_not_those_of_the_gallery(data, tmp_path):
    flags = ["--data", str(data), "--drawn_scenes", "1", "--output_dir", str(tmp_path)]
    _, arguments, _ = parse_detector_recipe([*flags, "--use_cpu", "true"])
    found = load_detector_data(arguments, folder=tmp_path, draw=build_gallery)
    drawn = found.train[found.counts["rsod"] :]
    assert found.counts["drawn"] == len(drawn) == 4
    assert set(np.concatenate([each.labels for each in drawn]).tolist()) == {0, 1, 2, 3}
    assert set(DRAWN_TYPES) <= set(CATEGORIES)
    shipped = {path.name for path in sample_folder().glob("*.jpg")}
    assert not shipped & {each.name for each in drawn}
    assert set(DRAWN_NAMES.values()) == set(found.classes)


def test_missing_data_and_unknown_keys_are_refused(tmp_path):
    with pytest.raises(DataLayoutError, match=r"classes.json is missing"):
        read_split(tmp_path, "train")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("benchmark: ucm\n")
    with pytest.raises(RecipeError, match="unknown keys"):
        parse_detector_recipe([str(recipe)])


@pytest.mark.slow
def test_the_shipped_recipe_fits_the_real_data(development_data):
    _, arguments, training = parse_detector_recipe([str(RECIPE), "--drawn_scenes", "0"])
    pictures = read_split(development_data / "rsod", "train")
    train, held = hold_out_by_class(pictures, share=arguments.validation_share)
    assert (len(train), len(held)) == (261, 45)
    assert training.metric_for_best_model == "mAP50"
    for each in pictures:
        assert (each.boxes[:, 2:] <= np.array(each.image.size) + 1).all()
