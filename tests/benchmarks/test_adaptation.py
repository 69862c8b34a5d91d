"""What ``benchmarks/adaptation.py`` runs, and what it makes of its runs."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import adaptation
from benchmarks.adaptation import RECIPE, adapt, measure, summary
from rsctir_hf.training.recipe_files import read_recipe


def run(start, rsicd, ucm, *, way="", minutes=2.0):
    after = {"rsicd": rsicd, "ucm": ucm}
    before = {"rsicd": 10.0, "ucm": 50.0}
    return {"start": start, "way": way, "before": before, "after": after, "minutes": minutes}


@pytest.fixture
def started(monkeypatch):
    """The commands that would be run; each leaves a record as a run does."""
    commands = []

    def start(command, *, cwd, check):
        commands.append(command)
        folder = Path(command[command.index("--output_dir") + 1])
        folder.mkdir(parents=True)
        record = {"training_sets": {"a": 3, "b": 4}, "weights": "new", "git_revision": "0"}
        (folder / "results.json").write_text(json.dumps(record))

    monkeypatch.setattr(adaptation.subprocess, "run", start)
    return commands


def test_runs_of_one_way_become_one_row_of_means_and_gains():
    runs = [run("a", 12.0, 49.5), run("b", 11.0, 50.5, minutes=3.0), run("a", 9.0, 50.0, way="x")]
    both, other = summary(runs)
    # Gains 2 and 1: mean 1.5, least 1, deviation sqrt((0.5 ** 2 + 0.5 ** 2) / 1) = 0.71.
    assert both == {
        **{"way": "", "starts": 2, "minutes": 2.5},
        **{"rsicd_before": 10.0, "rsicd_after": 11.5, "rsicd_gain": 1.5},
        **{"rsicd_least_gain": 1.0, "rsicd_spread": 0.71},
        **{"ucm_before": 50.0, "ucm_after": 50.0, "ucm_gain": 0.0},
        **{"ucm_least_gain": -0.5, "ucm_spread": 0.71},
    }
    assert (other["way"], other["rsicd_gain"], other["rsicd_spread"]) == ("x", -1.0, None)
    assert summary([]) == []


def test_a_run_is_started_as_a_user_starts_it(started, tmp_path):
    way = ["--num_train_epochs", "1"]
    adapt(tmp_path / "start", tmp_path / "seen", seed=2, options=way, folder=tmp_path / "out")
    (command,) = started
    assert command[:3] == [sys.executable, "training/run.py", "training/recipes/adapt.yaml"]
    assert command[3:] == [
        *("--data", str(tmp_path / "seen"), "--initial_model", str(tmp_path / "start")),
        *("--seed", "2", "--output_dir", str(tmp_path / "out"), *way),
    ]
    assert read_recipe(adaptation.ROOT / RECIPE)["without_captions"] is True


def test_a_run_that_is_there_is_not_made_again(started, tmp_path, monkeypatch):
    starts = [tmp_path / name for name in ("a", "b")]
    for seed, start in enumerate(starts):
        start.mkdir()
        record = {"weights": start.name, "validation": [{"seed": seed}]}
        (start / "results.json").write_text(json.dumps(record))
    monkeypatch.setattr(adaptation, "load_benchmark", lambda name, *_, **options: options["split"])
    monkeypatch.setattr(adaptation, "scores", lambda model, tables: {"model": model.name, **tables})
    options = argparse.Namespace(data=tmp_path / "data", starts=starts)
    (made,) = measure(options, [], [{"start": "a", "way": ""}])
    assert (made["start"], made["seed"], made["pictures"], made["weights"]) == ("b", 1, 7, "new")
    assert (made["before"]["model"], made["after"]["model"]) == ("b", "adapted")
    assert made["before"]["rsicd"] == made["before"]["ucm"] == "validation"
    assert str(tmp_path / "data" / "rsicd_aid" / "train") in started[0]
    # Another way of adapting the same start is another run.
    assert len(list(measure(options, ["--seed", "1"], [{"start": "a", "way": ""}]))) == 2
