"""SSJDN-style decoupling of the pooled levels, in both families, and the head for scenes."""

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.models.cmpagl.pooling_cmpagl import ScaleDecoupling
from rsctir_hf.models.galr import GaLRConfig, GaLRModel
from tests.models.contract import assert_close
from tests.models.tiny_cmpagl import seeded_model, shake, tiny_config, tiny_stem_config


def galr(**changes):
    torch.manual_seed(0)
    sizes = {"image_size": 32, "mvsa_grid": 2, "region_dim": 8, "graph_dims": [8], "fusion_dim": 8}
    words = {"vocab_size": 20, "embedding_dim": 6, "text_hidden_size": 10, "projection_dim": 12}
    options = {"backbone": "test_efficientnet", "backbone_pool_levels": True, **changes}
    return GaLRModel(GaLRConfig(**sizes, **words, **options)).eval()


def cmpagl(**changes):
    return seeded_model(tiny_stem_config(stem_skip_levels=True, **changes))


FAMILIES = pytest.mark.parametrize("family", [galr, cmpagl])


def test_each_level_keeps_what_stands_out_and_hides_it_from_the_next_in_both_orders():
    part = ScaleDecoupling([2, 3, 4])
    shake(part)
    maps = [torch.rand(1, 2, 8, 8), torch.rand(1, 3, 4, 4), torch.rand(1, 4, 2, 2)]
    expected = [torch.zeros_like(level) for level in maps]
    for order, places in ((part.finest_first, (0, 1, 2)), (part.coarsest_first, (2, 1, 0))):
        hidden = None
        for place in places:
            level = maps[place]
            if hidden is not None:  # a coarser map takes means of 2 x 2 cells, a finer one repeats
                size = level.shape[-2:]
                level = level * (1 - F.adaptive_avg_pool2d(hidden, size))
            hidden = torch.sigmoid(order[place](level))
            expected[place] = expected[place] + level * hidden
    for found, wanted in zip(part(maps), expected, strict=True):
        assert_close(found, wanted)


def test_what_is_all_salient_on_the_finest_level_is_hidden_from_the_next():
    part = ScaleDecoupling([1, 1])
    for conv in part.finest_first:
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.constant_(conv.bias, 50.0)  # a salience of 1
    finer, coarser = part.salience(
        [torch.rand(1, 1, 4, 4), torch.rand(1, 1, 2, 2)], part.finest_first
    )
    assert_close(finer, torch.ones(1, 1, 4, 4))
    assert_close(coarser, torch.zeros(1, 1, 2, 2))


@FAMILIES
def test_the_switch_changes_pictures_alone_and_learns(family, tmp_path):
    plain, decoupled = family(), family(scale_decoupling=True)
    decoupled.load_state_dict(plain.state_dict(), strict=False)
    added = decoupled.state_dict().keys() - plain.state_dict().keys()
    assert added
    assert all("scale_decoupling." in name for name in added)
    side = decoupled.config.image_size
    pictures, words = torch.randn(2, 3, side, side), torch.tensor([[5, 6]])
    before, after = (each(words, pixel_values=pictures) for each in (plain, decoupled))
    assert_close(after.text_embeds, before.text_embeds)
    assert (after.image_embeds - before.image_embeds).abs().max() > 1e-4
    decoupled(words, pixel_values=pictures).logits_per_image.sum().backward()
    assert all(
        p.grad is not None for n, p in decoupled.named_parameters() if "scale_decoupling." in n
    )
    decoupled.save_pretrained(tmp_path)
    again = type(decoupled).from_pretrained(tmp_path)
    assert_close(again(pixel_values=pictures).image_embeds, after.image_embeds)


@FAMILIES
def test_a_box_beside_the_picture_takes_nothing_out_of_decoupled_levels(family):
    model = family(scale_decoupling=True)
    side = model.config.image_size
    picture = torch.randn(1, 3, side, side)
    beside = torch.tensor([[2.0 * side, 0.0, 3.0 * side, 9.0]])
    with torch.no_grad():
        whole = model.get_image_features(picture).pooler_output
        found = model.get_features_without_boxes(picture, beside)
    found = found[0] if isinstance(found, tuple) else found
    assert_close(found, whole)


def test_decoupling_without_pooled_levels_is_refused():
    with pytest.raises(ValueError, match="backbone_pool_levels=False"):
        GaLRConfig(scale_decoupling=True)
    with pytest.raises(ValueError, match="stem_skip_levels=False"):
        tiny_config(scale_decoupling=True)


@FAMILIES
def test_a_model_has_a_head_for_the_scenes_that_its_configuration_names(family):
    assert family().scene_head is None
    head = family(scene_classes=("harbor", "forest", "airport")).scene_head
    assert head.weight.shape == (3, 12)
