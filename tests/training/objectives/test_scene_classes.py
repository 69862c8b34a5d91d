"""Class supervision of both sides and margins that follow it, against closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.errors import RecipeError
from rsctir_hf.losses import triplet_loss
from rsctir_hf.training.objectives.scene_classes import (
    SceneClasses,
    SceneClassOptions,
    adaptive_margins,
    class_loss,
)
from tests.models.tiny_cmpagl import seeded_model, tiny_config
from tests.tiny_training import make_trainer, tiny_model, tiny_processor, tiny_rows
from tests.training.objectives.test_multiscale import batch_of

FACTS = RowFacts(captions=[1, 1, 1], classes=["pier", "", "airport"])
CLASSES = torch.tensor([1, -1, 0])  # in alphabetical order


def prepared(**options):
    model = seeded_model(tiny_config())
    objective = SceneClasses(SceneClassOptions(**options), model, FACTS)
    return objective, replace(batch_of(model), classes=CLASSES)


def test_margins_shrink_within_a_class_alone():
    # Picture 0 and sentence 0: cosine 1, so 1 - 1 = 0, below the floor of 0.3. Picture 0 and
    # sentence 1: cosine of (1, 0) and (0.6, 0.8) is 0.6, so 0.4. Picture 1 is of another class,
    # picture 2 of none: whole margins.
    pictures = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    captions = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    classes = (torch.tensor([0, 1, -1]), torch.tensor([0, 0]))
    found = adaptive_margins((pictures, captions), classes, margin=0.2, floor=0.3)
    torch.testing.assert_close(found, torch.tensor([[0.06, 0.08], [0.2, 0.2], [0.2, 0.2]]))


def test_two_of_no_known_class_are_not_of_the_same():
    unknown = (torch.tensor([-1]), torch.tensor([-1]))
    found = adaptive_margins((torch.ones(1, 2), torch.ones(1, 2)), unknown, margin=0.2, floor=0.3)
    assert found.item() == pytest.approx(0.2)


def test_the_class_loss_leaves_out_what_is_not_known():
    logits = torch.tensor([[0.0, math.log(3)], [9.0, 0.0]])  # the first says 1/4 and 3/4
    assert class_loss(logits, torch.tensor([1, -1])).item() == pytest.approx(math.log(4 / 3))
    assert class_loss(logits, torch.tensor([-1, -1])).item() == 0


def test_both_sides_are_supervised_by_one_head_in_the_model():
    objective, batch = prepared(ranking=0.0)
    outputs, head = batch.outputs, batch.model.scene_head
    expected = [
        F.cross_entropy(5 * head(vectors)[[0, 2]], torch.tensor([1, 0]))
        for vectors in (outputs.image_embeds, outputs.text_embeds)
    ]
    loss = objective(batch)
    torch.testing.assert_close(loss, sum(expected) / 2)
    loss.backward()
    for learner in (head, batch.model.image_projection, batch.model.text_projection):
        assert any(each.grad.any() for each in learner.parameters())
    assert batch.scale.grad is None
    assert not list(objective.parameters())  # nothing of it is dropped with the objective


def test_the_ranking_is_the_triplet_loss_with_these_margins():
    objective, batch = prepared(supervision=0.0, margin=0.5)
    outputs, head = batch.outputs, batch.model.scene_head
    sides = [
        (5 * head(vectors)).softmax(-1) for vectors in (outputs.image_embeds, outputs.text_embeds)
    ]
    margins = torch.tensor(
        [
            [
                0.5 * (max(0.3, 1 - torch.cosine_similarity(p, c, dim=0).item()) if b == k else 1)
                for k, c in zip((1, -2, 0), sides[1], strict=True)
            ]
            for b, p in zip((1, -3, 0), sides[0], strict=True)
        ]
    )
    pairs = (batch.similarity, batch.image_of_caption, batch.positives)
    expected = triplet_loss(*pairs, margin=margins, negatives="mean")
    torch.testing.assert_close(objective(batch), expected)


def test_a_batch_of_no_known_class_is_ranked_all_the_same():
    objective, batch = prepared()
    pairs = (batch.similarity, batch.image_of_caption, batch.positives)
    expected = triplet_loss(*pairs, margin=0.2, negatives="mean")
    torch.testing.assert_close(objective(replace(batch, classes=None)), expected)


def test_a_head_for_the_same_classes_is_kept_and_saved_with_their_names(tmp_path):
    _, batch = prepared()
    model = batch.model
    assert model.config.scene_classes == ["airport", "pier"]
    kept = model.scene_head
    SceneClasses(SceneClassOptions(), model, FACTS)
    assert model.scene_head is kept
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.config.scene_classes == ["airport", "pier"]
    assert torch.equal(again.scene_head.weight, kept.weight)
    SceneClasses(SceneClassOptions(), again, RowFacts([1, 1], ["pier", "road"]))
    assert again.config.scene_classes == ["pier", "road"]


def test_data_without_classes_and_models_without_a_place_are_refused():
    model = seeded_model(tiny_config())
    with pytest.raises(RecipeError, match="two classes or more, and the data have 0"):
        SceneClasses(SceneClassOptions(), model, RowFacts())
    with pytest.raises(RecipeError, match="needs a GaLR or CMPAGL model"):
        SceneClasses(SceneClassOptions(), torch.nn.Linear(1, 1), FACTS)
    with pytest.raises(RecipeError, match=r"floor is 2\.0; expected"):
        SceneClassOptions(floor=2.0)


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
def test_the_base_has_no_share_in_a_head_that_it_did_not_have(known, tmp_path, monkeypatch):
    rows = [row | {"category": ("pier", "airport")[n % 2]} for n, row in enumerate(tiny_rows())]
    model = tiny_model(processor := tiny_processor(rows))
    if known:  # a base that tells these very classes apart
        SceneClasses(SceneClassOptions(), model, RowFacts(classes=["pier", "airport"]))
    monkeypatch.setattr("tests.tiny_training.tiny_model", lambda _: model)
    options = {"objectives": {"scene_classes": {}}, "base_share": "1", "learning_rate": 0.1}
    trainer = make_trainer(tmp_path, rows, processor, load_best_model_at_end=False, **options)
    start = model.scene_head.weight.detach().clone()
    trainer.train()
    trained = model.scene_head.weight.detach().clone()
    trainer.settle_weights()
    assert not torch.equal(start, trained)
    expected = start if known else trained
    torch.testing.assert_close(model.scene_head.weight, expected, atol=1e-3, rtol=1e-3)
