"""Nodes taken out of a picture's region graph, and the embedding that is left."""

import pytest
import torch

from .contract import assert_close
from .test_modeling_galr import model_of, pictures_of, tiny_faithful

BOXES = torch.tensor([[[2.0, 2, 30, 30], [3, 3, 31, 31], [34, 30, 60, 60], [30, 4, 60, 20]]])
SCORES = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
GIVEN = {"region_boxes": BOXES, "region_scores": SCORES}


@pytest.mark.parametrize("drea", ["plain", "denoise", "enhanced", "both"])
@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_hiding_nothing_is_the_plain_embedding_to_the_last_bit(drea, pooling):
    model, picture = model_of(drea=drea, region_pooling=pooling), pictures_of(1)
    nothing = torch.zeros(1, 5, dtype=torch.bool)
    with torch.no_grad():
        found, graph = model.get_features_without_nodes(picture, nothing)
        assert torch.equal(found, model.get_image_features(picture))
    assert torch.equal(graph.adjacency, model.get_region_graph(picture).adjacency)


@pytest.mark.parametrize(
    "settings", [{}, {"backbone_pool_levels": True}, {"image_head": "none", "backbone_pool": False}]
)
def test_hiding_a_node_changes_the_embedding_and_a_batch_equals_one_by_one(settings):
    if settings.get("image_head") == "none":
        settings = settings | {"projection_dim": 16}
    model, picture = model_of(denoise_similarity=0.999999, **settings), pictures_of(1)
    each = torch.eye(5, dtype=torch.bool)
    with torch.no_grad():
        found, graph = model.get_features_without_nodes(picture, each, **GIVEN)
        alone = [model.get_features_without_nodes(picture, row[None], **GIVEN)[0] for row in each]
        plain = model.get_image_features(picture, **GIVEN)
    assert_close(found, torch.cat(alone))
    moved = (found - plain).abs().amax(1) > 1e-4
    assert graph.kept.tolist() == [[True, True, True, True, False]]
    assert moved.tolist() == graph.kept[0].tolist()


def test_a_hidden_node_is_a_box_that_was_never_given():
    # Without enhancement nothing of the others depends on it, so the short way must agree.
    model, picture = model_of(drea="plain"), pictures_of(1)
    with torch.no_grad():
        found, _ = model.get_features_without_nodes(
            picture, torch.eye(5, dtype=torch.bool)[:4], **GIVEN
        )
        for number in range(4):
            rest = [other for other in range(4) if other != number]
            expected = model.get_image_features(
                picture, region_boxes=BOXES[:, rest], region_scores=SCORES[:, rest]
            )
            assert_close(found[number], expected[0])


def test_what_denoising_dropped_stays_out_when_its_cause_is_hidden():
    model, picture = model_of(drea="denoise", denoise_similarity=-1.0), pictures_of(1)
    hidden = torch.tensor([[True, False, False, False, False]])
    with torch.no_grad():
        found, graph = model.get_features_without_nodes(picture, hidden, **GIVEN)
        assert graph.dropped_by[0, 1] == 0
        without_both = model.get_image_features(
            picture, region_boxes=BOXES[:, 2:], region_scores=SCORES[:, 2:]
        )
        dropped, _ = model.get_features_without_nodes(picture, hidden.roll(1, dims=1), **GIVEN)
        assert torch.equal(dropped, model.get_image_features(picture, **GIVEN))
    assert_close(found, without_both)


def test_hiding_every_node_leaves_the_global_embedding():
    model, picture = model_of(), pictures_of(1)
    with torch.no_grad():
        found, _ = model.get_features_without_nodes(picture, torch.ones(1, 5, dtype=torch.bool))
        expected = model.get_image_features(picture, region_boxes=torch.zeros(1, 0, 4))
    assert_close(found, expected)


def test_the_backbone_sees_the_picture_once(monkeypatch):
    model, seen = model_of(), []
    run = model.backbone.forward_intermediates
    monkeypatch.setattr(
        model.backbone,
        "forward_intermediates",
        lambda pixels, *args, **kwargs: seen.append(len(pixels)) or run(pixels, *args, **kwargs),
    )
    model.get_features_without_nodes(pictures_of(1), torch.eye(5, dtype=torch.bool))
    assert seen == [1]


@pytest.mark.parametrize("config", [tiny_faithful(), None])
def test_a_model_without_a_graph_of_its_own_refuses(config):
    model = model_of(config) if config else model_of(use_regions=False)
    with pytest.raises(NotImplementedError, match="use_regions"):
        model.get_features_without_nodes(pictures_of(1), torch.zeros(1, 5, dtype=torch.bool))
