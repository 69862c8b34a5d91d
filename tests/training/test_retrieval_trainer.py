"""The Trainer of both families: batches, pictures by epoch, validation, and the loss joint."""

import itertools

import pytest
import torch
from transformers import AutoTokenizer
from transformers.modeling_outputs import BaseModelOutput

from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.losses import (
    distillation_loss,
    info_nce_loss,
    intra_class_loss,
    triplet_loss,
)
from rsctir_hf.models.cmpagl import CMPAGLModel, CMPAGLOutput
from rsctir_hf.training.matching_pairs import draw_pairs, fusion_loss
from rsctir_hf.training.retrieval_trainer import mean_metrics
from rsctir_hf.training.staged import hold_statistics
from rsctir_hf.training.teachers import Teacher, Teachers
from tests.tiny_training import StopAt, curve, make_trainer


def test_another_seed_gives_another_run(tmp_path, rows, processor):
    first = make_trainer(tmp_path / "a", rows, processor, max_steps=2)
    second = make_trainer(tmp_path / "b", rows, processor, max_steps=2, seed=1)
    first.train()
    second.train()
    assert curve(first) != curve(second)


def test_epochs_see_different_augmentations_of_the_same_rows(tmp_path, rows, processor):
    trainer = make_trainer(tmp_path, rows, processor)
    loader = trainer.get_train_dataloader()
    epochs = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        epochs.append(torch.cat([batch["pixel_values"] for batch in loader]))
    assert len(epochs[0]) == len(epochs[1]) == len(rows)
    assert not torch.equal(epochs[0], epochs[1])
    sampled = itertools.chain.from_iterable(loader.batch_sampler)
    assert sorted(index % len(rows) for index in sampled) == list(range(len(rows)))


def test_pictures_of_the_first_epochs_are_small_and_validation_never_is(
    tmp_path, rows, processor, monkeypatch
):
    options = {"low_resolution": 32, "low_resolution_epochs": 2}
    trainer = make_trainer(tmp_path, rows, processor, **options)
    seen = []
    encode = CMPAGLModel.forward, CMPAGLModel.get_image_features

    def forward(model, **inputs):
        seen.append((len(seen) // 3, inputs["pixel_values"].shape[-1]))
        return encode[0](model, **inputs)

    def embed(model, pixel_values, **asked):
        assert model.training or pixel_values.shape[-1] == 16
        return encode[1](model, pixel_values, **asked)

    monkeypatch.setattr(CMPAGLModel, "forward", forward)
    monkeypatch.setattr(CMPAGLModel, "get_image_features", embed)
    trainer.train()
    assert seen == [(0, 32)] * 3 + [(1, 32)] * 3 + [(2, 16)] * 3


def test_a_batch_holds_pictures_of_one_set(tmp_path, rows, processor):
    sets = {"ucm": rows[:4], "rsicd": rows[4:]}
    trainer = make_trainer(tmp_path, sets, processor, validation=sets, max_steps=2)
    loader = trainer.get_train_dataloader()
    batches = [sorted(batch) for batch in loader.batch_sampler]
    assert sorted(map(len, batches)) == [2, 4, 4]
    assert [0, 1, 2, 3] in batches
    assert sorted(len(batch["pixel_values"]) for batch in loader) == [2, 4, 4]


def test_each_validation_set_is_a_gallery_of_its_own_and_the_mean_decides(
    tmp_path, rows, processor
):
    sets = {"ucm": rows[:3], "rsicd": rows[3:]}
    trainer = make_trainer(tmp_path, sets, processor, validation=sets)
    found = trainer.evaluate()
    alone = {name: trainer.evaluate({name: part})["eval_mR"] for name, part in sets.items()}
    assert found["eval_ucm_mR"] == pytest.approx(alone["ucm"])
    assert found["eval_rsicd_mR"] == pytest.approx(alone["rsicd"])
    assert found["eval_mR"] == pytest.approx((alone["ucm"] + alone["rsicd"]) / 2)


def test_metrics_of_one_set_stand_alone():
    assert mean_metrics({"ucm": {"mR": 3.0}}) == {"mR": 3.0}
    both = mean_metrics({"ucm": {"mR": 3.0}, "rsicd": {"mR": 4.0}})
    assert both == {"mR": 3.5, "ucm_mR": 3.0, "rsicd_mR": 4.0}


def test_the_loss_is_the_weighted_sum_of_its_terms(tmp_path, rows, processor):
    trainer = make_trainer(
        tmp_path,
        rows,
        processor,
        contrastive_weight=2.0,
        triplet_weight=3.0,
        matching_weight=0.0,
        intra_weight=0.5,
    )
    model = trainer.model.eval()
    batch = next(iter(trainer.get_train_dataloader()))
    outputs = model(**{key: batch[key] for key in ("pixel_values", "input_ids", "attention_mask")})
    similarity = outputs.image_embeds @ outputs.text_embeds.T
    pairs = (similarity, batch["image_of_caption"], batch["positives"])
    contrastive = info_nce_loss(similarity, batch["positives"], scale=model.logit_scale.exp())
    triplet = triplet_loss(*pairs, margin=0.2, negatives="mean") + 0.5 * intra_class_loss(*pairs)
    expected = 2.0 * contrastive + 3.0 * triplet
    torch.testing.assert_close(trainer.compute_loss(model, dict(batch)), expected)


def test_the_matching_loss_waits_for_the_end_of_pre_alignment(tmp_path, rows, processor):
    trainer = make_trainer(tmp_path, rows, processor, pre_alignment_fraction=0.5)
    trainer.state.max_steps = 10
    trainer.state.global_step = 4
    assert not trainer.matching_is_on(trainer.model)
    trainer.state.global_step = 5
    assert trainer.matching_is_on(trainer.model)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.compute_loss(trainer.model, dict(batch)).backward()
    assert trainer.model.match_head.weight.grad.abs().sum() > 0


def test_the_matching_loss_judges_true_pairs_and_the_negatives_drawn_for_them():
    # Pictures 0..2 and captions 0..2 of their own; caption 2 is also true of picture 0.
    positives = torch.eye(3, dtype=torch.bool)
    positives[0, 2] = True
    similarity = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))

    class Judge:
        def match_logits(self, *, text_states, attention_mask, image_tokens):
            self.pairs = list(
                zip(
                    image_tokens[:, 0].int().tolist(), text_states[:, 0].int().tolist(), strict=True
                )
            )
            self.logits = torch.stack([torch.zeros(len(self.pairs)), image_tokens[:, 0]], dim=1)
            return self.logits

    judge = Judge()
    ids = torch.arange(3.0)[:, None]
    side = BaseModelOutput(last_hidden_state=ids)
    outputs = CMPAGLOutput(vision_model_output=side, text_model_output=side)
    pairs = draw_pairs(
        similarity, positives, torch.arange(3), generator=torch.Generator().manual_seed(0)
    )
    loss = fusion_loss(judge, outputs, torch.ones(3, 1), pairs=pairs)
    true, negatives = judge.pairs[:3], judge.pairs[3:]
    assert true == [(0, 0), (1, 1), (2, 2)]
    assert len(negatives) == 6  # one caption for each picture, one picture for each caption
    assert not any(positives[image, caption] for image, caption in negatives)
    labels = torch.tensor([1] * 3 + [0] * 6)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(judge.logits, labels))


