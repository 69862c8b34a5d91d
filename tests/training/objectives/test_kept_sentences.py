"""The base's vectors of general sentences, held while a model learns from few captions."""

import pytest
import torch

from rsctir_hf.errors import RecipeError
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.training.objectives.registry import read_objectives
from tests.tiny_training import make_trainer, tiny_processor, tiny_rows


@pytest.fixture(scope="module")
def rows():
    return tiny_rows()


@pytest.fixture(scope="module")
def processor(rows):
    return tiny_processor(rows)


def trained(folder, rows, processor, **objectives):
    trainer = make_trainer(
        folder, rows, processor, matching_weight=0.0, frozen_epochs={}, objectives=objectives
    )
    bank = read_caption_bank()[:200]
    base = trainer.encoder.texts(bank).clone()
    trainer.train()
    return (trainer.encoder.texts(bank) * base).sum(dim=1).mean()  # cosine to the base


def test_general_sentences_stay_where_the_base_had_them(tmp_path, rows, processor):
    plain = trained(tmp_path / "a", rows, processor)
    kept = trained(tmp_path / "b", rows, processor, kept_sentences={"weight": 30.0})
    assert 1 - kept < (1 - plain) / 2


def test_nothing_is_lost_before_the_first_step_and_each_step_takes_the_next(
    tmp_path, rows, processor
):
    options = {"objectives": {"kept_sentences": {"sentences": 1000}}, "matching_weight": 0.0}
    trainer = make_trainer(tmp_path, rows, processor, **options)
    objective, bank = trainer.objectives["kept_sentences"], read_caption_bank()
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.eval()
    plain = make_trainer(tmp_path / "plain", rows, processor, matching_weight=0.0)
    plain.model.eval()
    expected = plain.compute_loss(plain.model, dict(batch))
    for taken in (1000, 2000 - len(bank)):
        found = trainer.compute_loss(trainer.model, dict(batch))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert objective.next == taken
    assert "next" in objective.state_dict() and len(objective.state_dict()) == 1
    with torch.no_grad():
        objective.vectors.neg_()
    found = trainer.compute_loss(trainer.model, dict(batch))
    torch.testing.assert_close(found, expected + 2, atol=1e-4, rtol=1e-4)


def test_no_sentence_at_all_is_refused():
    with pytest.raises(RecipeError, match="sentences is 0; expected 1 or more"):
        read_objectives({"kept_sentences": {"sentences": 0}})
