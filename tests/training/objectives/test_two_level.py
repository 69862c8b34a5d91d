"""The gated level of fast-then-fine, against the search that it trains."""

import pytest
import torch

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.errors import RecipeError, UnsupportedError
from rsctir_hf.losses import info_nce_loss, redundancy_loss
from rsctir_hf.reranking import text_gated
from rsctir_hf.search.fine import FINE_TEMPERATURE
from rsctir_hf.training.objectives.objective import Batch
from rsctir_hf.training.objectives.registry import read_objectives
from rsctir_hf.training.objectives.two_level import TwoLevel, TwoLevelOptions
from tests.models.contract import CAPTIONS
from tests.models.tiny_cmpagl import seeded_model, tiny_processor, tiny_stem_config


@pytest.fixture(scope="module")
def batch():
    model = seeded_model(tiny_stem_config(stem_skip_levels=True))
    inputs = dict(tiny_processor(model)(text=list(CAPTIONS[:3]), return_tensors="pt"))
    inputs["pixel_values"] = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    outputs = model(**inputs)
    return Batch(
        model=model,
        inputs=inputs,
        outputs=outputs,
        similarity=outputs.image_embeds @ outputs.text_embeds.T,
        image_of_caption=torch.tensor([0, 1, 1]),
        positives=torch.tensor([[True, False, False], [False, True, True]]),
        scale=model.logit_scale.exp(),
        epoch=0.0,
    )


def test_it_is_the_contrast_of_gated_scores(batch):
    found = TwoLevel(TwoLevelOptions(), batch.model, RowFacts())(batch)
    patches = batch.model.get_patch_features(batch.inputs["pixel_values"])
    texts = batch.outputs.text_embeds
    scored = [text_gated(texts, each, temperature=FINE_TEMPERATURE)[0] for each in patches]
    gated = torch.stack(scored)
    expected = info_nce_loss(gated, batch.positives, scale=batch.scale)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)


def test_the_term_against_redundancy_is_a_switch(batch):
    plain, with_term = (
        float(TwoLevel(TwoLevelOptions(redundancy=each), batch.model, RowFacts())(batch))
        for each in (0.0, 0.1)
    )
    pairs = batch.outputs.image_embeds[batch.image_of_caption], batch.outputs.text_embeds
    assert with_term - plain == pytest.approx(0.1 * float(redundancy_loss(*pairs)), abs=1e-4)


def test_towers_learn_from_it(batch):
    batch.model.zero_grad()
    TwoLevel(TwoLevelOptions(), batch.model, RowFacts())(batch).backward()
    towers = (batch.model.image_model, batch.model.text_model, batch.model.image_projection)
    for tower in towers:
        assert any(each.grad is not None and each.grad.any() for each in tower.parameters())


def test_options_are_checked(batch, tiny_clip):
    assert read_objectives({"two_level": {}})["two_level"].weight == 0.25
    with pytest.raises(RecipeError, match=r"two_level: temperature.*more than 0"):
        read_objectives({"two_level": {"temperature": 0.0}})
    with pytest.raises(UnsupportedError, match="CLIPModel has none"):
        TwoLevel(TwoLevelOptions(), tiny_clip, RowFacts())
