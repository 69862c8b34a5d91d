"""Both towers are timed in both programs, and what is written is what was measured."""

import json

import onnx_export
import pytest
from onnx_export import random_inputs

from rsctir_hf.export import Tower


@pytest.mark.slow
def test_a_model_is_exported_timed_and_reported(clip_folder, tmp_path):
    file = tmp_path / "onnx.json"
    onnx_export.main(["--models", str(clip_folder), "--turns", "1", "--output", str(file)])
    found = json.loads(file.read_text())
    measured = [(row["model"], row["tower"], row["batch"]) for row in found["rows"]]
    batches = [("image", 1), ("image", 32), ("text", 1), ("text", 64)]
    assert measured == [("tiny-clip", *each) for each in batches]
    for row in found["rows"]:
        assert row["ratio"] == pytest.approx(row["torch_ms"] / row["onnx_ms"])
    assert found["settings"]["threads"] == 1 and "onnxruntime" in found["settings"]


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
