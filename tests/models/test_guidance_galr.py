"""AMFMN's text-guided scores against their formulas, and what a model with them gives."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from rsctir_hf.models.galr import GaLRConfig, GaLRModel, guidance_galr
from rsctir_hf.models.galr.guidance_galr import TextGuidance
from tests.models.contract import assert_close
from tests.tiny_galr import tiny_galr

WIDTH = 6
FORMS = ("soft", "fusion", "sim")


def guidance_of(form):
    torch.manual_seed(0)
    return TextGuidance(GaLRConfig(text_guidance=form, projection_dim=WIDTH)).eval()


def slow_score(guidance, v, t):
    """The released code's F for one pair, and its cosine with the picture's vector."""
    maps = guidance.maps
    if guidance.form == "soft":
        guided = torch.sigmoid(maps[0](v)) * t
    elif guidance.form == "fusion":
        guided = torch.sigmoid(maps[0](torch.cat([v, t]))) * maps[1](torch.cat([v, t]))
    else:
        guided = torch.sigmoid(maps[0](v) * maps[1](t)) * maps[1](t)
    return cosine_similarity(v, guided, dim=0)


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_of_the_formula_pair_by_pair(form, monkeypatch):
    guidance = guidance_of(form)
    images, texts = normalize(torch.randn(4, WIDTH)), normalize(torch.randn(7, WIDTH))
    expected = torch.stack(
        [torch.stack([slow_score(guidance, v, t) for t in texts]) for v in images]
    )
    assert_close(guidance(images, texts), expected)
    monkeypatch.setattr(guidance_galr, "_CELLS_AT_ONCE", 8)  # two sentences at a time
    assert_close(guidance(images, texts), expected)
    assert expected.abs().max() <= 1


@pytest.mark.parametrize("form", FORMS)
def test_a_vector_of_length_zero_scores_nothing_and_not_nan(form):
    scores = guidance_of(form)(torch.zeros(1, WIDTH), torch.zeros(2, WIDTH))
    assert scores.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_a_guided_model_gives_its_score_and_comes_back_from_its_folder(form, tmp_path):
    plain, processor = tiny_galr(["many boats", "a river"])
    config = GaLRConfig(**{**plain.config.to_dict(), "text_guidance": form})
    model = GaLRModel(config).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    inputs = processor(text=["many boats", "a river"], return_tensors="pt")
    inputs["pixel_values"] = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        outputs, unguided = model(**inputs), plain(**inputs)
        scores = model.pair_scores(outputs.image_embeds, outputs.text_embeds)
        assert_close(outputs.logits_per_image, model.logit_scale.exp() * scores)
        assert_close(outputs.image_embeds, unguided.image_embeds)
        assert not torch.allclose(outputs.logits_per_image, unguided.logits_per_image, atol=1e-3)
        model.save_pretrained(tmp_path)
        again = GaLRModel.from_pretrained(tmp_path).eval()
        assert_close(again(**inputs).logits_per_image, outputs.logits_per_image)


def test_a_model_without_it_has_no_weights_of_it_and_scores_by_the_cosine():
    model, _ = tiny_galr(["many boats"])
    assert not [name for name in model.state_dict() if "guidance" in name]
    images, texts = torch.randn(2, 12), torch.randn(3, 12)
    assert_close(model.pair_scores(images, texts), images @ texts.T)


def test_a_form_that_is_none_is_refused():
    with pytest.raises(ValueError, match="text_guidance is 'hard'; expected one of none, soft, "):
        GaLRConfig(text_guidance="hard")
