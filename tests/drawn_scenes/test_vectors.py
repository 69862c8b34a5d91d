"""The vectors that ship are those of the models that ship."""

import pytest
import torch

from drawn_scenes.vectors import MODELS
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.kept_vectors import (
    kept_texts,
    pictures_name,
    shipped_pictures,
    texts_name,
)
from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import VECTORS_FOLDER, read_caption_bank, sample_folder
from rsctir_hf.search.confidence import yardstick_sentences

SOME = slice(None, None, 67)
AGAIN = "run: python -m drawn_scenes.vectors"
MOST_BYTES = 5_000_000


@pytest.fixture(scope="module", params=MODELS)
def encoder(request, checkpoint):
    return Encoder.from_pretrained(checkpoint(request.param.rpartition("/")[2]))


def test_all_scenes_of_a_model_that_ships_have_their_vectors(encoder):
    paths = list_images(sample_folder())
    found = shipped_pictures(encoder, paths)
    assert found is not None, AGAIN
    assert found.shape == (200, 512)
    made = encoder.images(paths[SOME]).vectors
    torch.testing.assert_close(found[SOME], made, atol=5e-4, rtol=0)


def test_all_sentences_of_the_bank_have_their_vectors(encoder, monkeypatch):
    bank = read_caption_bank()
    made = encoder.texts(bank[SOME])
    monkeypatch.setattr(Encoder, "texts", lambda *_: pytest.fail(AGAIN))
    torch.testing.assert_close(kept_texts(encoder, bank)[SOME], made, atol=5e-4, rtol=0)


def test_nothing_ships_for_models_that_do_not(all_checkpoints):
    bank, paths = read_caption_bank(), list_images(sample_folder())
    loaded = [Encoder.from_pretrained(all_checkpoints[0].parents[1] / model) for model in MODELS]
    texts = bank, yardstick_sentences()
    names = {texts_name(one, sentences) for one in loaded for sentences in texts}
    names |= {pictures_name(one, paths) for one in loaded}
    files = list(VECTORS_FOLDER.iterdir())
    assert {file.name for file in files} == names, AGAIN
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
