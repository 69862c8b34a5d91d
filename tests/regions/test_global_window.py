"""The global window of each block beside its learned weight."""

import pytest
import torch
from torch import nn

from rsctir_hf.errors import UnsupportedError
from rsctir_hf.regions.global_window import global_views
from tests.models.contract import assert_close
from tests.models.tiny_cmpagl import open_global_path, seeded_model, tiny_config


def test_each_block_shows_its_map_and_its_weight():
    model, pixels = seeded_model(tiny_config()), torch.rand(1, 3, 32, 32)
    assert [view.weight for view in global_views(model, pixels)] == [0] * 4  # the zero start
    open_global_path(model)
    views = global_views(model, pixels)
    blocks = [block for stage in model.image_model.layers for block in stage.blocks]
    maps = model.get_global_attention(pixels)
    for view, block, seen in zip(views, blocks, maps, strict=True):
        assert_close(view.attention, seen[0])
        assert view.weight == pytest.approx(block.global_scale.abs().mean().item())
        assert view.seen.shape == (2, 2)
        assert float(view.seen.sum()) == pytest.approx(1, abs=1e-5)
        assert not view.attention.requires_grad and not view.scale.requires_grad


def test_a_small_picture_shows_the_blocks_that_used_the_window():
    model = seeded_model(tiny_config())
    open_global_path(model)
    views = global_views(model, torch.rand(1, 3, 16, 16))  # maps of 4 x 4 and 2 x 2 tokens
    first = model.image_model.layers[0].blocks
    assert [tuple(view.attention.shape) for view in views] == [(4, 4, 2, 2)] * 2
    for view, block in zip(views, first, strict=True):
        assert torch.equal(view.scale, block.global_scale.detach())
    assert global_views(model, torch.rand(1, 3, 8, 8)) == []


def test_concat_has_maps_and_no_weight():
    model = seeded_model(tiny_config(global_attention="concat"))
    views = global_views(model, torch.rand(1, 3, 32, 32))
    assert len(views) == 4 and all(view.weight is None for view in views)


def test_other_models_and_several_pictures_are_refused():
    with pytest.raises(UnsupportedError, match="Linear has no global window"):
        global_views(nn.Linear(1, 1), torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="Got 2 pictures"):
        global_views(seeded_model(tiny_config()), torch.rand(2, 3, 32, 32))
