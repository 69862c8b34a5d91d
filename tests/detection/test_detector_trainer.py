"""The detector's Trainer: resumed runs equal uninterrupted ones, and frozen parts stay."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import set_seed

from rsctir_hf.detection.boxed_sets import DetectorData
from rsctir_hf.detection.detector_args import DetectorModelArguments, DetectorTrainingArguments
from rsctir_hf.detection.detector_trainer import (
    BoxedCollator,
    DetectorTrainer,
    build_detector,
    label_of,
)
from rsctir_hf.errors import RecipeError
from tests.boxed import CLASSES, boxed_picture
from tests.tiny_training import QUICK

NET = "detector.backbone.net"
TINY = DetectorModelArguments(
    backbone="test_efficientnet",
    image_weights="none",
    pyramid_channels=32,
    head_convs=1,
    picture_side=64,
)


def make_trainer(folder, **options):
    set_seed(0)
    model, processor = build_detector(TINY, CLASSES)
    defaults = QUICK | {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 4,
        "eval_strategy": "no",
        "save_steps": 1,
        "learning_rate": 1e-3,
        "crop_side": 64,
        "frozen_epochs": {NET: 1, f"{NET}.conv_stem": -1},
        "dataloader_pin_memory": False,
    }
    args = DetectorTrainingArguments(output_dir=str(folder), **{**defaults, **options})
    pictures = [boxed_picture(number) for number in range(4)]
    data = DetectorData(CLASSES, pictures, pictures, {"rsod": len(pictures)})
    return DetectorTrainer(model, args, processor=processor, data=data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer = make_trainer(folder)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    return trainer, before, folder


def test_a_resumed_run_equals_an_uninterrupted_one(whole):
    trainer, _, folder = whole
    resumed = make_trainer(folder / "again")
    resumed.train(
        resume_from_checkpoint=str(folder / "_checkpoints" / "checkpoint-1")
    )  # amid the first epoch
    assert resumed.state.global_step == trainer.state.global_step == 4
    expected = trainer.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert value.equal(expected[name]), name


def test_frozen_parts_and_statistics_stay_and_the_rest_learns(whole):
    trainer, before, _ = whole
    after = trainer.model.state_dict()
    assert after[f"{NET}.conv_stem.weight"].equal(before[f"{NET}.conv_stem.weight"])
    changed = {name for name in after if not after[name].equal(before[name])}
    assert any(name.startswith(f"{NET}.blocks.2") for name in changed), "thawed after one epoch"
    assert any("head.regression_head" in name for name in changed)
    assert not any("running_mean" in name for name in changed)


def test_evaluation_names_every_class_and_a_mean(whole):
    metrics = {name: n for name, n in whole[0].evaluate().items() if name != "epoch"}
    assert set(metrics) == {"eval_mAP50", *(f"eval_AP50_{name}" for name in CLASSES)}
    assert all(0 <= value <= 100 for value in metrics.values())


def test_the_finished_folder_holds_half_precision_and_runs_in_full(whole, tmp_path):
    trainer, _, _ = whole
    trainer.args.output_dir = str(tmp_path)
    trainer.save_finished()
    weights = load_file(tmp_path / "model.safetensors")
    assert all(value.dtype != torch.float32 for value in weights.values())
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"
    assert (tmp_path / "preprocessor_config.json").is_file()
    assert not list(tmp_path.glob("*.bin"))


def test_a_batch_has_normalised_pixels_and_labels_as_fractions():
    _, processor = build_detector(TINY, CLASSES)
    pictures = [boxed_picture(0), boxed_picture(1)]
    batch = BoxedCollator(processor)(pictures)
    assert batch["pixel_values"].shape == (2, 3, 64, 64)
    left, top, right, bottom = pictures[0].boxes[0].astype(int)
    inside = batch["pixel_values"][0, 0, top:bottom, left:right]
    assert inside.mean().item() == pytest.approx(250 / 255 * 2 - 1, abs=0.02)
    label = label_of(pictures[1])
    centre = (pictures[1].boxes[0, :2] + pictures[1].boxes[0, 2:]) / 2
    assert label["boxes"][0, :2].tolist() == pytest.approx((centre / 64).tolist())
    assert label["boxes"][0, 2:].tolist() == pytest.approx([24 / 64, 24 / 64])


@pytest.mark.parametrize(
    "options", [{"crop_side": 50}, {"crop_scales": [2.0, 1.0]}, {"crop_scales": [1.0]}]
)
def test_crops_that_cannot_be_cut_are_refused(options, tmp_path):
    with pytest.raises(RecipeError, match=next(iter(options))):
        DetectorTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)
