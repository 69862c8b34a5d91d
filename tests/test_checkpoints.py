"""The shipped checkpoints: what they are made of, and that their figures still hold."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from rsctir_hf.cli import open_rows
from rsctir_hf.drawn import read_caption_bank
from rsctir_hf.evaluation import evaluate_retrieval
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

CHECKPOINTS = ROOT / "checkpoints"
NAMES = ("cmpagl-rs", "galr-rs")
TOLERANCE = 0.1  # percentage points of mR: rounding of half-precision weights across machines


def checkpoint(name):
    folder = CHECKPOINTS / name
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"checkpoint absent: {name} is not in this checkout")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_score_on_the_drawn_scenes_as_their_results_file_says(name):
    folder = checkpoint(name)
    recorded = json.loads((ROOT / "results" / f"{name}_drawn.json").read_text())
    report = evaluate_retrieval(
        AutoModel.from_pretrained(folder),
        AutoProcessor.from_pretrained(folder),
        open_rows("sample", split=""),
        rerank=recorded["rerank"],
        bank=read_caption_bank(),
    )
    for key, value in report.metrics.items():
        assert value == pytest.approx(recorded[key], abs=TOLERANCE), key


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_stored_in_half_precision_and_run_in_float32(name):
    folder = checkpoint(name)
    stored = load_file(folder / "model.safetensors")
    assert all(v.dtype != torch.float32 for v in stored.values())
    model = AutoModel.from_pretrained(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_holds_the_code_of_this_checkout(name):
    folder = checkpoint(name)
    family = name.split("-")[0]
    for copied in folder.glob("*.py"):
        ours = ROOT / "rsctir_hf" / "models" / family / copied.name
        assert copied.read_text() == ours.read_text(), f"{copied.name}: save the model again"


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_says_how_it_was_made_and_chosen(name):
    folder = checkpoint(name)
    results = json.loads((folder / "results.json").read_text())
    assert len(results["git_revision"].removesuffix("-dirty")) == 40
    chosen = results["validation"][0]
    assert (chosen["split"], chosen["rerank"]) == ("validation", "none")
    assert (folder / "recipe.yaml").is_file()
    assert "license: other" in (folder / "README.md").read_text()
    assert not list(Path(folder).glob("*.bin")), "a pickle has no place in a checkpoint"
