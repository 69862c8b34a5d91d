"""MVSA and MIDF of GaLR: what each switch between paper and released code changes."""

import pytest
import torch
from torch import nn

from rsctir_hf.models.galr import GaLRConfig
from rsctir_hf.models.galr.fusion_galr import MIDF, MVSA, TokenAttention, UnbiasedLayerNorm
from tests.models.contract import assert_close

WIDTH = 16
CHANNELS, STRIDES = [4, 4, 6, 6], [4, 8, 16, 32]


def tiny_config(**settings):
    return GaLRConfig(**{"fusion_dim": WIDTH, "fusion_heads": 2, "mvsa_grid": 4, **settings})


def mvsa_of(**settings):
    torch.manual_seed(0)
    return MVSA(tiny_config(**settings), CHANNELS, STRIDES).eval()


def maps_of(side=64):
    torch.manual_seed(1)
    levels = zip(CHANNELS, STRIDES, strict=True)
    return [torch.randn(2, wide, side // stride, side // stride) for wide, stride in levels]


def count_of(module):
    return sum(parameter.numel() for parameter in module.parameters())


def double(level):
    """Nearest enlargement by 2."""
    return level.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_query_and_key_of_single_tokens_never_learn():
    attention = TokenAttention(tiny_config(fusion_attention="full")).eval()
    attention(torch.randn(3, WIDTH), torch.randn(3, WIDTH)).square().sum().backward()
    gradient = attention.attention.in_proj_weight.grad
    assert gradient[: 2 * WIDTH].abs().max() < 1e-6 < gradient[2 * WIDTH :].abs().max()


def test_value_attention_is_the_same_function_as_full_attention():
    full = TokenAttention(tiny_config(fusion_attention="full")).eval()
    value = TokenAttention(tiny_config(fusion_attention="value")).eval()
    value.value.weight.data = full.attention.in_proj_weight[2 * WIDTH :].detach()
    value.value.bias.data = full.attention.in_proj_bias[2 * WIDTH :].detach()
    value.output.load_state_dict(full.attention.out_proj.state_dict())
    query, key = torch.randn(2, 3, WIDTH)
    assert_close(value(query, key), full(query, key))


def test_released_norm_divides_by_unbiased_deviation_plus_eps():
    vectors = torch.tensor([[1.0, 2, 3, 4]])
    deviation = (5 / 3) ** 0.5  # sum of squares 5, over n - 1 = 3
    expected = (vectors - 2.5) / (deviation + 1e-6)
    assert_close(UnbiasedLayerNorm(4)(vectors), expected)
    assert_close(UnbiasedLayerNorm(4)(torch.ones(1, 4)), torch.zeros(1, 4))


def midf_of(**settings):
    torch.manual_seed(0)
    return MIDF(tiny_config(**settings)).eval()


SIDES = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(1))
ALL_PRESENT = torch.ones(4, dtype=torch.bool)


def test_released_fusion_weights_cancel_in_the_cosine():
    fusion = midf_of(fusion_weights="released")
    before = nn.functional.normalize(fusion(*SIDES, ALL_PRESENT), dim=-1)
    nn.init.normal_(fusion.weigh[-1].bias, std=3)
    assert_close(nn.functional.normalize(fusion(*SIDES, ALL_PRESENT), dim=-1), before)


def test_paper_fusion_weights_choose_between_the_sides():
    fusion = midf_of(fusion_weights="paper", fusion_gate="paper", fusion_order="paper")
    g, local = fusion.self_global(SIDES[0]), fusion.self_local(SIDES[1])
    guided_g, guided_l = fusion.guided_global(g, local), fusion.guided_local(local, g)
    for bias, expected in (
        ((50.0, -50.0), guided_l * guided_g),
        ((-50.0, 50.0), guided_g + guided_l),
    ):
        fusion.weigh[-1].bias.data = torch.tensor(bias)
        assert_close(fusion(*SIDES, ALL_PRESENT), expected)


def test_released_gate_is_a_sigmoid():
    fusion = midf_of(fusion_gate="released")
    fusion.weigh[-1].bias.data = torch.tensor([50.0, -50.0])
    g, local = fusion.self_global(SIDES[0]), fusion.self_local(SIDES[1])
    expected = torch.sigmoid(fusion.guided_local(local, g)) * fusion.guided_global(g, local)
    assert_close(fusion(*SIDES, ALL_PRESENT), expected)


def test_released_order_guides_by_the_corrected_local_vector():
    fusion = midf_of(fusion_order="released")
    fusion.weigh[-1].bias.data = torch.tensor([-50.0, 50.0])
    g = fusion.self_global(SIDES[0])
    local = fusion.guided_local(fusion.self_local(SIDES[1]), g)
    assert_close(fusion(*SIDES, ALL_PRESENT), fusion.guided_global(g, local) + local)
    assert len(fusion.guided_local.attentions) == 2
    assert len(midf_of(fusion_order="paper").guided_local.attentions) == 1


@pytest.mark.parametrize(("prelu", "added"), [(False, 0), (True, 2)])
def test_mvsa_prelu_adds_one_slope_per_convolution(prelu, added):
    plain = mvsa_of()
    other = mvsa_of(mvsa_prelu=prelu)
    assert count_of(other) - count_of(plain) == added


def test_mvsa_l2_makes_the_mask_blind_to_scale():
    maps = maps_of()
    for normalised in (True, False):
        mvsa = mvsa_of(mvsa_l2=normalised)
        for layer in (mvsa.low, mvsa.high, mvsa.last):
            nn.init.zeros_(layer.bias)
        once, tenfold = mvsa(maps), mvsa([10 * level for level in maps])
        assert torch.allclose(once, tenfold, atol=1e-5) == normalised


def test_mvsa_grid_of_the_map_itself_changes_nothing():
    # At 64 px the stride 16 map is 4 x 4: pooling to a grid of 4 is the identity, as released.
    mvsa = mvsa_of(mvsa_grid=4)
    maps = maps_of()
    low = mvsa.low(torch.cat((maps[0], double(maps[1])), 1))
    high = mvsa.high(torch.cat((maps[2], double(maps[3])), 1))
    joint = torch.cat((low, high), 1) + high.mean(1, keepdim=True)
    flat = (mvsa.value(joint) * mvsa.gate(joint).sigmoid()).flatten(1)
    vector = mvsa.last(maps[3].mean((2, 3))) * mvsa.mask(flat).sigmoid()
    assert_close(mvsa(maps), vector / vector.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("size", [(5, 7), (33, 95)])
def test_mvsa_takes_maps_of_any_size(size):
    maps = [
        torch.randn(2, wide, -(-size[0] // stride), -(-size[1] // stride))
        for wide, stride in zip(CHANNELS, STRIDES, strict=True)
    ]
    assert_close(mvsa_of()(maps).norm(dim=-1), torch.ones(2))


def test_pictures_without_regions_take_the_global_side_alone():
    fusion = midf_of()
    present = torch.tensor([True, False, True, False])
    found, alone = fusion(*SIDES, present), fusion.self_global(SIDES[0])
    assert_close(found[~present], alone[~present])
    assert_close(found[present], fusion(*SIDES, ALL_PRESENT)[present])
