"""The speed comparison: both loops do the same steps on the same batches, in turn."""

import json
import os

import pytest
import torch
import yaml

from benchmarks import training_speed
from benchmarks.training_speed import BareLoop, PreparedTrainer
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.sets import TrainingData
from rsctir_hf.training.start import build_model
from tests import miniature

RECIPE = {
    "benchmark": "ucm",
    "family": "cmpagl",
    "image_weights": "none",
    "text_weights": "none",
    "max_tokens": 12,
    "per_device_train_batch_size": 3,
    "learning_rate": 1.0e-2,
    "lr_scheduler_type": "constant",
    "matching_weight": 0.0,
    "use_cpu": True,
    "frozen_epochs": {"text_model": 1, "image_model.patch_embed": -1},
    "average_decay": 0.0,  # the bare loop has no average to end with
    "config": {
        "image_size": 32,
        "embed_dim": 8,
        "depths": [1],
        "num_heads": [2],
        "window_size": 4,
        "projection_dim": 8,
        "projection_dropout": 0.0,
        "drop_path_rate": 0.0,
        "fusion_layers": 1,
        "text_config": {
            "vocab_size": 30522,
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
    },
}


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(RECIPE))
    return file


@pytest.fixture
def trainer(recipe, tmp_path):
    """A Trainer of two steps on two prepared batches, everything random switched off."""
    flags = [f"--output_dir={tmp_path}", "--max_steps=2", "--save_strategy=no", "--report_to=none"]
    model_args, _, args = parse_recipe([str(recipe), *flags, "--disable_tqdm=true"])
    rows = [
        {"image": miniature.draw_picture(number), "captions": miniature.sentences(number)}
        for number in range(6)
    ]
    encoder = build_model(model_args, [])
    data = TrainingData({"ucm": rows}, {"ucm": rows})
    trainer = PreparedTrainer(encoder, args, data=data)
    trainer.prepared = list(trainer.get_train_dataloader())
    return trainer


@pytest.mark.slow
def test_the_bare_loop_ends_with_the_weights_the_trainer_ends_with(trainer):
    bare = BareLoop(trainer, trainer.prepared, 2)
    before = {name: value.clone() for name, value in bare.model.named_parameters()}
    trainer.add_callback(bare)
    trainer.train()
    moved = set()
    for (name, mine), theirs in zip(
        bare.model.named_parameters(), trainer.model.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4, msg=name)
        if not torch.equal(mine, before[name]):
            moved.add(name.split(".")[0])
    assert {"image_model", "logit_scale"} <= moved


