"""What a run leaves behind: choices on validation, and a record that can be read again."""

import pytest
import torch
import yaml

from rsctir_hf.run_report import (
    choose_on_validation,
    confident_score,
    git_revision,
    recipe_of,
    write_record,
)
from rsctir_hf.training_args import DataArguments, parse_recipe


def test_the_confident_score_lies_midway_between_on_topic_and_off_topic_sentences():
    # 5 % quantile of 0.50, 0.51 ... 1.50 is 0.55; 95 % quantile of 0.00, 0.01 ... 1.00 is 0.95.
    steps = torch.arange(101) / 100
    assert confident_score(steps + 0.5, steps) == pytest.approx((0.55 + 0.95) / 2)


def test_choices_are_written_to_the_configuration(tiny_clip, tiny_clip_processor, captioned_rows):
    choose_on_validation(tiny_clip, tiny_clip_processor, captioned_rows)
    assert tiny_clip.config.smr_temperature > 0
    assert -1 <= tiny_clip.config.confident_score <= 1


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
