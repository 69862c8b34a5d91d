"""The base's vectors of general sentences, held while a model learns from few captions."""

from types import SimpleNamespace

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


def test_pictures_go_on_to_read_the_bank_as_the_base_did(tmp_path, rows, processor):
    def read_otherwise(folder, **options):
        trainer = make_trainer(
            folder,
            rows,
            processor,
            matching_weight=0.0,
            frozen_epochs={},
            objectives={"kept_sentences": {"weight": 1e-6, "reading": 1.0, **options}},
        )
        trainer.train()
        trainer.model.eval()
        with torch.no_grad():
            batch = next(iter(trainer.get_train_dataloader()))
            trainer.objectives["kept_sentences"].next.zero_()
            inputs = {"pixel_values": batch["pixel_values"]}
            seen = SimpleNamespace(
                inputs=inputs,
                outputs=SimpleNamespace(
                    image_embeds=trainer.model.get_image_features(**inputs).pooler_output
                ),
            )
            return trainer.objectives["kept_sentences"]._read_otherwise(seen)

    plain = read_otherwise(tmp_path / "a")
    kept = read_otherwise(tmp_path / "b", reading=1e8)
    assert 0 < kept < 0.75 * plain


def test_nothing_is_lost_before_the_first_step_and_each_step_takes_the_next(
    tmp_path, rows, processor
):
    options = {"objectives": {"kept_sentences": {"sentences": 1000, "reading": 1.0}}}
    options["matching_weight"] = 0.0
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sentences": 0}, "sentences is 0; expected 1 or more"),
        ({"reading": -1.0}, "reading is -1.0; expected 0 or more"),
        ({"pictures": 0}, "pictures is 0; expected 1 or more"),
        ({"temperature": 0.0}, "temperature is 0.0; expected more than 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        read_objectives({"kept_sentences": options})
