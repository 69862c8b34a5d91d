"""Resumed runs equal uninterrupted ones; freezing, learning rates and averaging by module."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers.integrations import TensorBoardCallback

from rsctir_hf.errors import RecipeError
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.training.model_parts import named_parts
from rsctir_hf.training.resumption import checkpoint_fault
from rsctir_hf.training.staged import AVERAGE_FILE, WeightAverage, apply_freezing
from tests.tiny_training import StopAt, curve, make_trainer, stream_of


@pytest.mark.slow
@pytest.mark.parametrize("sets", [1, 2, "stream"])
@pytest.mark.parametrize("step", [4, 6])  # within an epoch of three steps, and at its end
def test_a_run_resumed_from_a_checkpoint_equals_the_uninterrupted_one(
    step, sets, tmp_path, rows, processor
):
    if sets == 2:  # batches of 4, 4 and 2 rows in an order drawn for each epoch
        rows = {"ucm": rows[:4], "rsicd": rows[4:]}
        validation = {name: part[:3] for name, part in rows.items()}
    else:
        validation = {"ucm": rows[:4]}
        rows = stream_of(len(rows)) if sets == "stream" else rows
    # Both steps lie before the pictures get their own size, the second one directly.
    options = {"validation": validation, "low_resolution": 32, "low_resolution_epochs": 2}
    whole = make_trainer(tmp_path / "whole", rows, processor, **options)
    whole.train()
    make_trainer(tmp_path / "cut", rows, processor, callbacks=[StopAt(step)], **options).train()
    resumed = make_trainer(tmp_path / "cut", rows, processor, **options)
    torch.manual_seed(99)  # whatever state the new process starts in
    resumed.train(
        resume_from_checkpoint=str(tmp_path / "cut" / "_checkpoints" / f"checkpoint-{step}")
    )
    assert curve(resumed)[-3:] == curve(whole)[-3:]
    for (name, left), (_, right) in zip(
        whole.model.named_parameters(), resumed.model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(left, right, msg=name)
    for name, value in whole.average.weights.items():
        torch.testing.assert_close(value, resumed.average.weights[name], msg=name)


@pytest.mark.slow
def test_a_curve_logged_every_few_steps_goes_on_as_if_nothing_had_been(
    tmp_path,
    rows,
    processor,
):
    # Logs at 5 and 10, checkpoints at 4 and 8: the mean over steps 1 to 5 would be cut at 4.
    options = {"logging_steps": 5, "save_steps": 4, "num_train_epochs": 4}
    whole = make_trainer(tmp_path / "whole", rows, processor, **options)
    whole.train()
    cut = make_trainer(tmp_path / "cut", rows, processor, callbacks=[StopAt(8)], **options)
    cut.train()
    (tmp_path / "cut" / "_checkpoints" / "checkpoint-8" / "trainer_state.json").unlink()
    resumed = make_trainer(tmp_path / "cut", rows, processor, **options)
    resumed.train(resume_from_checkpoint="true")
    assert curve(resumed) == curve(whole)
    assert weights_fingerprint(resumed.model) == weights_fingerprint(whole.model)


def test_the_average_is_whole_before_the_checkpoint_counts(
    tmp_path,
    rows,
    processor,
    monkeypatch,
):
    trainer = make_trainer(tmp_path, rows, processor, max_steps=2)

    def stop(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "save_beside", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert (
        checkpoint_fault(tmp_path / "_checkpoints" / "checkpoint-2")
        == "trainer_state.json is missing"
    )


@pytest.mark.slow
def test_frozen_modules_do_not_move_until_their_epoch(tmp_path, rows, processor):
    trainer = make_trainer(
        tmp_path, rows, processor, frozen_epochs={"text_model": 2}, callbacks=[StopAt(6)]
    )
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    assert all(
        torch.equal(value, after[name])
        for name, value in before.items()
        if name.startswith("text_model")
    )
    assert not torch.equal(before["text_projection.linear.weight"],
                           after["text_projection.linear.weight"])  # fmt: skip
    trainer = make_trainer(tmp_path / "b", rows, processor, frozen_epochs={"text_model": 2})
    trainer.train()
    name = "text_model.encoder.layer.0.output.dense.weight"
    assert not torch.equal(before[name], dict(trainer.model.named_parameters())[name])


def test_learning_rate_factors_reach_their_modules_and_decay_spares_biases(
    tmp_path, rows, processor
):
    trainer = make_trainer(
        tmp_path, rows, processor, lr_factors={"text_model": 0.1}, weight_decay=0.05
    )
    trainer.create_optimizer()
    names = {id(value): name for name, value in trainer.model.named_parameters()}
    groups = trainer.optimizer.param_groups
    seen = [names[id(value)] for group in groups for value in group["params"]]
    assert sorted(seen) == sorted(names.values())
    for group, value in itertools.chain.from_iterable(
        [(group, value) for value in group["params"]] for group in groups
    ):
        name = names[id(value)]
        assert group["lr"] == pytest.approx(1e-3 if name.startswith("text_model.") else 1e-2)
        spared = "bias" in name or "norm" in name.lower()
        assert group["weight_decay"] == (0.0 if spared else 0.05), name


def test_evaluation_uses_the_average_and_gives_the_weights_back(tmp_path, rows, processor):
    trainer = make_trainer(tmp_path, rows, processor)
    trainer.train()
    averaged = {name: value.clone() for name, value in trainer.model.named_parameters()}
    expected = trainer.evaluate()
    for value in trainer.model.parameters():
        value.data.normal_()
    raw = {name: value.clone() for name, value in trainer.model.named_parameters()}
    assert trainer.evaluate() == expected
    assert all(torch.equal(raw[name], value) for name, value in trainer.model.named_parameters())
    trainer.average = None
    assert trainer.evaluate() != expected
    trainer.model.load_state_dict(averaged, strict=False)
    assert trainer.evaluate() == expected


def test_checkpoints_hold_the_average_in_the_order_it_was_saved(tmp_path, rows, processor):
    trainer = make_trainer(tmp_path, rows, processor)
    wide = [value for value in trainer.model.parameters() if value.ndim == 4 and value.shape[2] > 1]
    assert wide and all(value.is_contiguous(memory_format=torch.channels_last) for value in wide)
    trainer.train()
    assert (tmp_path / "_checkpoints" / "checkpoint-2" / AVERAGE_FILE).is_file()


def test_runs_of_one_process_log_below_their_own_folders(tmp_path, rows, processor, monkeypatch):
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    for name in ("first", "second"):
        trainer = make_trainer(tmp_path / name, rows, processor, report_to="tensorboard")
        (logs,) = logs_of(trainer)
        assert logs.logging_dir == str(tmp_path / name / "_runs")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "elsewhere")
    (logs,) = logs_of(make_trainer(tmp_path / "third", rows, processor, report_to="tensorboard"))
    assert logs.logging_dir == "elsewhere"


def logs_of(trainer):
    callbacks = trainer.callback_handler.callbacks
    return [each for each in callbacks if isinstance(each, TensorBoardCallback)]


def test_best_by_validation_is_loaded_with_its_average(tmp_path, rows, processor):
    trainer = make_trainer(
        tmp_path,
        rows,
        processor,
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="mR",
        greater_is_better=True,
    )
    trainer.train()
    scores = [entry["eval_mR"] for entry in trainer.state.log_history if "eval_mR" in entry]
    assert trainer.best_epoch == 1 + scores.index(max(scores))
    for average in (trainer.average, None):
        trainer.average = average
        assert trainer.evaluate()["eval_mR"] == pytest.approx(max(scores))


def test_a_run_that_loads_no_best_state_ends_with_its_last_average_and_names_no_epoch(
    tmp_path, rows, processor
):
    trainer = make_trainer(tmp_path, rows, processor)
    trainer.train()
    last = [entry["eval_mR"] for entry in trainer.state.log_history if "eval_mR" in entry][-1]
    assert trainer.best_epoch is None
    trainer.average = None
    assert trainer.evaluate()["eval_mR"] == pytest.approx(last)


@pytest.fixture
def layers():
    text = nn.ModuleDict({"embeddings": nn.Linear(2, 2), "encoder": nn.Linear(2, 2)})
    return nn.ModuleDict({"text_model": text, "text_model_head": nn.Linear(2, 1, bias=False)})


def test_the_longest_prefix_decides_what_is_frozen(layers):
    apply_freezing(layers, {"text_model": -1, "text_model.encoder": 1}, epoch=1.0)
    frozen = {name for name, value in layers.named_parameters() if not value.requires_grad}
    assert frozen == {"text_model.embeddings.weight", "text_model.embeddings.bias"}


def test_a_prefix_that_fits_nothing_is_an_error(layers):
    with pytest.raises(RecipeError, match="no_such_part"):
        apply_freezing(layers, {"no_such_part": 1}, epoch=0.0)


def test_towers_are_called_as_each_family_calls_them(layers):
    galr = nn.ModuleDict({"backbone": nn.Linear(1, 1), "text_encoder": nn.GRU(1, 1)})
    said = {"text_tower.encoder": 0.1, "text_tower": 2, "text_model_head": 3}
    assert named_parts(layers, said) == {
        "text_model.encoder": 0.1,
        "text_model": 2,
        "text_model_head": 3,
    }
    assert named_parts(galr, {"image_tower": -1, "text_tower": 1}) == {
        "backbone": -1,
        "text_encoder": 1,
    }
    with pytest.raises(RecipeError, match=r"image_tower.stem: this ModuleDict has none of"):
        named_parts(layers, {"image_tower.stem": 1})


def test_the_neck_is_what_lies_between_tower_and_projection():
    picture_side = {
        "stem": nn.Linear(1, 1),
        "stem_norm": nn.Linear(1, 1),
        "layers": nn.Linear(1, 1),
    }
    cmpagl = nn.ModuleDict({"image_model": nn.ModuleDict(picture_side)})
    assert named_parts(cmpagl, {"image_neck": -1}) == {
        "image_model.stem_norm": -1,
        "image_model.layers": -1,
    }
    del cmpagl["image_model"]["stem"]  # now all of it is tower
    assert named_parts(cmpagl, {"image_neck": -1}) == {}
    galr = nn.ModuleDict(
        {name: nn.Linear(1, 1) for name in ("backbone", "mvsa", "image_projection")}
    )
    assert named_parts(galr, {"image_neck": -1}) == {"mvsa": -1}


def test_the_early_half_of_a_tower_is_what_lies_before_the_middle_of_its_blocks():
    text = nn.ModuleDict({"embeddings": nn.Embedding(2, 2), "encoder": nn.ModuleDict()})
    text["encoder"]["layer"] = nn.ModuleList(nn.Linear(1, 1) for _ in range(3))
    backbone = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.ModuleDict())
    backbone[2]["blocks"] = nn.Sequential(*(nn.Linear(1, 1) for _ in range(5)))
    model = nn.ModuleDict({"text_model": text, "backbone": backbone})
    said = {"image_tower.early_half": -1, "text_tower.early_half": 2}
    assert named_parts(model, said) == {
        "backbone.0": -1,
        "backbone.2.blocks.0": -1,
        "backbone.2.blocks.1": -1,
        "text_model.embeddings": 2,
        "text_model.encoder.layer.0": 2,
    }
    model["text_model"] = nn.GRU(1, 1)
    with pytest.raises(RecipeError, match=r"early_half: text_model is a GRU.*no row of blocks"):
        named_parts(model, said)


def test_the_average_is_the_closed_form_of_its_steps(layers):
    # decay(step) = min(0.5, (1 + step) / (10 + step)): 2/11 at step 1, 3/12 at step 2.
    average = WeightAverage(layers, 0.5)
    weight = layers["text_model_head"].weight
    start = weight[0, 0].item()
    for step, value in ((1, 1.0), (2, 2.0)):
        weight.data.fill_(value)
        average.on_step_end(None, SimpleNamespace(global_step=step), None)
    first = 2 / 11 * start + 9 / 11 * 1.0
    found = average.weights["text_model_head.weight"][0, 0].item()
    assert found == pytest.approx(0.25 * first + 0.75 * 2.0)


def test_training_ends_with_the_average_in_the_model_and_keeps_it(layers):
    average = WeightAverage(layers, 0.5)
    weight = layers["text_model_head"].weight
    start = weight.detach().clone()
    weight.data.fill_(7.0)
    average.on_train_end(None, None, None)
    assert torch.equal(weight, start)
    assert torch.equal(average.weights["text_model_head.weight"], start)
