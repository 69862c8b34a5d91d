"""The table of methods: recipes of the bases' schedule, and what is measured of a run's folder."""

import json

import pytest

from benchmarks import methods
from benchmarks.methods import GALR, NONE, ROWS, SERIES
from rsctir_hf.training.recipe_files import read_recipe
from tests.tiny_galr import tiny_galr

#: What a short run is: the same for every row, so that differences are those of the method.
SCHEDULE = ("benchmark", "num_train_epochs", "per_device_train_batch_size", "eval_strategy")


def run_of(recipe, seed, none, smr, **measured):
    return {
        "recipe": recipe,
        "seed": seed,
        "mR": {"none": none, "smr": smr},
        "measured": measured,
        "processor_minutes": 2.0,
        "schedule": {"num_train_epochs": 3},
        "fingerprint": SERIES.fingerprint(recipe),
        "git_revision": "0" * 40,
    }


def test_every_recipe_of_the_folder_is_a_row_and_says_what_it_is():
    files = sorted((SERIES.folder / "methods").glob("*.yaml"))
    named = {row.recipe for row in ROWS}
    assert {f"methods/{file.stem}" for file in files} <= named
    assert all(file.read_text(encoding="utf-8").startswith("# ") for file in files)


@pytest.mark.parametrize("row", [row for row in ROWS if row.reference], ids=lambda row: row.name)
def test_a_row_is_compared_with_one_of_the_same_family_and_schedule(row):
    (base,) = [each for each in ROWS if each.name == row.reference]
    own, other = (read_recipe(SERIES.recipe_path(each.recipe)) for each in (row, base))
    assert own["family"] == other["family"]
    assert [own[key] for key in SCHEDULE] == [other[key] for key in SCHEDULE]
    assert own["config"]["image_size"] == other["config"]["image_size"]
    assert own["frozen_epochs"] == other["frozen_epochs"]


def test_the_table_has_what_was_measured_beside_the_paired_difference():
    more = {"label_mAP": 50.0, "nDCG": 60.0}
    runs = [
        run_of("ablations/galr_base", 0, 40.0, 41.0, query_ms=1.0, **more),
        run_of("ablations/galr_base", 1, 41.0, 42.0, query_ms=2.0, **more),
        run_of("methods/amfmn_soft", 0, 40.5, 41.5, query_ms=4.0, label_mAP=51.0, nDCG=61.0),
    ]
    base, soft = SERIES.table(runs).splitlines()[2:]
    empty = " | ".join([NONE] * 3)
    assert f"| 40.50 ± 0.71 | {empty} | 41.5 | 60.0 | 50.0 | 2.0 | 1.5 | `galr_base` |" in base
    assert f"| 40.50 | {GALR} | +0.50 | +0.50 | 41.5 | 61.0 | 51.0 | 2.0 | 4.0 |" in soft
    assert NONE in base and SERIES.table([]).startswith("No methods yet")


def test_a_finished_run_is_measured_from_its_folder(tmp_path, monkeypatch):
    model, processor = tiny_galr(["many boats", "a river"])
    model.save_pretrained(tmp_path / "run")
    processor.save_pretrained(tmp_path / "run")
    graded = {"i2t_nDCG@10": 40.0, "t2i_nDCG@10": 50.0}
    record = {"validation": [{"rerank": "smr"}, {"rerank": "none", "graded": graded}]}
    (tmp_path / "run" / "results.json").write_text(json.dumps(record))
    monkeypatch.setattr(methods, "GALLERY", 50)
    monkeypatch.setattr(methods, "read_labelled", lambda data, split: (data, split))
    asked = []

    def labels(encoder, pictures):
        asked.append(pictures)
        return type("Scores", (), {"metrics": {"labels_mAP": 33.3333}})()

    monkeypatch.setattr(methods, "evaluate_labels", labels)
    found = methods.measure(tmp_path / "run", tmp_path / "data")
    assert (found["label_mAP"], found["nDCG"]) == (33.333, 45.0)
    assert found["query_ms"] > 0
    assert asked == [(tmp_path / "data", "validation")]


def test_recorded_rows_are_those_their_runs_give():
    recorded = SERIES.read_runs()
    written = json.loads(SERIES.file.read_text()) if recorded else None
    assert not recorded or written == json.loads(json.dumps(SERIES.report_on(recorded)))
