"""The CMPAGL-style model: the contract, Swin equality, the global path, matching, configuration."""

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer

from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel, CMPAGLProcessor
from rsctir_hf.models.cmpagl.windows_cmpagl import WindowPlan, relative_position_index

from .contract import WORDS, EmbeddingContract, ModelContract, assert_close

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = {word: number for number, word in enumerate(SPECIAL + WORDS)}


def tiny_text_config(**changes):
    values = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 20,
    }
    return BertConfig(**(values | changes))


def tiny_config(**changes):
    """Two stages, windows of 2 tokens, 32 px: maps of 8 x 8 and 4 x 4 tokens."""
    values = {
        "image_size": 32,
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "window_size": 2,
        "mlp_ratio": 2.0,
        "projection_dim": 12,
        "fusion_layers": 1,
        "text_config": tiny_text_config(),
    }
    return CMPAGLConfig(**(values | changes))


def tiny_stem_config(**changes):
    """A small timm network; stage 0 at stride 16 has a map of 4 x 4 tokens at 64 px."""
    values = {"stem": "test_efficientnet", "stem_indices": [3, 4], "image_size": 64}
    return tiny_config(**(values | changes))


def seeded_model(config, *, seed=0):
    torch.manual_seed(seed)
    return CMPAGLModel(config).eval()


def open_global_path(model):
    """Give every global path a weight, as training would."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "global_" in name:
            nn.init.normal_(parameter, generator=generator)


def shake(module):
    """Give all weights, biases and norms values that differ from their usual start."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)


def sentences(*rows):
    return torch.tensor(rows)


def tiny_processor(model):
    tokenizer = BertTokenizer(vocab=dict(VOCABULARY), model_max_length=16)
    return CMPAGLProcessor.build(tokenizer, image_size=model.config.image_size)


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


def compare_with_swin(swin, config, pictures):
    shake(swin)
    model = seeded_model(config)
    model.load_towers(image_state_dict=swin.state_dict())
    with torch.no_grad():
        expected = swin.eval().forward_features(pictures).flatten(1, 2)
        found = model.get_image_tokens(pictures)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    return model


def test_the_tower_at_its_zero_start_equals_a_small_timm_swin():
    # 28 px in patches of 2: maps of 14 x 14 (shifted, global window) and 7 x 7 (one window)
    swin = SwinTransformer(
        img_size=28,
        patch_size=2,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=7,
        mlp_ratio=2.0,
        num_classes=3,
    )
    config = tiny_config(
        image_size=28,
        patch_size=2,
        embed_dim=16,
        num_heads=[2, 4],
        window_size=7,
    )
    model = compare_with_swin(swin, config, torch.randn(2, 3, 28, 28))
    assert model.image_model.layers[0].blocks[1].global_scale.abs().max() == 0


def test_the_tower_at_its_zero_start_equals_timm_swin_t():
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    config = CMPAGLConfig(text_config=tiny_text_config())
    compare_with_swin(swin, config, torch.randn(1, 3, 224, 224))


def test_weights_of_another_layout_are_refused():
    swin = SwinTransformer(
        img_size=32, embed_dim=8, depths=(2, 2, 2), num_heads=(2, 2, 2), window_size=2
    )
    with pytest.raises(ValueError, match=r"do not fit this image tower.*layers\.2"):
        seeded_model(tiny_config()).load_towers(image_state_dict=swin.state_dict())


def test_stem_weights_load_without_their_classifier():
    network = timm.create_model("test_efficientnet", num_classes=5)
    shake(network)
    model = seeded_model(tiny_stem_config())
    model.load_towers(image_state_dict=network.state_dict())
    assert torch.equal(model.image_model.stem.conv_head.weight, network.conv_head.weight)


def test_text_weights_load_from_a_folder(tmp_path):
    bert = BertModel(tiny_text_config())
    bert.save_pretrained(tmp_path)
    model = seeded_model(tiny_config(), seed=1)
    model.load_towers(text=tmp_path)
    ids = sentences([2, 5, 6, 3])
    with torch.no_grad():
        expected = bert.eval()(ids).last_hidden_state
        assert_close(model(input_ids=ids).text_states, expected)


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


@pytest.mark.parametrize("mode", ["cross", "concat"])
def test_the_global_window_lets_far_corners_meet(mode):
    config = tiny_config(global_attention=mode, depths=[1], num_heads=[2])
    pictures = torch.rand(1, 3, 32, 32).repeat(2, 1, 1, 1)
    pictures[1, :, 24:, 24:] = 0.0  # another lower right corner, in another window
    for name, expected in ((mode, False), ("local_only", True)):
        config.global_attention = name
        model = seeded_model(config)
        open_global_path(model)
        with torch.no_grad():
            tokens = model.get_image_tokens(pictures)
        assert torch.equal(tokens[0, 0], tokens[1, 0]) is expected


