"""Boxes taken out of the Gswin tower: which cells, and that nothing reads them any more."""

import pytest
import torch

from rsctir_hf.models.cmpagl.masking_cmpagl import MaskedBoxes
from tests.models.contract import assert_close
from tests.models.tiny_cmpagl import (
    open_global_path,
    seeded_model,
    shake,
    tiny_config,
    tiny_stem_config,
)

VARIANTS = {
    "cross": tiny_config(),
    "concat": tiny_config(global_attention="concat"),
    "local only": tiny_config(global_attention="local_only"),
    # 6 x 6 and 3 x 3 tokens in windows of 4: padding, shifts and a map that fits one window
    "padded": tiny_config(image_size=24, window_size=4),
}
STEMS = {
    "final": tiny_stem_config(),
    "levels": tiny_stem_config(stem_skip_levels=True),
    "no skip": tiny_stem_config(stem_skip=False),
}
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
every_tower = pytest.mark.parametrize(
    "config", [*VARIANTS.values(), *STEMS.values()], ids=[*VARIANTS, *STEMS]
)


def ready(config):
    model = seeded_model(config)
    shake(model.image_model.layers)
    open_global_path(model)
    return model, torch.rand(1, 3, config.image_size, config.image_size)


def free_of(box, *, map_size=(4, 4), image_size=(32, 32)):
    masked = MaskedBoxes(torch.tensor([box], dtype=torch.float32), image_size)
    return masked.free(*map_size)[0]


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ((8, 0, 16, 16), [(0, 1), (1, 1)]),  # two cells of 8 x 8 pixels
        ((4, 0, 16, 8), [(0, 0), (0, 1)]),  # half of the first is enough
        ((5, 0, 16, 8), [(0, 1)]),  # three eighths of it are not
        ((17, 10, 19, 12), [(1, 2)]),  # a small box masks the cell it lies in
        ((23, 10, 25, 12), [(1, 2), (1, 3)]),  # or both, lying half in each
        ((-50, -50, 8, 8), [(0, 0)]),  # clipped
        ((40, 0, 50, 9), []),  # beside the picture
        ((9, 9, 9, 20), []),  # empty
    ],
)
def test_a_box_masks_the_cells_it_covers_by_half_or_else_the_most(box, cells):
    masked = (free_of(box) == 0).nonzero().tolist()
    assert masked == [list(cell) for cell in cells]


def test_rows_follow_the_height_and_columns_the_width():
    free = free_of((0, 0, 20, 8), map_size=(2, 4), image_size=(16, 40))
    assert free.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


@every_tower
def test_masking_nothing_is_the_plain_embedding_to_the_last_bit(config):
    model, picture = ready(config)
    side = float(config.image_size)
    with torch.no_grad():
        plain = model.get_image_features(picture).pooler_output
        beside = torch.tensor([[side + 1, 0, side + 9, 9]])
        assert torch.equal(model.get_features_without_boxes(picture, beside), plain)
        assert model.get_features_without_boxes(picture, beside[:0]).shape == (0, 12)


@every_tower
def test_masking_changes_the_embedding_and_a_batch_equals_one_by_one(config):
    model, picture = ready(config)
    side = config.image_size
    boxes = torch.tensor([[0.0, 0, 9, 9], [side / 2, side / 2, side, side], [3, 3, 5, side]])
    with torch.no_grad():
        found = model.get_features_without_boxes(picture, boxes)
        alone = [model.get_features_without_boxes(picture, box[None]) for box in boxes]
        plain = model.get_image_features(picture).pooler_output
    assert_close(found, torch.cat(alone))
    assert ((found - plain).abs().amax(1) > 1e-4).all()
    assert_close(found.norm(dim=1), torch.ones(3))


