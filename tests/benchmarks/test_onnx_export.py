"""Both towers are timed in both programs, and what is written is what was measured."""

import json

import onnx_export
import pytest
import torch
from onnx_export import Timing, compare, random_inputs, table

from rsctir_hf.export import Tower


@pytest.mark.slow
def test_a_model_is_exported_timed_and_reported(clip_folder, tmp_path, capsys):
    file = tmp_path / "results" / "onnx.json"
    onnx_export.main(["--models", str(clip_folder), "--repeats", "1", "--output", str(file)])
    report = json.loads(file.read_text())
    measured = [(row["tower"], row["batch"]) for row in report["rows"]]
    assert measured == [("image", 1), ("image", 32), ("text", 1), ("text", 64)]
    for row in report["rows"]:
        assert row["model"] == "tiny-clip" and row["repeats"] == 1
        assert row["ratio"] == pytest.approx(row["torch_ms"] / row["onnx_ms"])
    assert report["threads"] == 1 and "onnxruntime" in report["versions"]
    assert capsys.readouterr().out.count("`tiny-clip`") == 4


def test_medians_leave_the_first_run_out_and_take_turns(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(onnx_export.time, "perf_counter", lambda: clock[0])

    def method(values):
        order.append("torch")
        clock[0] += 0.005

    class Session:
        waits = iter((0.2, 0.03, 0.01, 0.02))  # the first run is the slowest

        def run(self, outputs, arrays):
            order.append("onnx")
            assert arrays["values"].tolist() == [1, 1]
            clock[0] += next(self.waits)

    medians = compare(method, Session(), {"values": torch.ones(2)}, repeats=3)
    assert medians == pytest.approx((5, 20))
    assert order == ["torch", "onnx"] * 4


def test_inputs_have_the_shapes_that_the_file_asks_for():
    inputs = {
        "input_ids": ("tensor(int64)", ["batch", "length"]),
        "attention_mask": ("tensor(int64)", ["batch", "length"]),
        "pixel_values": ("tensor(float)", ["batch", 3, 8, 8]),
    }
    made = random_inputs(Tower("x.onnx", inputs, 4, 0.0), batch=3)
    assert made["input_ids"].shape == made["attention_mask"].shape == (3, onnx_export.TOKENS)
    assert made["attention_mask"].unique().tolist() == [1]
    assert made["pixel_values"].shape == (3, 3, 8, 8)


def test_the_table_says_how_many_times_as_fast():
    row = Timing("m", "image", 32, torch_ms=30.0, onnx_ms=12.0, repeats=3)
    assert table([row]).splitlines()[-1] == "| `m` | image | 32 | 30.0 | 12.0 | 2.50 |"
