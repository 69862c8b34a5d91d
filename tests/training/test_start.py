"""Starting models: what a recipe asks for is what is built, with the weights it names."""

import pytest
import torch
from transformers import BertModel

from rsctir_hf.errors import ModelLoadError, RecipeError
from rsctir_hf.models.cmpagl import CMPAGLModel
from rsctir_hf.models.galr import GaLRModel
from rsctir_hf.training.packaged_weights import backbone_state_dict, glove_vectors, minilm_folder
from rsctir_hf.training.recipe_args import ModelArguments
from rsctir_hf.training.start import build_model
from tests.tiny_training import save

CAPTIONS = [["Many boats in a harbor .", "A harbor."], ["An airport with planes."]]
TINY_CMPAGL = {
    "image_size": 32,
    "embed_dim": 8,
    "depths": [1],
    "num_heads": [2],
    "window_size": 2,
    "fusion_layers": 1,
    "text_config": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "intermediate_size": 8, "vocab_size": 30522},
}  # fmt: skip
TINY_GALR = {"backbone": "efficientnet_lite0", "fusion_dim": 8, "text_hidden_size": 8,
             "embedding_dim": 50, "mvsa_grid": 2, "region_dim": 8, "graph_dims": [8, 8],
             "projection_dim": 8, "image_size": 32}  # fmt: skip


@pytest.mark.slow
def test_galr_starts_from_packaged_backbone_and_glove_words():
    built = build_model(
        ModelArguments(family="galr", text_weights="glove", config=TINY_GALR), CAPTIONS
    )
    model, processor = built.model, built.processor
    assert isinstance(model, GaLRModel)
    weights = backbone_state_dict("efficientnet_lite0")
    name = "blocks.0.0.conv_dw.weight"
    assert torch.equal(model.backbone.state_dict()[name], weights[name])
    row = processor.tokenizer.get_vocab()["harbor"]
    torch.testing.assert_close(
        model.text_encoder.embedding.weight[row], glove_vectors(["harbor"])[0][0]
    )


@pytest.mark.slow
def test_cmpagl_starts_from_random_towers_where_asked():
    arguments = ModelArguments(
        family="cmpagl", image_weights="none", text_weights="none", config=TINY_CMPAGL
    )
    built = build_model(arguments, CAPTIONS)
    assert isinstance(built.model, CMPAGLModel)
    assert built.processor.tokenizer.model_max_length == arguments.max_tokens


@pytest.mark.slow
def test_a_bert_can_be_cut_to_its_first_layers():
    arguments = ModelArguments(
        family="galr", image_weights="none", text_layers=2,
        config=TINY_GALR | {"text_encoder_type": "bert"},
    )  # fmt: skip
    model = build_model(arguments, CAPTIONS).model
    whole = BertModel.from_pretrained(minilm_folder(), add_pooling_layer=False)
    assert len(model.text_encoder.bert.encoder.layer) == 2
    for name, value in model.text_encoder.bert.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    arguments.text_layers = 99
    with pytest.raises(RecipeError, match="text_layers is 99"):
        build_model(arguments, CAPTIONS)


def test_a_trained_model_folder_is_gone_on_from(tmp_path):
    arguments = ModelArguments(
        family="galr", image_weights="none", text_weights="none", config=TINY_GALR
    )
    built = build_model(arguments, CAPTIONS)
    save(built, tmp_path)
    again = build_model(ModelArguments(family="galr", initial_model=str(tmp_path)), CAPTIONS)
    assert (built.id, again.id) == ("", str(tmp_path))
    for name, value in built.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": {"no_such_field_depths": 1, "depths": [1, 1], "num_heads": [1]}}, "num_heads"),
        ({"image_weights": "elsewhere", "text_weights": "none"}, "elsewhere"),
        ({"text_weights": "glove"}, "glove"),
    ],
)
def test_contradictions_are_recipe_errors(changes, named):
    with pytest.raises(RecipeError, match=named):
        build_model(ModelArguments(**{"config": dict(TINY_CMPAGL), **changes}), CAPTIONS)


def test_a_start_of_another_family_is_refused(tmp_path):
    start = ModelArguments(
        family="galr", image_weights="none", text_weights="none", config=TINY_GALR
    )
    save(build_model(start, CAPTIONS), tmp_path)
    with pytest.raises(RecipeError, match="'galr', but the recipe's family is 'cmpagl'"):
        build_model(ModelArguments(family="cmpagl", initial_model=str(tmp_path)), CAPTIONS)


def test_the_family_is_that_of_the_start(tmp_path):
    arguments = ModelArguments(
        family="galr", image_weights="none", text_weights="none", config=TINY_GALR
    )
    save(build_model(arguments, CAPTIONS), tmp_path)
    again = ModelArguments(initial_model=str(tmp_path))
    assert isinstance(build_model(again, CAPTIONS).model, GaLRModel)
    assert again.family == "galr"
    assert ModelArguments().family == "cmpagl"


def test_a_start_that_is_no_model_of_ours_is_refused(clip_folder):
    with pytest.raises(RecipeError, match=r"is a CLIPModel \(model_type 'clip'\); expected"):
        build_model(ModelArguments(initial_model=str(clip_folder)), CAPTIONS)


def test_a_start_that_is_not_there_is_named(tmp_path):
    missing = str(tmp_path / "checkpoints" / "none-such")
    with pytest.raises(ModelLoadError, match=r"none-such.*neither a model folder nor a Hub id"):
        build_model(ModelArguments(initial_model=missing), CAPTIONS)
