"""The ablations: recipes that switch what they name, paired differences, a series that goes on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import series
from series import SEEDS

from benchmarks.ablations import NONE, ROWS, SERIES
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.recipe_files import read_recipe
from rsctir_hf.training.start import build_model

# What each recipe changes in its family's base: fields of the configuration, keys of the recipe.
SWITCHES = {
    "galr_global_only": {"use_regions": False},
    "galr_regions": {"drea": "plain"},
    "galr_midf_paper": {"fusion_gate": "paper"},
    "galr_no_levels": {"backbone_pool_levels": False},
    "galr_midf_released": {"fusion_order": "released", "fusion_weights": "released"},
    "cmpagl_local_only": {"global_attention": "local_only"},
    "cmpagl_no_levels": {"stem_skip_levels": False},
    "cmpagl_concat": {"global_attention": "concat"},
}
TRAINING_SWITCHES = {
    "galr_detector_regions": {"regions": "checkpoints/overhead-rsod", "region_threshold": 0.3},
    "cmpagl_no_pre_alignment": {"pre_alignment_fraction": 0.0},
    "cmpagl_no_intra_class": {"intra_weight": 0.0},
}
SMALL_TEXT = {"vocab_size": 99, "hidden_size": 24, "num_hidden_layers": 1}
SMALL_TEXT |= {"num_attention_heads": 2, "intermediate_size": 24}


def run_of(recipe, seed, *, minutes=2.0, **scores):
    return {
        "recipe": recipe,
        "seed": seed,
        "mR": scores,
        "processor_minutes": 1.5 * minutes,
        "schedule": {"num_train_epochs": 4},
        "fingerprint": SERIES.fingerprint(recipe),
        "git_revision": "0" * 40,
    }


def built(recipe):
    """The model a recipe builds, with random weights and a small text side, and its config."""
    arguments, _, _ = parse_recipe([str(SERIES.recipe_path(recipe)), "--image_weights", "none"])
    arguments.text_weights, arguments.text_layers = "none", 0
    arguments.config = {**arguments.options, "text_config": SMALL_TEXT}
    model = build_model(arguments, []).model
    return model, model.config.to_dict()


def base_of(recipe):
    return f"{recipe.split('_')[0]}_base"


def test_every_recipe_of_the_folder_is_a_row_and_says_what_it_is():
    files = sorted(SERIES.folder.glob("*.yaml"))
    assert [file.stem for file in files] == sorted(SERIES.trained)
    assert all(file.read_text(encoding="utf-8").startswith("# ") for file in files)
    assert set(SERIES.trained) == {"galr_base", "cmpagl_base", *SWITCHES, *TRAINING_SWITCHES}


@pytest.mark.parametrize("recipe", SWITCHES)
def test_a_recipe_builds_the_switch_it_names_and_nothing_else_changes(recipe):
    (_, default), (_, switched) = built(base_of(recipe)), built(recipe)
    changed = {key: value for key, value in switched.items() if value != default[key]}
    assert changed == SWITCHES[recipe]


@pytest.mark.parametrize("recipe", [*SWITCHES, *TRAINING_SWITCHES])
def test_an_ablation_trains_as_its_base_does(recipe):
    base, own = (read_recipe(SERIES.recipe_path(name)) for name in (base_of(recipe), recipe))
    changed = {k: value for k, value in own.items() if value != base.get(k) and k != "config"}
    assert changed == TRAINING_SWITCHES.get(recipe, {})


@pytest.mark.parametrize("family", ["galr", "cmpagl"])
def test_the_base_is_short_scores_its_last_weights_and_freezes_both_towers(family):
    recipe = str(SERIES.recipe_path(f"{family}_base"))
    _, data, training = parse_recipe([recipe])
    assert (data.benchmark, training.num_train_epochs <= 6) == ("ucm", True)
    # What is averaged or chosen on the way would have to be loaded before it is scored.
    assert (training.average_decay, training.eval_strategy) == (0.0, "no")
    assert len(training.freezing) == 2
    assert set(training.freezing.values()) == {-1}
    model, _ = built(f"{family}_base")
    for prefix in training.freezing:
        assert any(name.startswith(prefix) for name, _ in model.named_parameters())


def test_the_global_window_exists_at_the_ablations_image_size():
    model, config = built("cmpagl_base")
    stages = [
        {hasattr(block.attn, "global_kv") for block in stage.blocks}
        for stage in model.image_model.layers
    ]
    # 128 px at stride 16 are 8 x 8 tokens, four windows of 4 x 4; stage 1 is one window itself.
    assert (config["image_size"], config["window_size"]) == (128, 4)
    assert stages == [{True}, {False}]


def test_paired_difference_is_that_of_a_case_worked_out_by_hand():
    # Differences 2, 4, 3: mean 3, sample deviation 1, standard error 1 / sqrt(3) = 0.577.
    # Seed 7 has no partner. Unpaired, 11 ± 1 against 8 ± 2 would look like noise.
    found = series.paired_difference({0: 10.0, 1: 12.0, 2: 11.0}, {0: 8.0, 1: 8.0, 2: 8.0})
    assert found == {"by_seed": {"0": 2, "1": 4, "2": 3}, "mean": 3, "standard_error": 0.577}
    shared = series.paired_difference({0: 10.0, 7: 90.0}, {0: 8.5})
    assert shared == {"by_seed": {"0": 1.5}, "mean": 1.5, "standard_error": None}
    assert series.paired_difference({0: 10.0}, {1: 8.0}) is None


def test_a_row_holds_scores_mean_deviation_and_difference_to_its_reference():
    runs = [run_of("galr_global_only", seed, none=40.0) for seed in SEEDS]
    scores = (42.0, 41.0, 43.0)
    runs += [run_of("galr_regions", seed, none=score) for seed, score in enumerate(scores)]
    plain, regions = SERIES.summaries(runs)
    assert (plain["mean"], plain["deviation"], plain["difference"]) == (40.0, 0.0, None)
    assert regions["mR_by_seed"] == {"0": 42.0, "1": 41.0, "2": 43.0}
    assert (regions["mean"], regions["deviation"], regions["processor_minutes"]) == (42.0, 1.0, 3.0)
    assert regions["difference"]["mean"] == 2.0
    assert regions["recipe"] == "training/recipes/ablations/galr_regions.yaml"


def test_a_rerank_row_comes_from_the_reports_of_its_run_without_another_training():
    reports = [
        {"rerank": "none", "mR": 40.0, "bank_metrics": None},
        {"rerank": "smr", "mR": 42.0, "bank_metrics": {"mR": 41.5}},
        {"rerank": "match", "mR": 39.0, "bank_metrics": None},
    ]
    scores = series.validation_scores(reports)
    assert scores == {"none": 40.0, "smr": 42.0, "smr_bank": 41.5, "match": 39.0}
    rows = {row["score"]: row for row in SERIES.summaries([run_of("cmpagl_base", 0, **scores)])}
    assert {score: row["mean"] for score, row in rows.items()} == scores
    assert rows["smr_bank"]["difference"]["mean"] == 1.5


def test_the_table_shows_spread_only_where_there_is_some():
    runs = [run_of("galr_global_only", 0, none=40.0), run_of("galr_regions", 0, none=41.25)]
    lines = SERIES.table(runs).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0][1:] == ["40.00", NONE, NONE, NONE, "3.0", "`galr_global_only`"]
    assert cells[1][1:5] == ["41.25", "GaLR, global only", "+1.25", "+1.25"]
    more = [*runs, run_of("galr_global_only", 1, none=40.0), run_of("galr_regions", 1, none=40.25)]
    assert "| 40.75 ± 0.71 | GaLR, global only | +0.75 ± 0.50 | +1.25 / +0.25 |" in (
        SERIES.table(more)
    )
    assert SERIES.table([]).startswith("No ablations yet: run `python benchmarks/ablations.py")


def test_every_reference_is_a_row_of_the_same_family():
    names = {row.name for row in ROWS}
    for row in ROWS:
        assert not row.reference or row.reference in names - {row.name}
        assert row.reference.split(",")[0] in ("", row.name.split(",")[0])
    assert len(names) == len(ROWS)


@pytest.fixture
def trained(monkeypatch):
    """Stands in for the trainings; a list of those asked for, the third of which fails."""
    asked = []

    def train(self, recipe, *, seed, data):
        asked.append((recipe, seed))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return run_of(recipe, seed, none=40.0 + seed)

    monkeypatch.setattr(series.Series, "train", train)
    return asked


def test_an_interrupted_series_goes_on_with_what_is_missing(trained, tmp_path):
    file = tmp_path / "ablations.json"
    arguments = ["--output", str(file), "--only", "galr_regions", "galr_global_only"]
    arguments += ["--seeds", "0", "1"]
    with pytest.raises(KeyboardInterrupt):
        SERIES.main(None, arguments)
    assert len(SERIES.read_runs(file)) == 2
    SERIES.main(None, arguments)
    # Seed by seed, so that what is there can be compared; the failed one once more.
    pairs = [("galr_regions", 0), ("galr_global_only", 0), ("galr_regions", 1)]
    assert trained == [*pairs, ("galr_regions", 1), ("galr_global_only", 1)]
    SERIES.main(None, arguments)
    assert len(trained) == 5
    assert [row["mean"] for row in json.loads(file.read_text())["rows"]] == [40.5, 40.5]
    assert [path.name for path in tmp_path.iterdir()] == ["ablations.json"]


def test_a_run_whose_recipe_has_changed_since_is_made_again(trained, tmp_path):
    file = tmp_path / "ablations.json"
    stale = run_of("galr_regions", 0, none=10.0) | {"fingerprint": "another"}
    series.save(file, SERIES.report_on([stale]))
    SERIES.main(None, ["--output", str(file), "--only", "galr_regions", "--seeds", "0"])
    assert [run["mR"]["none"] for run in SERIES.read_runs(file)] == [40.0]


def test_the_fingerprint_follows_inherited_settings_but_not_names_of_folders(tmp_path, monkeypatch):
    own = replace(SERIES, folder=tmp_path)
    (tmp_path / "own.yaml").write_text("extends: base.yaml\n")
    found = []
    for text in ("learning_rate: 1\n", "learning_rate: 1\noutput_dir: x\n", "learning_rate: 2\n"):
        (tmp_path / "base.yaml").write_text(text)
        found.append(own.fingerprint("own"))
    assert found[0] == found[1] != found[2]


def test_a_training_is_the_recipe_with_seed_and_data(monkeypatch):
    commands = []

    def finish(command, *, check):
        assert check
        commands.append(command)
        folder = command[command.index("--output_dir") + 1]
        results = {"git_revision": "abc"}
        results["validation"] = [{"rerank": "none", "mR": 33.33333, "bank_metrics": None}]
        (Path(folder) / "results.json").write_text(json.dumps(results))

    monkeypatch.setattr(series.subprocess, "run", finish)
    run = SERIES.train("galr_regions", seed=2, data="somewhere")
    assert (run["recipe"], run["seed"], run["mR"]) == ("galr_regions", 2, {"none": 33.333})
    assert run["schedule"]["image_size"] == 128
    assert run["processor_minutes"] >= 0
    assert commands[0][2].endswith("ablations/galr_regions.yaml")
    assert commands[0][-4:] == ["--seed", "2", "--data", "somewhere"]


def test_recorded_rows_are_those_their_runs_give():
    recorded = series.read(SERIES.file)
    assert recorded == json.loads(json.dumps(SERIES.report_on(recorded["runs"])))