def test_batch_norm_statistics_stay_or_move_as_asked():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2)).train()
    hold_statistics(net)
    net(torch.randn(8, 2) + 5)
    assert torch.equal(net[0].running_mean, torch.zeros(2))
    net.train()
    net(torch.randn(8, 2) + 5)
    assert not torch.equal(net[0].running_mean, torch.zeros(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_run_on_a_gpu_trains_averages_and_resumes(tmp_path, rows, processor):
    make_trainer(tmp_path, rows, processor, use_cpu=False, callbacks=[StopAt(4)]).train()
    resumed = make_trainer(tmp_path, rows, processor, use_cpu=False)
    resumed.train(resume_from_checkpoint=str(tmp_path / "_checkpoints" / "checkpoint-4"))
    assert {value.device.type for value in resumed.average.weights.values()} == {"cuda"}


def test_a_tokenizer_saved_with_the_checkpoint_reads_the_same(tmp_path, rows, processor):
    trainer = make_trainer(tmp_path, rows, processor, num_train_epochs=1, save_steps=1)
    trainer.train()
    again = AutoTokenizer.from_pretrained(tmp_path / "_checkpoints" / "checkpoint-1")
    assert again("many boats")["input_ids"] == processor.tokenizer("many boats")["input_ids"]


def teachers_of(rows, *, scale):
    """One teacher that tells all rows and sentences apart at random."""
    draw = torch.Generator().manual_seed(7)
    names = list(dict.fromkeys(normalise_caption(c) for row in rows for c in row["captions"]))
    images, texts = (
        torch.nn.functional.normalize(torch.randn(count, 8, generator=draw), dim=1)
        for count in (len(rows), len(names))
    )
    return Teachers([Teacher(images, texts, scale)], names)


def test_the_loss_with_teachers_is_the_one_without_plus_the_distillation(tmp_path, rows, processor):
    teachers = teachers_of(rows, scale=20.0)
    options = {"distillation_weight": 0.7, "distillation_temperature": 3.0, "matching_weight": 0.0}
    trainer = make_trainer(tmp_path, rows, processor, teachers=teachers, **options)
    batch = next(iter(trainer.get_train_dataloader()))
    taught = batch["teacher_logits"]
    assert taught.shape == (1, *batch["positives"].shape)
    model = trainer.model.eval()
    whole, outputs = trainer.compute_loss(model, dict(batch), return_outputs=True)
    alone = {name: value for name, value in batch.items() if name != "teacher_logits"}
    plain = trainer.compute_loss(model, alone)
    extra = distillation_loss(
        outputs.image_embeds @ outputs.text_embeds.T,
        taught,
        scale=model.logit_scale.exp(),
        temperature=3.0,
    )
    assert extra > 0.01
    torch.testing.assert_close(whole, plain + 0.7 * extra)


def test_bfloat16_trains_with_cosines_in_full_precision(tmp_path, rows, processor):
    kinds = []
    trainer = make_trainer(tmp_path, rows, processor, bf16=True, max_steps=2)
    align = trainer.alignment_loss

    def alignment_loss(similarity, *args, **kwargs):
        kinds.append(similarity.dtype)
        return align(similarity, *args, **kwargs)

    trainer.alignment_loss = alignment_loss
    seen = []
    trainer.model.image_projection.linear.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    trainer.train()
    assert set(kinds) == {torch.float32}
    assert torch.bfloat16 in seen
    assert all(value.dtype == torch.float32 for value in trainer.model.parameters())
