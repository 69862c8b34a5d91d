"""``--help`` of the trainings: every flag of ours says what it does, and ours come first."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from rsctir_hf.detection.detector_args import DetectorTrainingArguments, parse_detector_recipe
from rsctir_hf.training.field_help import field_help
from rsctir_hf.training.recipe_args import (
    DataArguments,
    ModelArguments,
    RetrievalTrainingArguments,
    parse_recipe,
)


@pytest.mark.parametrize(
    "group",
    [ModelArguments, DataArguments, RetrievalTrainingArguments, DetectorTrainingArguments],
)
def test_every_field_of_ours_has_its_text(group):
    own = {field.name for field in fields(group)} - {f.name for f in fields(TrainingArguments)}
    told = field_help(group)
    assert own <= set(told) and all(len(text) > 15 for text in told.values())
    assert set(told) <= {field.name for field in fields(group)}


@pytest.mark.parametrize(
    ("parse", "flag", "said"),
    [
        (parse_recipe, "--keep_data", "see what was forgotten"),
        (parse_detector_recipe, "--crop_side", "pixels"),
    ],
)
def test_help_lists_ours_first_each_with_its_text(parse, flag, said, capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    ours, title, theirs = text.partition("Of transformers.TrainingArguments")
    assert title and text.startswith("usage: ") and "[RECIPE.yaml]" in text.splitlines()[0]
    assert flag in ours and "--output_dir" in ours and said in " ".join(ours.split())
    assert "--weight_decay" in theirs and "--frozen_epochs" not in theirs
