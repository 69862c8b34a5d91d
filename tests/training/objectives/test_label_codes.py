"""The objective of labels: which pictures count, and where the labels come from."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.data.label_sets import with_labels
from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.data.tables import our_table
from rsctir_hf.errors import RecipeError
from rsctir_hf.training.objectives.label_codes import LabelCodes, LabelCodesOptions
from rsctir_hf.training.objectives.registry import OBJECTIVES, read_objectives

MODEL = SimpleNamespace(config=SimpleNamespace(projection_dim=8))
FACTS = RowFacts(captions=[1, 1], labels=[["ship", "water"], ["sand"]])


def made(**options):
    torch.manual_seed(0)
    return LabelCodes(LabelCodesOptions(**options), MODEL, FACTS)


def batch(labels):
    vectors = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    vectors.requires_grad_()
    return SimpleNamespace(outputs=SimpleNamespace(image_embeds=vectors), labels=labels)


def test_pictures_without_labels_are_left_out():
    nothing = torch.full((3,), torch.nan)
    shown = torch.tensor([[0.0, 1, 1], [1.0, 0, 0]])
    given = batch(torch.stack([shown[0], nothing, shown[1]]))
    objective = made()
    expected = objective.loss(given.outputs.image_embeds[[0, 2]], shown)
    assert objective(given).item() == pytest.approx(expected.item())
    for labels in (nothing.repeat(3, 1), None):
        none = batch(labels)
        loss = objective(none)
        loss.backward()
        assert loss.item() == 0 and not none.outputs.image_embeds.grad.any()


def test_its_options_reach_the_terms_and_its_name_a_recipe():
    assert made(distance=0.5).loss.weights.distance == 0.5
    assert OBJECTIVES["label_codes"] is LabelCodes
    assert read_objectives({"label_codes": {"labels": 2}})["label_codes"].labels == 2.0


def test_training_pictures_without_labels_are_refused_with_what_is_needed():
    with pytest.raises(RecipeError, match=r"label_codes needs labels .* multilabels\.jsonl"):
        LabelCodes(LabelCodesOptions(), MODEL, RowFacts(captions=[1]))


def test_a_table_beside_the_data_brings_labels_by_split_and_name(tmp_path):
    table = our_table(
        [None] * 3, captions=[["a"]] * 3, names=["a.jpg", "b.jpg", "x/c.jpg"], categories=[None] * 3
    )
    assert with_labels(table, tmp_path, split="train") is table
    rows = [
        {"file_name": "a.jpg", "split": "train", "labels": ["ship", "water"]},
        {"file_name": "a.jpg", "split": "test", "labels": ["sand"]},
        {"file_name": "c.jpg", "split": "train", "labels": []},
    ]
    (tmp_path / "multilabels.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = with_labels(table, tmp_path, split="train")
    assert found["labels"][:] == [["ship", "water"], None, []]
    facts = RowFacts.of({"mine": found})
    assert facts.label_names == ["ship", "water"] and facts.labels[1] is None
