"""Interrupted training: how it ends, where it goes on, and that nothing shows of it later."""

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.training.resumption import (
    checkpoint_fault,
    checkpoints_of,
    resume_point,
    telling_how_to_go_on,
)
from tests.conftest import ROOT
from tests.miniature import write_karpathy
from tests.tiny_recipes import TINY, TINY_CONFIG, flags_of
from tests.tiny_training import make_trainer


def write_checkpoint(folder, step):
    path = folder / "_checkpoints" / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"weight": torch.zeros(1000)}, path / "model.safetensors")
    save_file({"weight": torch.zeros(1000)}, path / "average.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.zeros(100)}, path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_whole_checkpoint_has_no_fault(tmp_path):
    assert checkpoint_fault(write_checkpoint(tmp_path, 2)) is None


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "average.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
    ],
)
@pytest.mark.parametrize("how", ["cut short", "empty"])
def test_a_checkpoint_with_a_file_cut_short_is_passed_over(tmp_path, caplog, name, how):
    older, newer = write_checkpoint(tmp_path, 9), write_checkpoint(tmp_path, 10)
    if how == "empty":
        (newer / name).write_bytes(b"")
    else:
        cut_short(newer / name)
    with caplog.at_level(logging.INFO, "rsctir_hf.training.resumption"):
        assert resume_point(tmp_path, "true") == str(older)
    warning, told = (record.getMessage() for record in caplog.records)
    assert warning.startswith(f"{newer} is passed over: ") and "cut short" in warning
    assert told == f"Training goes on from {older}"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("trainer_state.json", "trainer_state.json is missing"),
        ("optimizer.pt", "optimizer.pt is missing"),
        ("scheduler.pt", "scheduler.pt is missing"),
        ("rng_state.pth", "rng_state.pth is missing"),
    ],
)
def test_a_checkpoint_that_lacks_a_file_says_which(tmp_path, name, fault):
    checkpoint = write_checkpoint(tmp_path, 2)
    (checkpoint / name).unlink()
    assert checkpoint_fault(checkpoint) == fault


def test_a_checkpoint_without_weights_says_so(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 2)
    for file in checkpoint.glob("*.safetensors"):
        file.unlink()
    assert checkpoint_fault(checkpoint) == "it holds no weights"


def test_checkpoints_are_ordered_by_their_step_and_nothing_else_is_one(tmp_path):
    for step in (9, 10, 100):
        write_checkpoint(tmp_path, step)
    (tmp_path / "_checkpoints" / "checkpoint-last").mkdir()
    (tmp_path / "_checkpoints" / "checkpoint-200").write_text("a file")
    assert [path.name for path in checkpoints_of(tmp_path)] == [
        f"checkpoint-{step}" for step in (100, 10, 9)
    ]
    assert checkpoints_of(tmp_path / "absent") == []


@pytest.mark.parametrize("asked", [True, "true", "True"])
def test_training_begins_anew_where_nothing_whole_is_left(tmp_path, caplog, asked):
    cut_short(write_checkpoint(tmp_path, 2) / "optimizer.pt")
    assert resume_point(tmp_path, asked) is None
    assert f"{tmp_path} holds no whole checkpoint; training begins anew" in caplog.text


@pytest.mark.parametrize("asked", [None, False, "false", ""])
def test_nothing_is_resumed_unless_asked_for(tmp_path, asked):
    write_checkpoint(tmp_path, 2)
    assert resume_point(tmp_path, asked) is None


def test_a_checkpoint_that_was_named_must_be_whole(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 2)
    assert resume_point(tmp_path, str(checkpoint)) == str(checkpoint)
    cut_short(checkpoint / "model.safetensors")
    with pytest.raises(ModelLoadError, match=r"checkpoint-2 is no whole checkpoint: .*say true"):
        resume_point(tmp_path, str(checkpoint))
    with pytest.raises(ModelLoadError, match=r"trainer_state\.json is missing"):
        resume_point(tmp_path, str(tmp_path / "elsewhere"))


class Interrupt(TrainerCallback):
    """Presses Ctrl-C in a step."""

    def __init__(self, step, times=1):
        self.step, self.times = step, times

    def on_step_begin(self, args, state, control, **kwargs):
        for _ in range(self.times if state.global_step == self.step - 1 else 0):
            signal.raise_signal(signal.SIGINT)


BEST = {"save_strategy": "epoch", "save_total_limit": 1, "load_best_model_at_end": True}
BEST |= {"metric_for_best_model": "mR", "greater_is_better": True, "num_train_epochs": 4}