@every_variant
def test_nothing_under_a_masked_box_reaches_the_embedding(config):
    # Without a stem a token sees its own patch only, so that whatever lies under a box of whole
    # cells of both maps must not matter: not as a key, not through the global window, not merged
    # and not pooled.
    model, picture = ready(config)
    other = picture.clone()
    other[:, :, 8:16, 8:24] = torch.rand(1, 3, 8, 16)
    box = torch.tensor([[8.0, 8, 24, 16]])
    with torch.no_grad():
        found, again = (model.get_features_without_boxes(p, box) for p in (picture, other))
        plain, changed = (model.get_image_features(p).pooler_output for p in (picture, other))
    assert_close(found, again)
    assert (plain - changed).abs().max() > 1e-4


@pytest.mark.parametrize("config", STEMS.values(), ids=STEMS)
def test_nothing_under_a_masked_box_of_the_stems_maps_reaches_the_embedding(config, monkeypatch):
    # The cells of all maps under the box are overwritten behind the stem: skips and laterals too.
    model, picture = ready(config)
    stem = model.image_model.stem
    box = torch.tensor([[0.0, 32, 32, 64]])
    with torch.no_grad():
        plain, before = (model.get_image_features(picture).pooler_output,
                         model.get_features_without_boxes(picture, box))  # fmt: skip
        final, levels = stem.forward_intermediates(picture, indices=config.stem_indices)
        for level in [final, *levels]:
            side = level.shape[-1]
            level[:, :, side // 2 :, : side // 2] += 1
        monkeypatch.setattr(stem, "forward_intermediates", lambda *_, **__: (final, levels))
        assert_close(model.get_features_without_boxes(picture, box), before)
        assert (model.get_image_features(picture).pooler_output - plain).abs().max() > 1e-4


def test_the_stem_sees_one_picture_once(monkeypatch):
    model, picture = ready(STEMS["levels"])
    seen = []
    run = model.image_model.stem.forward_intermediates
    monkeypatch.setattr(
        model.image_model.stem,
        "forward_intermediates",
        lambda pixels, **kwargs: seen.append(len(pixels)) or run(pixels, **kwargs),
    )
    with torch.no_grad():
        model.get_features_without_boxes(picture, torch.rand(7, 4).cumsum(1) * 9)
    assert seen == [1]


def test_pictures_with_a_box_each_are_masked_one_by_one():
    model, _ = ready(STEMS["levels"])
    pictures, boxes = torch.rand(2, 3, 64, 64), torch.tensor([[0.0, 0, 20, 30], [9, 9, 50, 60]])
    with torch.no_grad():
        found = model.get_features_without_boxes(pictures, boxes)
        alone = [
            model.get_features_without_boxes(picture[None], box[None])
            for picture, box in zip(pictures, boxes, strict=True)
        ]
    assert_close(found, torch.cat(alone))


@every_tower
def test_a_box_over_the_whole_picture_leaves_a_finite_embedding(config):
    model, picture = ready(config)
    with torch.no_grad():
        found = model.get_features_without_boxes(picture, torch.tensor([[-9.0, -9, 999, 999]]))
    assert found.isfinite().all()


def test_boxes_that_do_not_fit_are_refused():
    model, picture = ready(VARIANTS["cross"])
    for boxes in (torch.zeros(4), torch.zeros(2, 5)):
        with pytest.raises(ValueError, match=r"expected \(V, 4\)"):
            model.get_features_without_boxes(picture, boxes)
    with pytest.raises(ValueError, match="for 2 pictures"):
        model.get_features_without_boxes(picture.repeat(2, 1, 1, 1), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="not finite"):
        model.get_features_without_boxes(picture, torch.full((1, 4), float("nan")))


def test_global_scales_stand_in_the_order_of_the_blocks():
    model, picture = ready(VARIANTS["cross"])
    blocks = [block for stage in model.image_model.layers for block in stage.blocks]
    scales = model.get_global_scales()
    assert len(scales) == len(model.get_global_attention(picture)) == 4
    assert all(scale is block.global_scale for scale, block in zip(scales, blocks, strict=True))
    assert ready(VARIANTS["local only"])[0].get_global_scales() == []
    assert ready(VARIANTS["concat"])[0].get_global_scales() == []
