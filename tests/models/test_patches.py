"""The vector of each patch, of both families, against the projection of the whole picture."""

import pytest
import torch

from benchmarks.patch_similarity import cell_features

from .test_modeling_galr import model_of, pictures_of
from .tiny_cmpagl import seeded_model, tiny_config, tiny_stem_config

MODELS = {
    "cmpagl": lambda: seeded_model(tiny_stem_config(stem_skip_levels=True)),
    "cmpagl without a stem": lambda: seeded_model(tiny_config()),
    "galr": lambda: model_of(backbone_pool=True, backbone_pool_levels=True),
    "galr without regions": lambda: model_of(backbone_pool=True, use_regions=False),
}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return MODELS[name]()


@torch.no_grad()
def test_patches_are_unit_vectors_of_a_map_row_by_row(model):
    pictures = pictures_of(2)
    patches = model.get_patch_features(pictures)
    side = round(patches.shape[1] ** 0.5)
    assert patches.shape == (2, side * side, model.config.projection_dim)
    assert torch.allclose(patches.norm(dim=-1), torch.ones(2, side * side), atol=1e-5)
    alone = model.get_patch_features(pictures[1:])  # a picture does not see its neighbours
    assert torch.allclose(alone[0], patches[1], atol=1e-5)


@torch.no_grad()
def test_the_only_patch_of_a_small_picture_is_the_whole(model, name):
    strides = {"cmpagl without a stem": 8}  # pixels of a cell
    side = strides.get(name, 32)
    pictures = pictures_of(2, size=(side, side))
    patches = model.get_patch_features(pictures)
    whole = model.get_image_features(pictures).pooler_output
    assert patches.shape[1] == 1
    assert torch.allclose(patches[:, 0], whole, atol=1e-5)


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
@torch.no_grad()
def test_patches_are_the_cells_that_the_pointing_game_sees(family):
    model = MODELS[family]()
    picture = pictures_of(1)
    patches = model.get_patch_features(picture)[0]
    side = round(len(patches) ** 0.5)
    assert side > 1
    cells = cell_features(model, picture, [side])[side]
    assert torch.allclose(patches, cells, atol=1e-5)


def test_gradients_reach_the_tower_through_the_patches(model):
    model.get_patch_features(pictures_of(1)).sum().backward()
    tower = model.image_model if model.config.model_type == "cmpagl" else model.backbone
    assert any(each.grad is not None and each.grad.any() for each in tower.parameters())


def test_a_galr_without_a_final_map_has_no_patches():
    with pytest.raises(NotImplementedError, match="backbone_pool"):
        model_of(backbone_pool=False).get_patch_features(pictures_of(1))