def interrupted_trainer(folder, rows, processor, step, times=1):
    callbacks = [Interrupt(step, times)]
    return make_trainer(folder, rows, processor, callbacks=callbacks, **BEST)


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", [7, 9]
)  # within the third epoch of three steps, and in its evaluation
def test_ctrl_c_keeps_the_best_so_far_and_a_resumed_run_is_as_if_nothing_had_been(
    step, tmp_path, rows, processor
):
    whole = make_trainer(tmp_path / "whole", rows, processor, **BEST)
    whole.train()
    if step == 9:
        cut = make_trainer(tmp_path / "cut", rows, processor, **BEST)
        pressed = iter([False, False, True])
        score = cut.score

        def interrupted_score(rows):
            if next(pressed, False):
                signal.raise_signal(signal.SIGINT)
            return score(rows)

        cut.score = interrupted_score
    else:
        cut = interrupted_trainer(tmp_path / "cut", rows, processor, step)
    cut.train()
    assert cut.interrupted and cut.state.global_step == step
    scores = [score for _, _, score in cut.evaluations]
    assert len(scores) == step // 3 and cut.evaluations == whole.evaluations[: step // 3]
    assert cut.evaluate()["eval_mR"] == pytest.approx(max(scores))
    assert cut.args.save_total_limit == 1  # as the recipe said
    assert checkpoints_of(tmp_path / "cut")[0].name == f"checkpoint-{step}"
    resumed = make_trainer(tmp_path / "cut", rows, processor, **BEST)
    resumed.train(resume_from_checkpoint="true")
    assert not resumed.interrupted and resumed.evaluations == whole.evaluations


@pytest.mark.parametrize(("step", "times", "said"), [(2, 1, "at step 2 of 12, before"), (5, 2, "")])
def test_ctrl_c_before_an_evaluation_or_twice_leaves_no_model(
    step, times, said, tmp_path, rows, processor, capfd
):
    before = signal.getsignal(signal.SIGINT)  # ignored in a shell's background
    with pytest.raises(KeyboardInterrupt, match=said or None):
        interrupted_trainer(tmp_path, rows, processor, step, times).train()
    assert bool(checkpoints_of(tmp_path)) and not list(tmp_path.glob("*.safetensors"))
    assert "Ctrl-C once more" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_may_write_over_another_leaves_none_of_its_checkpoints(
    tmp_path, rows, processor
):
    write_checkpoint(tmp_path, 500)
    make_trainer(tmp_path, rows, processor, max_steps=2, overwrite_output_dir=True).train()
    assert [path.name for path in checkpoints_of(tmp_path)] == ["checkpoint-2"]


def test_ctrl_c_ends_the_program_with_the_command_that_goes_on(capsys):
    command = ["python", "training/run.py", "my recipe.yaml", "--config", "{a: 1}"]
    with pytest.raises(SystemExit) as end, telling_how_to_go_on(command):
        raise KeyboardInterrupt("Stopped.")
    assert end.value.code == 130
    *_, said, again = capsys.readouterr().err.splitlines()
    assert said == "Stopped. To go on:"
    assert shlex.split(again) == [*command, "--resume_from_checkpoint", "true"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGTERM, "stopped by SIGTERM: "), (signal.SIGINT, "Stopped by Ctrl-C")],
)
def test_a_training_that_is_told_to_end_leaves_what_the_next_goes_on_from(tmp_path, number, said):
    data = write_karpathy(tmp_path / "data", {"train": 6, "val": 3, "test": 3})
    given = {
        **TINY,
        "config": TINY_CONFIG["cmpagl"],
        "num_train_epochs": "400",
        "eval_strategy": "no",
        "load_best_model_at_end": "false",
        "early_stopping_epochs": "0",
        "data": str(data),
        "output_dir": str(tmp_path / "out"),
    }
    recipe = ROOT / "training" / "recipes" / "cmpagl_ucm.yaml"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "training" / "run.py"), str(recipe), *flags_of(given)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    until = time.monotonic() + 120
    while not checkpoints_of(tmp_path / "out") and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert [line for line in errors.splitlines() if line.startswith(said)]
    assert "Traceback" not in errors
    point = resume_point(tmp_path / "out", "true")
    assert point is not None and os.path.isdir(point)
    assert point == str(checkpoints_of(tmp_path / "out")[0]), "the checkpoint made at the end"
