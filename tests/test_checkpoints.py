"""The shipped checkpoints: what they are made of, and that their figures still hold."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForObjectDetection, AutoProcessor

from benchmarks import detector_map
from rsctir_hf.cli.sources import open_rows
from rsctir_hf.detection.average_precision import evaluate_detection
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.hub.card import write_card
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.sample import read_caption_bank
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

DETECTOR = "overhead-rsod"

NAMES = ("cmpagl-rs", "galr-rs")
FAMILIES = {"cmpagl-rs": "cmpagl", "galr-rs": "galr", DETECTOR: "overhead"}
TOLERANCE = 0.1  # percentage points of mR: rounding of half-precision weights across machines


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_score_on_ucm_validation_as_their_record_says(
    name, development_data, checkpoint
):
    folder = checkpoint(name)
    rows = open_rows(str(development_data / "ucm_captions"), benchmark="ucm", split="validation")
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    recorded = json.loads((folder / "results.json").read_text())
    expected = next(
        r for r in recorded["validation"] if (r["data"], r["rerank"]) == ("ucm", "none")
    )
    report = evaluate_retrieval(Encoder(model, processor), rows, rerank="none")
    for key, value in report.metrics.items():
        assert value == pytest.approx(expected[key], abs=TOLERANCE), key


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_score_on_the_drawn_scenes_as_their_results_file_says(name, checkpoint):
    folder = checkpoint(name)
    recorded = json.loads((ROOT / "results" / f"{name}_drawn.json").read_text())
    report = evaluate_retrieval(
        Encoder(AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)),
        open_rows("sample", split=""),
        rerank=recorded["rerank"],
        bank=read_caption_bank(),
    )
    for key, value in report.metrics.items():
        assert value == pytest.approx(recorded[key], abs=TOLERANCE), key


def test_the_shipped_detector_finds_what_its_results_file_says_on_the_drawn_scenes(checkpoint):
    scores = json.loads((ROOT / "results" / f"{DETECTOR}_drawn_map50.json").read_text())["metrics"]
    model, processor = detector_map.load_detector(checkpoint(DETECTOR))
    found = evaluate_detection(model, processor, detector_map.drawn_pictures(model))
    assert set(found) == set(scores)
    for name, value in found.items():
        assert value == pytest.approx(scores[name], abs=TOLERANCE), name


@pytest.mark.parametrize(
    ("name", "auto"),
    [*dict.fromkeys(NAMES, AutoModel).items(), (DETECTOR, AutoModelForObjectDetection)],
)
def test_weights_are_stored_in_half_precision_and_run_in_float32(name, auto, checkpoint):
    folder = checkpoint(name)
    stored = load_file(folder / "model.safetensors")
    assert all(v.dtype != torch.float32 for v in stored.values())
    model = auto.from_pretrained(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_holds_the_code_of_this_checkout(name, checkpoint):
    folder = checkpoint(name)
    ours = ROOT / "rsctir_hf" / "models" / FAMILIES[name]
    names = {file.name for file in ours.glob("*.py")} - {"__init__.py"}
    assert {file.name for file in folder.glob("*.py")} == names, "save the model again"
    for copied in folder.glob("*.py"):
        text = (ours / copied.name).read_text()
        assert copied.read_text() == text, f"{copied.name}: save the model again"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_says_how_it_was_made_and_chosen(name, checkpoint):
    folder = checkpoint(name)
    results = json.loads((folder / "results.json").read_text())
    assert len(results["git_revision"].removesuffix("-dirty")) == 40
    chosen = results["validation"][0]
    assert (chosen["split"], chosen.get("rerank", "none")) == ("validation", "none")
    assert (folder / "recipe.yaml").is_file()
    assert "license: other" in (folder / "README.md").read_text()
    assert not list(Path(folder).glob("*.bin")), "a pickle has no place in a checkpoint"


@pytest.mark.parametrize("name", FAMILIES)
def test_records_speak_of_the_very_weights_that_are_shipped(name, checkpoint):
    folder = checkpoint(name)
    auto = AutoModelForObjectDetection if name == DETECTOR else AutoModel
    weights = weights_fingerprint(auto.from_pretrained(folder))
    assert json.loads((folder / "results.json").read_text())["weights"] == weights
    for file in (ROOT / "results").glob(f"{name}_*test*.json"):
        assert json.loads(file.read_text())["model_revision"] == f"weights:{weights}", file.name


@pytest.mark.parametrize("name", FAMILIES)
def test_a_card_is_what_its_template_makes_of_the_results_files(name, tmp_path, checkpoint):
    folder = checkpoint(name)
    copy = tmp_path / name
    copy.mkdir()
    for file in ("config.json", "results.json", "labels.safetensors"):
        if (folder / file).exists():
            shutil.copy(folder / file, copy / file)
    write_card(copy, results=card_results(name))
    for file in ("README.md", "LICENSE"):
        remedy = "run rsctir card with these results files: " + " ".join(
            map(str, card_results(name))
        )
        assert (copy / file).read_text() == (folder / file).read_text(), remedy


def card_results(name):
    """The results files of a card: every score of the model on held-out data and drawn scenes."""
    files = sorted((ROOT / "results").glob(f"{name}_*.json"))
    return [file for file in files if name != DETECTOR or "test" in file.name]


def test_every_test_score_stands_in_the_log_and_the_log_names_no_other():
    log = (ROOT / "results" / "README.md").read_text().partition("## Log of test scorings")[2]
    logged = set(re.findall(r"^\| \d{4}-\d\d-\d\d \| `([\w-]+)`", log, re.MULTILINE))
    patterns = ("*_test_*.json", "*_rsod-*_test.json")
    files = [file.name for each in patterns for file in (ROOT / "results").rglob(each)]
    assert logged == {re.sub(r"_(rsod|test).*", "", name) for name in files}
