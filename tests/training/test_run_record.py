"""The record of a run can be read again, and tells no secret."""

import pytest
import torch
import yaml

from rsctir_hf.detection.detector_args import parse_detector_recipe
from rsctir_hf.errors import OutputExistsError
from rsctir_hf.training.data_args import DataArguments
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.training.run_record import begin_run, git_revision, recipe_of, write_record


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


@pytest.mark.parametrize("door", ["run", "detector"])
def test_a_finished_model_is_not_written_over_unless_asked(door, tmp_path, monkeypatch):
    # before anything is loaded, so that no data are needed
    monkeypatch.setattr("rsctir_hf.training.run_record.set_seed", lambda seed: None)
    parse = parse_recipe if door == "run" else parse_detector_recipe
    data = [] if door == "run" else ["--data", "d"]

    def begin(*flags):
        return begin_run(parse([*data, "--output_dir", str(tmp_path), *flags])[-1])

    begin()
    (tmp_path / "_runs").mkdir()
    begin()  # logs of a run that did not get far
    checkpoint = tmp_path / "_checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    with pytest.raises(OutputExistsError, match=r"unfinished run \(checkpoint-3.*--output_dir.*"
                       r"--overwrite_output_dir true.*--resume_from_checkpoint true"):  # fmt: skip
        begin()
    (tmp_path / "model.safetensors").touch()
    elsewhere = str(tmp_path / "other" / "checkpoint-3")
    for flags in (
        (),
        ("--resume_from_checkpoint", "false"),
        ("--resume_from_checkpoint", elsewhere),
    ):
        with pytest.raises(OutputExistsError, match=r"finished model.*--overwrite_output_dir true"):
            begin(*flags)
    begin("--overwrite_output_dir", "true")
    begin("--resume_from_checkpoint", "true")
    begin("--resume_from_checkpoint", str(checkpoint))
    checkpoint.rmdir()
    with pytest.raises(OutputExistsError):  # nothing to go on from, so it would begin anew
        begin("--resume_from_checkpoint", "true")
    recipe = recipe_of(*parse([*data, "--output_dir", "o", "--overwrite_output_dir", "true"]))
    assert "overwrite_output_dir" not in recipe and "disable_tqdm" not in recipe


def test_files_of_somebody_elses_are_not_written_over(tmp_path):
    (tmp_path / "README.md").write_text("of a project")
    (tmp_path / "LICENSE").write_text("of a project")
    with pytest.raises(OutputExistsError, match=r"write over \(README.md, LICENSE\)"):
        begin_run(parse_recipe(["--output_dir", str(tmp_path)])[-1])
