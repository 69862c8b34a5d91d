"""The record of a run can be read again, and tells no secret."""

import torch
import yaml

from rsctir_hf.training.recipe_args import DataArguments, parse_recipe
from rsctir_hf.training.run_record import git_revision, recipe_of, write_record


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
