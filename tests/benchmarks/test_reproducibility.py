"""The same seed gives the same file in another process, and another seed another one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from reproducibility import (
    AGAIN,
    CASES,
    OTHER_SEED,
    ROOT,
    TRAININGS,
    as_promised,
    compare,
    differences,
    write_data,
)
from safetensors.numpy import save_file

from tests.tiny_recipes import TINY, TINY_CONFIG, TINY_DETECTOR

SMALL = {
    "CMPAGL-style": TINY | {"config": TINY_CONFIG["cmpagl"]},
    "GaLR": TINY | {"config": TINY_CONFIG["galr"], "text_weights": "none"},
    "detector": TINY_DETECTOR,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


def compared(name, data, folder, *cases):
    """Train a tiny model of that kind once, and once more for each case."""
    small = {**SMALL[name], "num_train_epochs": "1", "max_steps": "2", "eval_steps": "2"}
    model = TRAININGS[name]
    model = replace(model, flags={**model.flags, **small, "save_steps": "2"})
    return compare(model, folder, data=data, cases={case: CASES[case] for case in cases})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GaLR", "detector"])
def test_the_same_seed_gives_the_same_file_in_another_process(name, data, tmp_path):
    (row,) = compared(name, data, tmp_path, AGAIN).values()
    assert row == {
        "same_file": True,
        "largest_weight_difference": 0,
        "largest_loss_difference": 0,
    }


@pytest.mark.slow
def test_another_seed_gives_another_file(data, tmp_path):
    report = compared("CMPAGL-style", data, tmp_path, AGAIN, OTHER_SEED)
    assert as_promised(report), report
    assert report[OTHER_SEED]["largest_weight_difference"] > 0
    assert not as_promised({AGAIN: report[OTHER_SEED], OTHER_SEED: report[OTHER_SEED]})
    assert not as_promised({AGAIN: report[AGAIN], OTHER_SEED: report[AGAIN]})


def test_the_readme_says_what_was_measured():
    found = json.loads((ROOT / "results" / "reproducibility.json").read_text())
    text = (ROOT / "training" / "README.md").read_text(encoding="utf-8")
    threads = {name: report["two threads"] for name, report in found["training"].items()}
    weights = {name: row["largest_weight_difference"] for name, row in threads.items()}
    losses = {name: row["largest_loss_difference"] for name, row in threads.items()}
    for worst, said in (
        (max(weights["CMPAGL-style"], weights["GaLR"]), 0.0005),
        (weights["detector"], 0.002),
        (max(losses["CMPAGL-style"], losses["GaLR"]), 0.000008),
        (losses["detector"], 0.0015),
    ):
        assert 0.9 * said < worst <= said
        assert f"{said:.6f}".rstrip("0") in text
    assert all(as_promised(report) for report in found["training"].values())
    assert all(report["two workers"]["same_file"] for report in found["training"].values())
    vectors = [row for report in found["embedding"].values() for row in report.values()]
    assert max(row["largest_difference"] for row in vectors) < 1e-7


def test_differences_are_the_largest_of_all_weights_and_steps(tmp_path):
    for name, weight, loss in (("a", 1.0, 0.5), ("b", 1.25, 0.75)):
        (tmp_path / name).mkdir()
        weights = {"w": np.array([0.0, weight], np.float16), "same": np.zeros(2, np.float16)}
        save_file(weights, tmp_path / name / "model.safetensors")
        log = [{"loss": 2.0}, {"eval_mR": 3.0}, {"loss": loss}]
        (tmp_path / name / "results.json").write_text(json.dumps({"log": log}))
    assert differences(tmp_path / "a", tmp_path / "b") == {
        "same_file": False,
        "largest_weight_difference": 0.25,
        "largest_loss_difference": 0.25,
    }
    assert differences(tmp_path / "a", tmp_path / "a")["same_file"]