def test_blocks_alternate_and_the_clock_of_one_stops_while_the_other_runs(trainer, monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(training_speed.time, "perf_counter", lambda: next(now))
    bare = BareLoop(trainer, trainer.prepared, 2)
    order = []
    bare.step = lambda batch: order.append("bare")
    for step in range(1, 5):
        order.append("trainer")
        trainer.state.global_step = step
        bare.on_step_begin(trainer.args, trainer.state, trainer.control)
        bare.on_step_end(trainer.args, trainer.state, trainer.control)
    assert order == ["trainer"] * 2 + ["bare"] * 2 + ["trainer"] * 2 + ["bare"] * 2
    # Readings 0 | 1, 2, 3 | 4, 5, 6: each block lies between two neighbouring ones.
    assert (bare.trainer_seconds, bare.bare_seconds) == ([1, 1], [1, 1])


@pytest.mark.slow
def test_a_measurement_covers_both_stages_with_and_without_the_loader(
    recipe, tmp_path, monkeypatch
):
    data = miniature.write_imagefolder(tmp_path / "data")
    file = tmp_path / "speed.json"
    kept = []  # what is asked for in this process; the new ones are not started
    monkeypatch.setattr(training_speed, "keep_freed_memory", lambda: kept.append("kept"))
    monkeypatch.setattr(training_speed, "in_new_process", lambda function, *given: function(*given))
    real = training_speed.measure
    monkeypatch.setattr(
        training_speed, "measure", lambda *a, **k: kept.append("measure") or real(*a, **k)
    )
    sampled = [str(recipe), "--data", str(data), "--block", "1", "--blocks", "2"]
    training_speed.main([*sampled, "--output", str(file)])
    found = json.loads(file.read_text())
    assert list(found["loops"]) == [
        f"{stage}, {batches}"
        for stage in ("frozen", "thawed")
        for batches in ("prepared batches", "own loader")
    ]
    for loop in found["loops"].values():
        assert len(loop["ratios"]) == 2
        assert min(loop["ratios"]) <= loop["ratio"] <= max(loop["ratios"])
    assert found["loader"]["num_workers"] == 0
    assert set(found["loader"]["share_of_bare_step"]) == {"frozen", "thawed"}
    assert found["settings"]["batch_size"] == 3
    # Three of the four settings keep it, each in two processes; then this one.
    assert kept == ["kept"] * 6 + ["kept", "measure"]
    for stage in ("frozen", "thawed"):
        assert list(found["compared"][stage]) == list(training_speed.SETTINGS)
        for setting in found["compared"][stage].values():
            assert len(setting["seconds_per_step"]) == 2


def test_settings_are_compared_by_the_median_over_turns(monkeypatch):
    order = []
    names = {setting: name for name, setting in training_speed.SETTINGS.items()}
    seconds = {
        "float32": iter((4.0, 6.0)),
        "float32_memory_given_back": iter((8.0, 6.0)),
        "bfloat16": iter((2.0, 6.0)),
        "bfloat16_depthwise_too": iter((4.0, 12.0)),
    }

    def run(function, recipe, data, steps, setting):
        assert (function, recipe, data, steps) == (training_speed.bare_seconds, "recipe", "d", 4)
        order.append(names[setting])
        return {"frozen": next(seconds[names[setting]])}

    monkeypatch.setattr(training_speed, "in_new_process", run)
    found = training_speed.compare_settings("recipe", "d", steps=4)
    assert order == list(training_speed.SETTINGS) * 2
    assert {name: each["speed"] for name, each in found["frozen"].items()} == {
        "float32": 1.0,
        "float32_memory_given_back": 0.75,  # 4 / 8 and 6 / 6: the median of two is their mean
        "bfloat16": 1.5,
        "bfloat16_depthwise_too": 0.75,
    }
    assert found["frozen"]["bfloat16"]["seconds_per_step"] == [2.0, 6.0]


@pytest.mark.slow
def test_a_process_runs_in_its_setting(recipe, tmp_path, monkeypatch):
    data = miniature.write_imagefolder(tmp_path / "data")
    seen = set()

    def loss(self, model, inputs, **_):
        seen.add(torch.is_autocast_enabled("cpu"))
        return next(model.parameters()).sum() + model.logit_scale

    monkeypatch.setattr(training_speed.RetrievalTrainer, "compute_loss", loss)
    asked = []
    monkeypatch.setattr(training_speed, "keep_depthwise_precise", asked.append)
    for name in ("float32", "bfloat16"):
        monkeypatch.setattr(training_speed, "keep_freed_memory", lambda: None)
        training_speed.bare_seconds(recipe, str(data), 1, training_speed.SETTINGS[name])
        assert (seen, len(asked)) == (({False}, 0) if name == "float32" else ({True}, 1))
        seen.clear()


@pytest.mark.slow
def test_a_new_process_is_another_one_each_time():
    found = {training_speed.in_new_process(os.getpid) for _ in range(2)}
    assert len(found | {os.getpid()}) == 3


@pytest.mark.slow
def test_the_bare_loop_trains_what_the_stage_trains(trainer):
    bare = BareLoop(trainer, trainer.prepared, 1)
    trainer.add_callback(bare)
    trainer.train()
    frozen = {name for name, value in bare.model.named_parameters() if not value.requires_grad}
    assert {".".join(name.split(".")[:2]) for name in frozen} == {
        *("image_model.patch_embed", "text_model.embeddings", "text_model.encoder"),
    }
