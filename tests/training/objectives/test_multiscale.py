"""MSA's heads against a slow oracle written as the released code is."""

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.errors import RecipeError
from rsctir_hf.training.objectives.multiscale import Multiscale, MultiscaleOptions, stage_maps
from rsctir_hf.training.objectives.objective import Batch
from tests.models.tiny_cmpagl import seeded_model, shake, tiny_config, tiny_stem_config
from tests.tiny_galr import tiny_galr

PICTURES, WORDS = 3, 6


def cmpagl():
    return seeded_model(tiny_config())


def batch_of(model, *, captions=PICTURES):
    """Three pictures; sentence 0 has three words, the others more."""
    torch.manual_seed(1)
    ids = torch.randint(5, 11, (captions, WORDS))
    mask = torch.ones_like(ids)
    mask[0, 3:] = 0
    side = model.config.image_size
    inputs = {
        "pixel_values": torch.randn(PICTURES, 3, side, side),
        "input_ids": ids * mask,
        "attention_mask": mask,
    }
    outputs = model(**inputs, output_hidden_states=True)
    rows = torch.arange(captions) % PICTURES
    return Batch(
        model=model,
        inputs=inputs,
        outputs=outputs,
        similarity=outputs.image_embeds @ outputs.text_embeds.T,
        image_of_caption=rows,
        positives=F.one_hot(rows, PICTURES).T.bool(),
        scale=torch.tensor(5.0, requires_grad=True),
        epoch=0.0,
    )


def objective_of(model, **options):
    torch.manual_seed(2)
    made = Multiscale(MultiscaleOptions(**{"heads": 2, **options}), model, RowFacts()).eval()
    shake(made)
    return made


def slow_match(head, objective, pooled, words, text, padding):
    """Match one picture with one sentence as the released code does."""
    stage = head.project(pooled)[None]  # (1, width)
    asked = objective.norm_words(words)[:, None]  # (T, 1, width)
    asking = objective.norm_stage(stage)[None]
    found = head.attention(asking, asked, asked, key_padding_mask=padding)[0][0]
    return head.match((found + objective.sentence(text)) * stage).squeeze()


def slow_matches(objective, batch, pooled, *, released):
    vectors, unread = batch.outputs.text_embeds, batch.inputs["attention_mask"] == 0
    states = batch.outputs.text_model_output.last_hidden_state
    first = 1 if released else 0
    return [
        torch.stack(
            [
                torch.stack(
                    [
                        slow_match(
                            head,
                            objective,
                            stage[b],
                            states[c, first:],
                            vectors[c],
                            None if released else unread[c][None],
                        )
                        for c in range(len(states))
                    ]
                )
                for b in range(PICTURES)
            ]
        )
        for head, stage in zip(objective.stages, pooled, strict=True)
    ]


def pooled_of_cmpagl(batch):
    # Two stages of two blocks: states 0 to 2 are of the first, 3 and 4 of the second.
    states = batch.outputs.vision_model_output.hidden_states
    return [states[2].amax((1, 2)), states[4].mean((1, 2))]


def test_the_released_form_is_the_released_code():
    batch = batch_of(model := cmpagl())
    objective = objective_of(model, form="released")
    matches = slow_matches(objective, batch, pooled_of_cmpagl(batch), released=True)
    first, last = (torch.sigmoid(each) for each in matches)
    cross = sum(F.cross_entropy(each, torch.arange(PICTURES)) for each in (first, last))
    taught, judged = (last / 2).softmax(0), (first / 2).softmax(0)
    apart = (judged * (judged / taught).log()).mean()  # over all cells
    torch.testing.assert_close(objective(batch), 15 * cross + 10 * apart)


def test_the_scaled_form_drops_sigmoid_and_padding_and_divides_by_the_temperature():
    batch = batch_of(model := cmpagl())
    objective = objective_of(model, form="scaled")
    matches = slow_matches(objective, batch, pooled_of_cmpagl(batch), released=False)
    first, last = (each * 5 for each in matches)
    cross = sum(F.cross_entropy(each, torch.arange(PICTURES)) for each in (first, last))
    apart = (first.softmax(0) * (first.log_softmax(0) - last.log_softmax(0))).sum(0).mean()
    torch.testing.assert_close(objective(batch), 15 * cross + 10 * apart)


def test_a_cross_entropy_of_sigmoids_cannot_fall_far():
    # The best that 3 sigmoids can do is 1, 0, 0: log(e + 2) - 1 = 0.551 of log 3 = 1.099.
    batch = batch_of(model := cmpagl())
    objective = objective_of(model, form="released", cross=1.0, consistency=0.0)
    assert objective(batch).item() > 2 * (torch.log(torch.e + torch.tensor(2.0)) - 1)


def test_padding_changes_nothing_in_the_scaled_form_alone():
    model = cmpagl()
    batch = batch_of(model)
    states = batch.outputs.text_model_output.last_hidden_state
    for form, same in (("scaled", True), ("released", False)):
        objective = objective_of(model, form=form)
        before = objective.matches(batch)[0].detach()
        with torch.no_grad():
            states[0, 3:] *= -1
        change = (objective.matches(batch)[0] - before).abs().amax(0)
        assert (change[0] < 1e-6) == same
        assert not change[1:].any()


def test_several_sentences_of_a_picture_share_its_target():
    batch = batch_of(model := cmpagl(), captions=2 * PICTURES)
    objective = objective_of(model, consistency=0.0)
    expected = -sum(
        (each * 5).log_softmax(1)[batch.positives].sum() / (2 * PICTURES)
        for each in slow_matches(objective, batch, pooled_of_cmpagl(batch), released=False)
    )
    torch.testing.assert_close(objective(batch), 15 * expected)
    objective_of(model, form="released")(batch)  # takes each in turn


def test_the_last_stage_and_the_temperature_learn_nothing_from_consistency():
    batch = batch_of(model := cmpagl())
    objective = objective_of(model, cross=0.0)
    objective(batch).backward()
    first, last = (head.project.weight.grad for head in objective.stages)
    assert first.abs().max() > 0
    assert last is None or not last.any()
    assert batch.scale.grad is None


@pytest.mark.parametrize("form", ["released", "scaled"])
def test_stages_of_both_families_and_the_words_learn(form):
    galr, _ = tiny_galr(["a pier", "a road"])
    for model, stages in ((galr, 4), (cmpagl(), 2), (seeded_model(tiny_stem_config()), 2)):
        objective = objective_of(model, form=form)
        objective(batch_of(model)).backward()
        assert len(objective.stages) == stages
        tower = getattr(model, "backbone", None) or model.image_model
        for learner in (tower, model.text_projection):
            assert any(p.grad is not None and p.grad.any() for p in learner.parameters())


def test_stages_are_runs_of_maps_of_one_shape():
    finer, coarser = torch.rand(1, 4, 4, 3), torch.rand(1, 2, 2, 6)
    first, last = stage_maps([finer + 1, finer, coarser + 1, coarser], 6)
    assert torch.equal(first, finer.permute(0, 3, 1, 2))
    assert torch.equal(last, coarser.permute(0, 3, 1, 2))
    assert stage_maps([torch.rand(1, 3, 4, 4)], 3)[0].shape == (1, 3, 4, 4)


def test_a_tower_without_maps_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(RecipeError, match="gives no maps"):
        stage_maps([torch.rand(1, 9, 6)], 6)
    with pytest.raises(RecipeError, match="heads is 3; expected a divisor of 16"):
        objective_of(cmpagl(), heads=3)
    with pytest.raises(RecipeError, match="form is 'old'"):
        MultiscaleOptions(form="old")