def test_global_attention_maps_are_distributions_over_the_image():
    model = seeded_model(tiny_config())
    open_global_path(model)
    with torch.no_grad():
        maps = model.get_global_attention(torch.rand(2, 3, 32, 32))
    # two blocks on 8 x 8 tokens, two on 4 x 4, each onto 2 x 2 cells
    assert [tuple(seen.shape) for seen in maps] == [(2, 8, 8, 2, 2)] * 2 + [(2, 4, 4, 2, 2)] * 2
    assert_close(maps[0].sum((-2, -1)), torch.ones(2, 8, 8))


def test_a_concat_map_is_what_the_local_keys_leave():
    model = seeded_model(tiny_config(global_attention="concat"))
    with torch.no_grad():
        shares = model.get_global_attention(torch.rand(1, 3, 32, 32))[0].sum((-2, -1))
    assert 0 < shares.min() <= shares.max() < 1


def test_there_is_no_global_path_where_the_map_fits_one_window():
    model = seeded_model(tiny_config(window_size=4))
    first, second = model.image_model.layers
    assert first.blocks[0].global_scale is not None
    assert second.blocks[0].global_scale is None
    assert len(model.get_global_attention(torch.rand(1, 3, 32, 32))) == 2
    # a smaller picture whose first map fits one window too
    assert model.get_global_attention(torch.rand(1, 3, 16, 16)) == ()


def test_padded_places_change_nothing():
    # 20 px in patches of 4: 5 x 5 tokens in windows of 3. The slow way: for each token, attend
    # over the true tokens of its window only, one by one.
    config = tiny_config(
        image_size=20, depths=[1], num_heads=[2], window_size=3, global_attention="local_only"
    )
    attention = seeded_model(config).image_model.layers[0].blocks[0].attn
    shake(attention)
    tokens = torch.randn(1, 5, 5, 8)
    plan = WindowPlan.build((5, 5), 3, shifted=False, device=tokens.device)
    with torch.no_grad():
        found = attention(tokens, plan)[0]
        expected = torch.zeros_like(found)
        index = relative_position_index((3, 3), 3)
        for row in range(5):
            for column in range(5):
                places = [
                    (r, c)
                    for r in range(row // 3 * 3, min(row // 3 * 3 + 3, 5))
                    for c in range(column // 3 * 3, min(column // 3 * 3 + 3, 5))
                ]
                inside = [r % 3 * 3 + c % 3 for r, c in places]
                bias = attention.relative_position_bias_table[
                    index[row % 3 * 3 + column % 3, inside]
                ]
                rows, columns = zip(*places, strict=True)
                query = attention.qkv(tokens[0, row, column]).view(3, 2, 4)[0]
                others = attention.qkv(tokens[0, rows, columns]).view(-1, 3, 2, 4)
                scores = torch.einsum("hd,nhd->nh", query, others[:, 1]) / 2 + bias
                mixed = torch.einsum("nh,nhd->hd", scores.softmax(0), others[:, 2])
                expected[0, row, column] = attention.proj(mixed.flatten())
    assert_close(found, expected)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (2, 9), (1, 1), (3, 3)])
@pytest.mark.parametrize("shifted", [False, True])
def test_merging_undoes_splitting(size, shifted):
    tokens = torch.randn(2, *size, 4)
    plan = WindowPlan.build(size, 3, shifted=shifted, device=tokens.device)
    assert torch.equal(plan.merge(plan.split(tokens)), tokens)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (2, 9)])
def test_shifted_windows_never_join_opposite_sides_or_padding(size):
    places = torch.stack(
        torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij"), dim=-1
    )
    plan = WindowPlan.build(size, 3, shifted=True, device=places.device)
    # Split marks padding with zeros, so count from 1.
    windows = plan.split(places[None] + 1)[0]  # (windows, tokens, 2)
    distance = (windows[:, :, None] - windows[:, None, :]).abs().amax(-1)
    is_padding = windows[..., 0] == 0
    real = ~is_padding[:, :, None] & ~is_padding[:, None, :]
    mask = plan.mask if plan.mask is not None else torch.ones_like(real)
    assert (distance[mask & real] < 3).all()
    assert (mask & (is_padding[:, :, None] != is_padding[:, None, :])).sum() == 0
    assert mask.diagonal(dim1=1, dim2=2).all()


