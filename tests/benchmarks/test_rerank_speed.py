"""The loops of the rerank benchmark score as MR does, and a run writes what it measured."""

import json

import pytest
import rerank_speed


def test_the_loops_and_the_released_mode_score_alike():
    assert rerank_speed.largest_difference(rerank_speed.cosines(40, 200)) < 1e-9


def test_a_small_run_writes_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(rerank_speed.torch, "set_num_threads", lambda count: None)
    file = tmp_path / "found.json"
    arguments = ["--pictures", "40", "--captions", "200", "--turns", "1", "--output", str(file)]
    rerank_speed.main(arguments)
    found = json.loads(file.read_text())
    seconds, times = found["seconds"], found["mr_times_as_fast"]["paper"]
    assert times == pytest.approx(seconds["released_loops"] / seconds["mr_paper"], rel=0.2)
