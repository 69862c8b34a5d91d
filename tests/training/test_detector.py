"""The detector's story: recipe, training, a folder that transformers loads, one score on test."""

import json
import subprocess

import numpy as np
import pytest
import torch
import yaml

from benchmarks import detector_map
from rsctir_hf.detection.average_precision import detect
from rsctir_hf.detection.boxed_sets import (
    hold_out_by_class,
    read_split,
)
from rsctir_hf.errors import DataLayoutError, RsctirError
from tests.boxed import boxed_picture, write_rsod
from tests.conftest import ROOT
from tests.tiny_recipes import TINY_DETECTOR, flags_of, load_door

RECIPE = ROOT / "training" / "recipes" / "detector" / "rsod.yaml"


def arguments_for(data, output, **changes):
    options = TINY_DETECTOR | {"data": data, "output_dir": output} | changes
    return [str(RECIPE), *flags_of(options)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rsod(tmp_path_factory.mktemp("rsod") / "rsod", {"train": 12, "test": 4})


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run") / "out"
    load_door("detector").main(arguments_for(data, folder))
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
def test_push_to_hub_uploads_the_finished_folder(data, tmp_path, uploads):
    pushing = {"push_to_hub": "true", "hub_model_id": "org/mini"}
    load_door("detector").main(arguments_for(data, tmp_path / "out", **pushing))
    ((_, files),) = uploads
    assert {"README.md", "model.safetensors", "results.json", "recipe.yaml"} <= files


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