def test_stem_features_reach_the_embedding_through_the_skip():
    with_skip = seeded_model(tiny_stem_config())
    without = seeded_model(tiny_stem_config(stem_skip=False))
    channels = with_skip.image_model.stem.conv_head.out_channels
    assert with_skip.image_model.num_features == 16 + channels
    assert without.image_model.num_features == 16


def test_the_last_stage_adds_the_stems_final_features():
    model = seeded_model(tiny_stem_config(stem_skip=False))
    pictures = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model.get_image_tokens(pictures)
        model.image_model.stem.conv_head.weight.mul_(-2)
        after = model.get_image_tokens(pictures)
    assert (before - after).abs().max() > 1e-4


def test_a_stem_of_one_stage_works():
    config = tiny_stem_config(stem_indices=[4], depths=[1], num_heads=[2])
    output = seeded_model(config)(pixel_values=torch.rand(1, 3, 64, 64))
    assert output.image_tokens.shape == (1, 4, 8)


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
            text_states=output.text_states,
            attention_mask=(ids != 0).long(),
            image_tokens=output.image_tokens,
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
    assert [tuple(part.shape) for part in parts] == [(1, 12), (1, 16, 16)]


def test_sentence_vector_is_the_masked_mean_or_the_first_state():
    ids = sentences([2, 5, 3, 0])
    for pooling in ("mean", "cls"):
        model = seeded_model(tiny_config(text_pooling=pooling))
        with torch.no_grad():
            states = model(input_ids=ids).text_states
            pooled = states[:, :3].mean(1) if pooling == "mean" else states[:, 0]
            assert_close(model.get_text_features(ids), model.text_projection(pooled))


@pytest.mark.parametrize("config", [tiny_config(), tiny_stem_config()], ids=["patches", "stem"])
def test_every_parameter_learns(config):
    model = seeded_model(config)
    open_global_path(model)  # at its zero start the global keys wait for their weight
    ids, side = sentences([2, 5, 3], [2, 6, 3]), config.image_size
    output = model.train()(input_ids=ids, pixel_values=torch.rand(2, 3, side, side))
    logits = model.match_logits(
        text_states=output.text_states,
        attention_mask=torch.ones_like(ids),
        image_tokens=output.image_tokens,
    )
    (output.logits_per_image[0, 0] + logits[0, 0]).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_the_zero_start_lets_gradients_through():
    model = seeded_model(tiny_config())
    model(pixel_values=torch.rand(1, 3, 32, 32)).image_embeds[0, 0].backward()
    scales = [p.grad for n, p in model.named_parameters() if n.endswith("global_scale")]
    assert len(scales) == 4
    assert all(gradient.abs().max() > 0 for gradient in scales)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": [2]}, r"num_heads=\[2\] names 1 stages, depths=\[2, 2\] names 2"),
        ({"embed_dim": 9}, "Stage 0 is 9 wide .* has 2 heads"),
        ({"stem": "test_efficientnet", "stem_indices": [4]}, "names 1 levels.*names 2 stages"),
        ({"global_attention": "everywhere"}, "'everywhere'.*'cross'"),
        ({"projection_layers": 3}, r"projection_layers=3; expected one of \(1, 2\)"),
        ({"window_size": 0}, "window_size=0; expected at least 1"),
        ({"drop_path_rate": 1.0}, "drop_path_rate=1.0; expected 0 <="),
        ({"smr_temperature": 0.0}, "smr_temperature=0.0"),
        ({"confident_score": 30.0}, "confident_score=30.0; expected a cosine"),
    ],
)
def test_contradicting_values_are_refused_with_both_numbers(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": "no_such_network"}, "'no_such_network' is not known to timm"),
        ({"stem_indices": [2, 4]}, r"has strides \[8, 32\]"),
        ({"stem_indices": [4, 9]}, r"has no levels stem_indices=\[4, 9\]"),
    ],
)
def test_unfit_stems_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CMPAGLModel(tiny_stem_config(**changes))


def test_a_configuration_survives_its_file(tmp_path):
    config = tiny_stem_config(confident_score=0.3, training_images="drawn by hand")
    config.save_pretrained(tmp_path)
    again = CMPAGLConfig.from_pretrained(tmp_path)
    assert isinstance(again.text_config, BertConfig)
    ignored = {"_name_or_path", "transformers_version"}
    found, expected = again.to_dict(), config.to_dict()
    assert {k: v for k, v in found.items() if k not in ignored} == {
        k: v for k, v in expected.items() if k not in ignored
    }
