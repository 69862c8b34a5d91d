"""AMFMN's objective: the losses of a pair, on its text-guided score."""

from types import SimpleNamespace

import pytest
import torch

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.errors import RecipeError
from rsctir_hf.losses import info_nce_loss, triplet_loss
from rsctir_hf.training.objectives.objective import Batch
from rsctir_hf.training.objectives.registry import read_objectives
from rsctir_hf.training.objectives.text_guided import TextGuided
from tests.tiny_galr import tiny_galr


def guided(images, texts):
    return (images @ texts.T).sin()


MODEL = SimpleNamespace(text_guidance="soft", pair_scores=guided)


def test_it_is_the_losses_of_the_guided_scores():
    images, texts = torch.randn(2, 3, 4).unbind()
    batch = Batch(
        model=MODEL,
        inputs={},
        outputs=SimpleNamespace(image_embeds=images, text_embeds=texts),
        similarity=torch.zeros(3, 3),
        image_of_caption=torch.arange(3),
        positives=torch.eye(3, dtype=torch.bool),
        scale=torch.tensor(7.0),
        epoch=0.0,
    )
    asked = {"contrastive": 0.5, "triplet": 2.0, "margin": 0.3, "negatives": "sum"}
    (options,) = read_objectives({"text_guided": asked}).values()
    scores = guided(images, texts)
    expected = 0.5 * info_nce_loss(scores, batch.positives, scale=7.0) + 2.0 * triplet_loss(
        scores, batch.image_of_caption, batch.positives, margin=0.3, negatives="sum"
    )
    torch.testing.assert_close(TextGuided(options, MODEL, RowFacts())(batch), expected)


def test_a_model_that_scores_by_the_cosine_is_refused():
    (options,) = read_objectives({"text_guided": {}}).values()
    with pytest.raises(RecipeError, match=r"Add config: \{text_guidance: soft\}"):
        TextGuided(options, tiny_galr(["a"])[0], RowFacts())


@pytest.mark.parametrize("wrong", [{"margin": -1.0}, {"negatives": "all"}, {"contrastive": -0.1}])
def test_options_that_do_not_fit_are_refused(wrong):
    with pytest.raises(RecipeError, match=f"objectives: text_guided: {next(iter(wrong))} is "):
        read_objectives({"text_guided": wrong})
