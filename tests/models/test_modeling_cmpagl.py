"""The CMPAGL-style model: the contract, loading, both towers, matching."""

import pytest
import timm
import torch
from transformers import BertModel

from rsctir_hf.models.cmpagl import CMPAGLModel
from tests.models.contract import EmbeddingContract, ModelContract, assert_close
from tests.models.tiny_cmpagl import (
    open_global_path,
    seeded_model,
    sentences,
    shake,
    tiny_config,
    tiny_processor,
    tiny_stem_config,
    tiny_text_config,
)


class TestCMPAGLContract(ModelContract):
    @pytest.fixture(scope="class")
    def model(self):
        model = seeded_model(tiny_stem_config())
        open_global_path(model)
        return model

    @pytest.fixture(scope="class")
    def processor(self, model):
        return tiny_processor(model)


class TestContractWithoutStem(EmbeddingContract):
    @pytest.fixture(scope="class")
    def model(self):
        model = seeded_model(tiny_config(projection_layers=2))
        open_global_path(model)
        return model

    @pytest.fixture(scope="class")
    def processor(self, model):
        return tiny_processor(model)


def test_text_weights_load_from_a_folder(tmp_path):
    bert = BertModel(tiny_text_config())
    bert.save_pretrained(tmp_path)
    model = seeded_model(tiny_config(), seed=1)
    model.load_towers(text=tmp_path)
    ids = sentences([2, 5, 6, 3])
    with torch.no_grad():
        expected = bert.eval()(ids).last_hidden_state
        assert_close(model(input_ids=ids).text_model_output.last_hidden_state, expected)


