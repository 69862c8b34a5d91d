"""Filling a card from a results file; the snippets of the shipped cards run as a reader's would."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from rsctir_hf.hub.card import CardError, render_model_card, write_card
from rsctir_hf.hub.card_tables import evaluation_reports, model_index, results_table
from rsctir_hf.sample import sample_folder
from tests.conftest import ROOT
from tests.test_checkpoints import DETECTOR, FAMILIES

CARDS = ROOT / "model_cards"


def report(split="test", rerank="none", mr=48.123):
    cells = {f"{way}_R@{k}": float(k) for way in ("i2t", "t2i") for k in (1, 5, 10)}
    return cells | {
        "mR": mr,
        "rerank": rerank,
        "data": "ucm",
        "split": split,
        "seed": 7,
        "image_size": 224,
        "caption_aware": {"mR": 71.0},
        "bank_metrics": None,
        "versions": {"torch": "2.14.1"},
    }


@pytest.fixture
def results():
    log = [{"epoch": 1.0, "eval_mR": 3.0}]
    reports = {"validation": [report("validation")], "test": [report(), report(rerank="smr")]}
    return {"git_revision": "abc1234", "best_epoch": 5.0, "log": log} | reports


def test_reports_are_found_at_any_depth(results):
    assert [r["split"] for r in evaluation_reports(results)] == ["validation", "test", "test"]


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_card_carries_the_figures_and_leaves_no_placeholder(results, family, tmp_path):
    card = render_model_card(CARDS / f"{family}.md", results, model_id="org/model-ucm")
    assert "| UCM-Captions | test | smr | 1 | 1.0 |" in card.text
    assert "48.1" in card.text and "71.0" in card.text
    assert "best epoch 5, code abc1234" in card.text and "import rsctir_hf" in card.text
    assert "$" not in card.text
    card.save(tmp_path / "README.md")
    read = ModelCard.load(tmp_path / "README.md").data
    assert (read.license, read.library_name) == ("other", "transformers")
    assert read.pipeline_tag == "zero-shot-image-classification"
    assert read.model_name == "model-ucm"
    assert {cell.metric_value for cell in read.eval_results if cell.metric_type == "mR"} == {48.12}
    assert len(read.eval_results) == 3 * 7


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_card_of_a_model_of_several_sets_names_them_all_with_their_terms(family, tmp_path):
    rsicd = report("validation") | {"data": "rsicd", "images": 1027, "interval": [20.04, 25.5]}
    results = {
        "training_sets": {"ucm": 1680, "rsicd": 7957, "drawn": 400},
        "validation": [report("validation") | {"images": 210, "symmetries": 1}, rsicd],
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    (tmp_path / "results.json").write_text(json.dumps(results))
    text = write_card(tmp_path, model_id="org/model-rs").read_text()
    assert "| UCM-Captions | validation | none | 1 |" in text
    assert "| RSICD, 1,027 of 1,094 pictures | validation | none | 1 |" in text
    assert "| 48.1 (20.0 to 25.5) |" in text
    for words in (text, (tmp_path / "LICENSE").read_text()):
        assert "train, all 1,680 pictures: pictures from the USGS" in words
        assert "- RSICD (Lu et al., TGRS 2017), train, 7,957 of the official 8,734" in words
        assert "Google Earth imagery; terms not verified" in words
        assert "- 400 scenes drawn by our own code" in words and "same sentences" in words
    data = ModelCard(text).data
    assert data.license == "other"
    assert {cell.dataset_type for cell in data.eval_results} == {"ucm", "rsicd"}


def test_card_of_a_tuned_model_names_what_its_start_has_seen(tmp_path):
    earlier = "RSICD train, 7,957 pictures; drawn scenes, 400 pictures"
    results = {
        "training_sets": {"ucm": 1680},
        "seen_before": earlier,
        "validation": [report("validation") | {"images": 210}],
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "galr"}))
    (tmp_path / "results.json").write_text(json.dumps(results))
    text = write_card(tmp_path).read_text()
    for words in (text, (tmp_path / "LICENSE").read_text()):
        assert f"- before that, as the model this one was tuned from: {earlier}; the terms" in words


def test_reports_with_and_without_averaged_symmetries_stand_side_by_side(results, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "galr"}))
    (tmp_path / "results.json").write_text(json.dumps(results | {"test": [report()]}))
    (tmp_path / "eight.json").write_text(json.dumps(report(mr=49.0) | {"symmetries": 8}))
    text = write_card(tmp_path, results=[tmp_path / "eight.json"]).read_text()
    assert "| UCM-Captions | test | none | 1 |" in text
    assert "| UCM-Captions | test | none | 8 |" in text
    names = [metric.metric_name for metric in ModelCard(text).data.eval_results]
    assert "mR" in names and "mR, rerank none, 8 symmetries" in names


def test_the_table_of_a_card_keeps_data_sets_together_and_test_first():
    kinds = [("ucm", "validation"), ("rsicd", "validation"), ("ucm", "test"), ("rsicd", "test")]
    lines = results_table([report(split) | {"data": data} for data, split in kinds]).splitlines()
    assert [tuple(line.split(" | ")[:2]) for line in lines[2:]] == [
        ("| UCM-Captions", "test"),
        ("| UCM-Captions", "validation"),
        ("| RSICD", "test"),
        ("| RSICD", "validation"),
    ]


def test_card_of_the_detector_carries_its_average_precisions_and_terms(tmp_path):
    def detection(split, pictures, value):
        metrics = {"mAP50": value, "AP50_overpass": 31.25}
        return {"model": "overhead-rsod", "data": "rsod", "split": split, "pictures": pictures} | {
            "seed": 3,
            "metrics": metrics,
        }

    results = {
        "training_sets": {"rsod": 261, "drawn": 216},
        "best_epoch": 20.0,
        "validation": [detection("validation", 45, 81.24)],
    }
    (tmp_path / "config.json").write_text('{"model_type": "overhead_detector"}')
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "test.json").write_text(json.dumps(detection("test", 94, 77.05)))
    text = write_card(tmp_path, results=[tmp_path / "test.json"]).read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == "| data | split | pictures | mAP50 | AP50_overpass |"
    assert lines[2:] == [
        "| RSOD (subset) | test | 94 | 77.0 | 31.2 |",
        "| RSOD (subset) | validation | 45 | 81.2 | 31.2 |",
    ]
    assert "Seed 3, best epoch 20" in text and "$" not in text
    card = ModelCard(text).data
    assert card.pipeline_tag == "object-detection"
    assert [cell.metric_value for cell in card.eval_results if cell.dataset_split == "test"] == [
        77.05,
        31.25,
    ]
    for words in (text, (tmp_path / "LICENSE").read_text()):
        assert "261 train pictures: Google Earth screenshots; terms not verified" in words


@pytest.mark.parametrize("name", ["ucm", "rsod", "sample"])
def test_a_folder_called_like_a_known_set_is_own_data(name):
    own = report() | {"data": f"./{name}"}
    assert results_table([own]).splitlines()[2].startswith(f"| {name} (own data) | ")
    entry = next(model_index(own))
    assert (entry.dataset_type, entry.dataset_name) == (f"{name} (own data)",) * 2


def test_drawn_scenes_are_never_taken_for_a_benchmark():
    table = results_table([report() | {"data": "sample"}, report(rerank="match"), report()])
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert rows[0][0] == "| drawn scenes, a regression check"
    assert [row[2] for row in rows[1:]] == ["none", "match"]


def test_cmpagl_card_says_what_it_is_not():
    text = (CARDS / "cmpagl.md").read_text()
    assert "CMPAGL-style,\nfrom the published description" in text
    assert "not a reproduction" in text


def test_a_card_names_the_data_sets_that_lie_on_the_hub_and_scores_of_whole_splits(tmp_path):
    part = report("validation") | {"data": "rsicd", "images": 1027}
    results = {
        "training_sets": {"ucm": 1680, "rsicd": 7957, "drawn": 400},
        "validation": [part],
        "test": [report() | {"images": 210}, report(rerank="smr", mr=49.5) | {"images": 210}],
    }
    (tmp_path / "config.json").write_text('{"model_type": "galr"}')
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert ModelCard(write_card(tmp_path).read_text()).data.datasets == ["arampacha/rsicd"]
    assert not (tmp_path / ".eval_results").exists()  # part of a split is no entry of a benchmark
    card = write_card(tmp_path, hub_ids={"ucm": "org/ucm-captions"})
    assert ModelCard(card.read_text()).data.datasets == ["org/ucm-captions", "arampacha/rsicd"]
    files = list((tmp_path / ".eval_results").iterdir())
    assert [file.name for file in files] == ["ucm.yaml"]
    entries = parse_eval_result_entries(yaml.safe_load(files[0].read_text()))
    assert [(each.dataset_id, each.value) for each in entries] == [
        ("org/ucm-captions", 48.12),
        ("org/ucm-captions", 49.5),
    ]
    assert entries[1].notes == "mR in percent, test split, rerank smr"


def test_card_errors_are_named(results, tmp_path):
    template = tmp_path / "card.md"
    with pytest.raises(CardError, match="cannot be read"):
        render_model_card(template, results, model_id="a/b")
    template.write_text("---\nlicense: other\n---\n$unheard_of")
    with pytest.raises(CardError, match="unheard_of"):
        render_model_card(template, results, model_id="a/b")
    with pytest.raises(CardError, match=r"nwpu: no such benchmark.*ucm, rsicd"):
        render_model_card(template, results, model_id="a/b", hub_ids={"nwpu": "a/b"})
    with pytest.raises(CardError, match="no evaluation report"):
        render_model_card(template, {"log": []}, model_id="a/b")


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_card_takes_test_figures_from_further_results_files(results, family, tmp_path):
    folder = tmp_path / "model-ucm"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    (folder / "results.json").write_text(json.dumps(results | {"test": []}))
    card = write_card(folder)
    assert "| UCM-Captions | validation | none |" in card.read_text()
    assert "| test |" not in card.read_text()
    tested = tmp_path / "test.json"
    tested.write_text(json.dumps(report(mr=51.2)))
    text = write_card(folder, results=[tested], model_id="org/x").read_text()
    assert "| UCM-Captions | validation | none |" in text
    assert "| 51.2 |" in text and "abc1234" in text and 'from_pretrained("org/x")' in text
    assert "other queries of that split" in " ".join(text.split())
    licence = (folder / "LICENSE").read_text()  # what the front matter's license_link names
    assert ModelCard(text).data.to_dict()["license_link"] == "LICENSE"
    assert "research-only or unverified" in licence and "UCM-Captions" in licence
    assert "Apache License" in licence and "$" not in licence


def test_card_without_template_or_with_damaged_results_is_an_error(results, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(CardError, match=r"results\.json is missing or damaged"):
        write_card(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(CardError, match=r"no card template .*clip\.md.*checkout"):
        write_card(tmp_path)
    (tmp_path / "more.json").write_text("[]")
    with pytest.raises(CardError, match="expected a JSON object"):
        write_card(tmp_path, results=[tmp_path / "more.json"])
    assert not (tmp_path / "README.md").exists() and not (tmp_path / "LICENSE").exists()


@pytest.mark.parametrize("value", [None, "many", {}, []])
def test_a_report_whose_figures_are_no_numbers_is_refused(results, value):
    results["test"][0]["i2t_R@1"] = value
    with pytest.raises(CardError, match="cannot be made a table"):
        render_model_card(CARDS / "cmpagl.md", results, model_id="org/model")


def test_a_report_with_half_an_interval_is_refused(results):
    results["test"][0]["interval"] = [1.0]
    with pytest.raises(CardError, match="cannot be made a table"):
        render_model_card(CARDS / "cmpagl.md", results, model_id="org/model")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_snippets_of_a_card_run_as_they_stand(name, checkpoint, tmp_path):
    folder = checkpoint(name)
    snippets = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert len(snippets) >= 2
    (tmp_path / "checkpoints").symlink_to(folder.parent)
    (tmp_path / name).symlink_to(folder)  # what the snippets call the model
    pictures = sorted(sample_folder().glob("*.jpg"))[:3]
    gallery = tmp_path / "folder" / "of" / "pictures"
    gallery.mkdir(parents=True)
    for picture in pictures:
        shutil.copy(picture, gallery)
    (tmp_path / "picture.jpg").symlink_to(pictures[0])
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    hits = re.findall(r"^\d+ -?\d\.\d{3} ", done.stdout, re.M)
    assert len(hits) == (0 if name == DETECTOR else len(pictures))
