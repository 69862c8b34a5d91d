"""The Gswin tower: equality with Swin, windows, the global path, the stem."""

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer

from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel
from rsctir_hf.models.cmpagl.windows_cmpagl import WindowPlan, relative_position_index
from tests.models.contract import assert_close
from tests.models.tiny_cmpagl import (
    open_global_path,
    seeded_model,
    shake,
    tiny_config,
    tiny_stem_config,
    tiny_text_config,
)


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
    # weight_init: drawing 28 million starting weights takes seconds, and all are drawn anew
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, weight_init="skip")
    config = CMPAGLConfig(text_config=tiny_text_config())
    compare_with_swin(swin, config, torch.randn(1, 3, 224, 224))


def test_weights_of_another_layout_are_refused():
    swin = SwinTransformer(
        img_size=32,
        embed_dim=8,
        depths=(2, 2, 2),
        num_heads=(2, 2, 2),
        window_size=2,
        mlp_ratio=2.0,
    )
    with pytest.raises(ValueError, match=r"do not fit this image tower.*layers\.2"):
        seeded_model(tiny_config()).load_towers(image_state_dict=swin.state_dict())


def test_stem_weights_load_without_their_classifier():
    network = timm.create_model("test_efficientnet", num_classes=5)
    shake(network)
    model = seeded_model(tiny_stem_config())
    model.load_towers(image_state_dict=network.state_dict())
    assert torch.equal(model.image_model.stem.conv_head.weight, network.conv_head.weight)


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


def test_pooled_levels_of_the_stem_reach_the_embedding_where_asked():
    model = seeded_model(tiny_stem_config(stem_skip_levels=True))
    final_only = seeded_model(tiny_stem_config()).image_model.num_features
    levels = [norm.normalized_shape[0] for norm in model.image_model.level_norms]
    assert model.image_model.num_features == final_only + sum(levels)
    with torch.no_grad():  # all that goes through the stages and the final features is cut off
        model.image_projection.linear.weight[:, :final_only] = 0
        pictures = torch.rand(2, 3, 64, 64)
        first, second = model.get_image_features(pictures).pooler_output
        level = model.image_model.stem.forward_intermediates(pictures, indices=[3, 4])[1][0]
        pooled = model.image_model(pictures).pooled[:, final_only : final_only + levels[0]]
    assert (first - second).abs().max() > 1e-4
    assert_close(pooled, torch.nn.functional.layer_norm(level.mean((2, 3)), (levels[0],)))


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
    assert output.vision_model_output.last_hidden_state.shape == (1, 4, 8)


def test_the_zero_start_lets_gradients_through():
    model = seeded_model(tiny_config())
    model(pixel_values=torch.rand(1, 3, 32, 32)).image_embeds[0, 0].backward()
    scales = [p.grad for n, p in model.named_parameters() if n.endswith("global_scale")]
    assert len(scales) == 4
    assert all(gradient.abs().max() > 0 for gradient in scales)


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
