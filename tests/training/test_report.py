"""What a run leaves behind: choices on validation, and a record that can be read again."""

import pytest
import torch
import yaml

from rsctir_hf.evaluation import SMR_TEMPERATURES
from rsctir_hf.training.recipe_args import DataArguments, parse_recipe
from rsctir_hf.training.report import (
    OFF_TOPIC,
    best_on_average,
    choose_on_validation,
    confident_score,
    git_revision,
    judge,
    recipe_of,
    validation_reports,
    write_record,
)


def test_the_confident_score_lies_midway_between_on_topic_and_off_topic_sentences():
    # 5 % quantile of 0.50, 0.51 ... 1.50 is 0.55; 95 % quantile of 0.00, 0.01 ... 1.00 is 0.95.
    steps = torch.arange(101) / 100
    assert confident_score(steps + 0.5, steps) == pytest.approx((0.55 + 0.95) / 2)


def test_choices_are_written_to_the_configuration(tiny_encoder, tiny_clip, captioned_rows):
    choose_on_validation(
        tiny_encoder,
        judge(tiny_encoder, {"ucm": captioned_rows}),
    )
    assert tiny_clip.config.smr_temperature > 0
    assert -1 <= tiny_clip.config.confident_score <= 1


def test_the_value_that_is_best_on_average_is_chosen_and_the_first_of_equals():
    # Means 2, 3 and 3; the first set alone would choose 0.1 and the second 0.3.
    scores = {0.1: [4.0, 0.0], 0.2: [3.0, 3.0], 0.3: [1.0, 5.0]}
    assert best_on_average((0.1, 0.2, 0.3), scores.__getitem__) == 0.2
    assert best_on_average((0.3, 0.2, 0.1), scores.__getitem__) == 0.3


def test_the_temperature_is_chosen_on_all_sets_and_not_on_the_first(
    tiny_encoder, captioned_rows, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "rsctir_hf.training.report.directional_metrics",
        lambda i2t, t2i, owners: asked.append(len(owners)) or {"mR": 0.0},
    )
    sets = {"ucm": captioned_rows, "rsicd": captioned_rows[:2]}
    choose_on_validation(
        tiny_encoder,
        judge(tiny_encoder, sets),
    )
    assert asked == [8, 4] * len(SMR_TEMPERATURES)


def test_confidence_comes_from_the_sentences_of_all_sets_each_in_its_own_gallery(
    tiny_encoder, captioned_rows, monkeypatch
):
    lengths = []
    monkeypatch.setattr(
        "rsctir_hf.training.report.confident_score",
        lambda on, off: lengths.append((len(on), len(off))) or 0.0,
    )
    sets = {"ucm": captioned_rows, "rsicd": captioned_rows[:2]}
    choose_on_validation(
        tiny_encoder,
        judge(tiny_encoder, sets),
    )
    assert lengths == [(7 + 3, 2 * len(OFF_TOPIC))]  # distinct sentences: "many boats" twice


def test_there_is_a_report_for_each_set_and_rerank(tiny_encoder, captioned_rows):
    reports = validation_reports(
        tiny_encoder,
        judge(
            tiny_encoder,
            {"ucm": captioned_rows, "rsicd": captioned_rows[:2]},
        ),
        bank=["a river", "a pier"],
        source={"model": "m", "split": "validation", "seed": 0},
    )
    assert [(report["data"], report["rerank"], report["images"]) for report in reports] == [
        (name, rerank, images)
        for name, images in (("ucm", 4), ("rsicd", 2))
        for rerank in ("none", "smr", "mr")
    ]
    assert {report["split"] for report in reports} == {"validation"}


def test_the_recipe_holds_what_was_given_and_reads_back(tmp_path):
    given = ["--family", "galr", "--learning_rate", "3e-4", "--lr_scheduler_type", "cosine"]
    given += ["--frozen_epochs", "{a: 1}", "--output_dir", str(tmp_path), "--data", "here"]
    model, data, training = parse_recipe(given)
    recipe = recipe_of(model, data, training)
    write_record(tmp_path, results={"x": 1}, recipe=recipe)
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["lr_scheduler_type"] == "cosine"
    again = parse_recipe([str(tmp_path / "recipe.yaml")])
    assert again[0] == model
    assert again[1] == data == DataArguments(data="here")
    assert again[2].learning_rate == 3e-4
    assert again[2].frozen_epochs == {"a": 1}


def test_no_secret_and_no_hub_setting_reaches_the_recipe(tmp_path):
    given = ["--hub_token", "hf_SECRET", "--hub_model_id", "org/x", "--output_dir", str(tmp_path)]
    assert not any("hf_SECRET" in str(v) or k.startswith("hub") for k, v in
                   recipe_of(*parse_recipe(given)).items())  # fmt: skip


def test_the_git_revision_is_a_commit_of_this_checkout():
    revision = git_revision()
    assert revision is not None
    assert len(revision.removesuffix("-dirty")) == 40
    assert torch.tensor([c in "0123456789abcdef" for c in revision[:40]]).all()
