"""Scoring on test: once, after the choice is committed, with the weights that were chosen."""

import json
import shutil
import subprocess

import pytest

from benchmarks import score_test
from benchmarks.results_table import read_reports
from benchmarks.score_test import Scoring, ScoringRefusedError, score, write_run_record
from rsctir_hf.errors import DataLayoutError
from tests.conftest import ROOT
from tests.miniature import write_imagefolder
from tests.models.tiny_cmpagl import seeded_model, tiny_config, tiny_processor

LOG = "# Results\n\n| Date | Checkpoint | Commit that selected it | Split |\n| - | - | - | - |\n"


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def commit(root):
    git(root, "add", "-A")
    git(root, "commit", "-m", "chosen")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with an empty log."""
    checkout = tmp_path / "checkout"
    (checkout / "results").mkdir(parents=True)
    (checkout / "results" / "README.md").write_text(LOG)
    git(checkout, "init")
    monkeypatch.setattr(score_test, "ROOT", checkout)
    monkeypatch.setattr(score_test, "read_caption_bank", lambda: ["a river", "many boats"])
    return checkout


@pytest.fixture
def run_folder(clip_folder):
    """What a training run leaves: a model and its record, which names another checkpoint."""
    report = {"model": "run", "mR": 40.0, "rerank": "none", "data": "ucm", "split": "validation"}
    counts = {"images": 3, "captions": 15, "distinct_captions": 15}
    record = {"git_revision": "x", "validation": [report | counts | {"seed": 4}], "log": []}
    (clip_folder / "results.json").write_text(json.dumps(record))
    return clip_folder


@pytest.fixture
def scoring(root, run_folder):
    return Scoring(run_folder, "m-seed4", root=root)


@pytest.fixture
def chosen(scoring):
    """Recorded and committed."""
    write_run_record(scoring)
    commit(scoring.root)
    return scoring


def results_of(root):
    return {file.stem: json.loads(file.read_text()) for file in (root / "results").glob("*.json")}


def test_test_is_scored_with_one_and_eight_views_and_logged(chosen, captioned_rows):
    score(chosen, captioned_rows)
    found = results_of(chosen.root)
    ways = [f"m-seed4_test_{rerank}" for rerank in ("none", "smr", "mr")]
    assert set(found) == {*ways, *(f"{way}_sym8" for way in ways)}
    eight = found["m-seed4_test_smr_sym8"]
    assert (eight["model"], eight["seed"], eight["data"], eight["split"]) == (
        *("m-seed4", 4, "ucm", "test"),
    )
    assert eight["symmetries"] == 8 and eight["bank_metrics"] and eight["temperature"] == 0.1
    record = json.loads(chosen.record_file.read_text())
    assert eight["model_revision"] == f"weights:{record['weights']}"
    *before, line = (chosen.root / "results" / "README.md").read_text().splitlines()
    assert "\n".join(before) + "\n" == LOG
    head = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=chosen.root)
    assert f"| `m-seed4` (seed 4) | {head.decode().strip()} | UCM-Captions test, reranks" in line
    assert "none, smr, mr, none (8 views), smr (8 views), mr (8 views) in one sitting |" in line
    assert {report.row[0] for report in read_reports(chosen.root)} == {"m"}


def test_a_checkpoint_is_not_scored_on_test_twice(chosen, captioned_rows):
    score(chosen, captioned_rows)
    with pytest.raises(ScoringRefusedError, match="scored on test once"):
        score(chosen, captioned_rows)
    for file in (chosen.root / "results").glob("*.json"):
        file.unlink()
    with pytest.raises(ScoringRefusedError, match=r"before: \| .* `m-seed4`"):  # the log remembers
        score(chosen, captioned_rows)
    (chosen.root / "results" / "README.md").write_text(LOG)
    score(chosen, captioned_rows)


def test_reports_without_a_log_line_count_and_so_does_another_name(chosen, captioned_rows):
    score(chosen, captioned_rows)
    (chosen.root / "results" / "README.md").write_text(LOG)
    with pytest.raises(ScoringRefusedError, match=r"m-seed4_test_mr\.json"):
        score(chosen, captioned_rows)
    copy = Scoring(chosen.folder, "n", root=chosen.root)
    write_run_record(copy)
    commit(chosen.root)
    with pytest.raises(ScoringRefusedError, match="n was scored on UCM-Captions test before"):
        score(copy, captioned_rows)


def test_other_checkpoints_and_data_are_no_second_score(chosen, captioned_rows):
    log = chosen.root / "results" / "README.md"
    log.write_text(f"{LOG}| 2026-01-01 | `m` | abc | UCM-Captions test |\n")
    with log.open("a") as file:
        file.write("| 2026-01-01 | `m-seed4` | abc | RSICD test |\n")
    assert score(chosen, captioned_rows)


def test_the_choice_is_committed_before_test_is_scored(scoring, captioned_rows):
    with pytest.raises(DataLayoutError, match="--record"):
        score(scoring, captioned_rows)
    write_run_record(scoring)
    with pytest.raises(ScoringRefusedError, match=r"results/runs/m-seed4\.json is not in the last"):
        score(scoring, captioned_rows)
    commit(scoring.root)
    changed = json.loads(scoring.record_file.read_text()) | {"best_epoch": 9}
    scoring.record_file.write_text(json.dumps(changed))
    with pytest.raises(ScoringRefusedError, match="Commit it first"):
        score(scoring, captioned_rows)
    assert results_of(scoring.root) == {}
    assert scoring.log.read_text() == LOG


def test_only_the_weights_that_were_chosen_are_scored(chosen, captioned_rows, tiny_clip):
    before = {name: value.clone() for name, value in tiny_clip.state_dict().items()}
    tiny_clip.visual_projection.weight.data += 1
    tiny_clip.save_pretrained(chosen.folder)
    tiny_clip.load_state_dict(before)  # a fixture of the whole session
    with pytest.raises(ScoringRefusedError, match="Score the model that was chosen"):
        score(chosen, captioned_rows)
    nameless = json.loads(chosen.record_file.read_text())
    del nameless["weights"]
    chosen.record_file.write_text(json.dumps(nameless))
    commit(chosen.root)
    with pytest.raises(ScoringRefusedError, match="not named"):
        score(chosen, captioned_rows)


def test_validation_is_scored_freely_with_eight_views_only(scoring, captioned_rows):
    validation = Scoring(scoring.folder, "m-seed4", "rsicd", "validation", scoring.root)
    write_run_record(validation)
    for _ in range(2):
        score(validation, captioned_rows)
    names = {f"m-seed4_rsicd_validation_{rerank}_sym8" for rerank in ("none", "smr", "mr")}
    assert set(results_of(scoring.root)) == names
    assert scoring.log.read_text() == LOG


def test_a_record_is_kept_under_the_checkpoints_name_with_the_weights(scoring):
    file = write_run_record(scoring)
    assert file == scoring.root / "results" / "runs" / "m-seed4.json"
    record = json.loads(file.read_text())
    assert record["validation"][0]["model"] == "m-seed4"
    assert len(record["weights"]) == 16 and record["git_revision"] == "x"
    strange = json.loads((scoring.folder / "results.json").read_text()) | {"weights": "0" * 16}
    (scoring.folder / "results.json").write_text(json.dumps(strange))
    with pytest.raises(ScoringRefusedError, match="0000"):
        write_run_record(scoring)


def test_the_record_of_a_shipped_checkpoint_stays_beside_it(scoring):
    shipped = scoring.root / "checkpoints" / "m"
    shutil.copytree(scoring.folder, shipped)
    file = write_run_record(Scoring(shipped, "m", root=scoring.root))
    assert file == shipped / "results.json" and "weights" in json.loads(file.read_text())
    assert not (scoring.root / "results" / "runs").exists()


def test_a_model_that_judges_pairs_is_also_scored_with_match(scoring, captioned_rows, tmp_path):
    model, folder = seeded_model(tiny_config()), tmp_path / "pairs"
    model.save_pretrained(folder)
    tiny_processor(model).save_pretrained(folder)
    shutil.copy(scoring.folder / "results.json", folder)
    pairs = Scoring(folder, "pairs", root=scoring.root)
    write_run_record(pairs)
    commit(scoring.root)
    score(pairs, captioned_rows)
    found = results_of(scoring.root)
    assert found["pairs_test_match"]["symmetries"] == 1
    assert "pairs_test_match_sym8" not in found and len(found) == 7


def test_the_command_records_and_scores(root, run_folder, tmp_path, capsys):
    data = write_imagefolder(tmp_path / "ucm")
    flags = [str(run_folder), "--name", "m"]
    score_test.main([*flags, "--record"])
    commit(root)
    score_test.main([*flags, "--data", str(data)])
    out = capsys.readouterr().out
    assert "runs/m.json" in out and "m_test_smr_sym8.json" in out and "mR: " in out
    with pytest.raises(SystemExit):
        score_test.main(flags)
    assert "--data is missing" in capsys.readouterr().err


def test_the_log_is_the_end_of_its_document():
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    table = text.split("## Log of test scorings")[1].strip().splitlines()
    assert table[-1].startswith("| 20") and "Commit that selected it" in text