def test_text_weights_of_another_size_are_refused(tmp_path):
    BertModel(tiny_text_config(hidden_size=8)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not fit config"):
        seeded_model(tiny_config()).load_towers(text=tmp_path)


def test_a_new_stem_keeps_timms_initialisation_and_a_loaded_one_its_weights(tmp_path):
    torch.manual_seed(0)
    expected = timm.create_model("test_efficientnet", num_classes=0).state_dict()
    model = seeded_model(tiny_stem_config())
    found = model.image_model.stem.state_dict()
    assert torch.equal(found["conv_stem.weight"], expected["conv_stem.weight"])
    model.save_pretrained(tmp_path)
    loaded = CMPAGLModel.from_pretrained(tmp_path).image_model.stem.state_dict()
    for name, value in found.items():
        assert torch.equal(loaded[name], value), name


def test_weights_missing_from_a_file_are_initialised(tmp_path):
    model = seeded_model(tiny_stem_config())
    kept = {name: v for name, v in model.state_dict().items() if "image_model" not in name}
    model.save_pretrained(tmp_path, state_dict=kept)
    loaded = CMPAGLModel.from_pretrained(tmp_path)
    scales = [v for n, v in loaded.named_parameters() if n.endswith("global_scale")]
    assert all(scale.abs().max() == 0 for scale in scales)
    assert loaded.image_model.stem.conv_stem.weight.std() < 1
    assert loaded.eval()(pixel_values=torch.rand(1, 3, 64, 64)).image_embeds.isfinite().all()


def test_matching_reads_the_whole_sentence():
    # transformers builds cross-attention only into causal layers; the first token must still
    # see a change of the last one. Text states are handed in, as the text tower would mix them.
    model = seeded_model(tiny_config())
    shake(model.fusion_encoder)
    shake(model.match_head)
    states, tokens = torch.randn(1, 5, 16), torch.randn(1, 4, 16)
    changed = states.clone()
    changed[0, -1] += 1.0
    for mask in (torch.ones(1, 5), sentences([0, 1, 1, 1, 1])):
        with torch.no_grad():
            one, other = (
                model.match_logits(text_states=s, attention_mask=mask, image_tokens=tokens)
                for s in (states, changed)
            )
        assert (one - other).abs().max() > 1e-3


def test_matching_sees_the_picture_and_not_the_padding():
    model = seeded_model(tiny_config())
    shake(model.fusion_encoder)
    shake(model.match_head)
    short, padded = sentences([2, 5, 3]), sentences([2, 5, 3, 0, 0])
    pictures = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        plain = model.match_logits(short, pixel_values=pictures)
        with_padding = model.match_logits(padded, pixel_values=pictures)
        elsewhere = model.match_logits(short, pixel_values=1 - pictures)
    assert_close(with_padding, plain)
    assert (elsewhere - plain).abs().max() > 1e-4


def test_matching_from_tokens_equals_matching_from_pixels():
    model = seeded_model(tiny_config())
    ids, pictures = sentences([2, 5, 3, 0], [2, 6, 7, 3]), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        output = model(input_ids=ids, pixel_values=pictures)
        expected = model.match(ids, pixel_values=pictures)
        tokens = model.get_image_tokens(pictures)
        reused = model.match_logits(
            text_states=output.text_model_output.last_hidden_state,
            attention_mask=(ids != 0).long(),
            image_tokens=output.vision_model_output.last_hidden_state,
        )
        assert_close(model.match(ids, image_tokens=tokens), expected)
    assert expected.shape == (2,)
    assert ((expected > 0) & (expected < 1)).all()
    assert_close(reused.softmax(-1)[:, 1], expected)


def test_matching_one_pair_equals_matching_many():
    model = seeded_model(tiny_config())
    ids, pictures = sentences([2, 5, 3, 0], [2, 6, 7, 3]), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        many = model.match(ids, pixel_values=pictures)
        one = model.match(ids[:1, :3], pixel_values=pictures[:1])
    assert_close(one, many[:1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": sentences([2, 3])}, "either pixel_values or image_tokens"),
        ({"pixel_values": torch.rand(1, 3, 32, 32)}, "either input_ids or text_states"),
        (
            {"text_states": torch.rand(1, 2, 16), "image_tokens": torch.rand(1, 4, 16)},
            "need their attention_mask",
        ),
        (
            {"input_ids": sentences([2, 3]), "image_tokens": torch.rand(2, 4, 16)},
            "2 pictures and 1 sentences",
        ),
    ],
)
def test_incomplete_pairs_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        seeded_model(tiny_config()).match_logits(**given)


def test_forward_wants_at_least_one_side():
    with pytest.raises(ValueError, match="neither"):
        seeded_model(tiny_config())()


def test_forward_gives_a_tuple_when_asked():
    parts = seeded_model(tiny_config())(pixel_values=torch.rand(1, 3, 32, 32), return_dict=False)
    embeds, (tokens, vectors) = parts
    assert embeds.shape == (1, 12) and tokens.shape == (1, 16, 16)
    assert torch.equal(vectors, embeds)


def test_sentence_vector_is_the_masked_mean_or_the_first_state():
    ids = sentences([2, 5, 3, 0])
    for pooling in ("mean", "cls"):
        model = seeded_model(tiny_config(text_pooling=pooling))
        with torch.no_grad():
            states = model(input_ids=ids).text_model_output.last_hidden_state
            pooled = states[:, :3].mean(1) if pooling == "mean" else states[:, 0]
            assert_close(model.get_text_features(ids).pooler_output, model.text_projection(pooled))


def test_training_reads_sentences_in_parts_and_gives_the_same_states():
    model = seeded_model(tiny_config())
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in model.text_model.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    lengths = (5, 1, 3, 7, 2, 6)
    ids = torch.tensor([[2] * length + [0] * (7 - length) for length in lengths])
    ids = torch.where(ids > 0, torch.randint(5, 9, ids.shape), 0)
    mask = (ids != 0).long()
    whole = model(ids, mask)
    seen = []
    model.text_model.register_forward_hook(lambda *call: seen.append(call[2].last_hidden_state))
    parts = model.train()(ids, mask)
    assert sum(len(states) for states in seen) == len(ids)
    assert {states.shape[1] for states in seen} == {2, 5, 7}  # the longest of each part
    assert_close(parts.text_embeds, whole.text_embeds)
    assert_close(
        parts.text_model_output.last_hidden_state[mask.bool()],
        whole.text_model_output.last_hidden_state[mask.bool()],
    )


@pytest.mark.parametrize(
    "config",
    [tiny_config(), tiny_stem_config(), tiny_stem_config(stem_skip_levels=True)],
    ids=["patches", "stem", "levels"],
)
def test_every_parameter_learns(config):
    model = seeded_model(config)
    open_global_path(model)  # at its zero start the global keys wait for their weight
    ids, side = sentences([2, 5, 3], [2, 6, 3]), config.image_size
    output = model.train()(input_ids=ids, pixel_values=torch.rand(2, 3, side, side))
    logits = model.match_logits(
        text_states=output.text_model_output.last_hidden_state,
        attention_mask=torch.ones_like(ids),
        image_tokens=output.vision_model_output.last_hidden_state,
    )
    (output.logits_per_image[0, 0] + logits[0, 0]).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
