"""Nodes or boxes taken out of a picture, and the embedding that is left."""

import pytest
import torch

from rsctir_hf.models.cmpagl.masking_cmpagl import MaskedBoxes
from rsctir_hf.models.galr.masking_galr import free_cells, free_mean, nodes_under
from tests.models.contract import assert_close
from tests.models.test_modeling_galr import model_of, pictures_of, tiny_faithful

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
        assert torch.equal(found, model.get_image_features(picture).pooler_output)
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
        plain = model.get_image_features(picture, **GIVEN).pooler_output
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
            ).pooler_output
            assert_close(found[number], expected[0])


def test_what_denoising_dropped_stays_out_when_its_cause_is_hidden():
    model, picture = model_of(drea="denoise", denoise_similarity=-1.0), pictures_of(1)
    hidden = torch.tensor([[True, False, False, False, False]])
    with torch.no_grad():
        found, graph = model.get_features_without_nodes(picture, hidden, **GIVEN)
        assert graph.dropped_by[0, 1] == 0
        without_both = model.get_image_features(
            picture, region_boxes=BOXES[:, 2:], region_scores=SCORES[:, 2:]
        ).pooler_output
        dropped, _ = model.get_features_without_nodes(picture, hidden.roll(1, dims=1), **GIVEN)
        assert torch.equal(dropped, model.get_image_features(picture, **GIVEN).pooler_output)
    assert_close(found, without_both)


def test_hiding_every_node_leaves_the_global_embedding():
    model, picture = model_of(), pictures_of(1)
    with torch.no_grad():
        found, _ = model.get_features_without_nodes(picture, torch.ones(1, 5, dtype=torch.bool))
        expected = model.get_image_features(
            picture, region_boxes=torch.zeros(1, 0, 4)
        ).pooler_output
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


POOLED = {"backbone_pool": True, "backbone_pool_levels": True, "image_head": "linear"}


@pytest.mark.parametrize("settings", [POOLED, POOLED | {"backbone_pool_levels": False}])
def test_a_box_beside_the_picture_takes_nothing_out(settings):
    model, picture = model_of(**settings), pictures_of(1)
    beside = torch.tensor([[-9.0, -9, -1, -1], [999, 0, 1010, 9]])
    with torch.no_grad():
        plain = model.get_image_features(picture).pooler_output
    found = model.get_features_without_boxes(picture, beside)
    assert_close(found, plain.expand(2, -1))
    assert model.get_features_without_boxes(picture, beside[:0]).shape == (0, plain.shape[1])


def test_boxes_in_a_batch_are_taken_out_as_one_by_one_and_each_moves_the_embedding():
    model, picture = model_of(**POOLED), pictures_of(1)
    found = model.get_features_without_boxes(picture, BOXES[0])
    alone = [model.get_features_without_boxes(picture, box[None]) for box in BOXES[0]]
    assert_close(found, torch.cat(alone))
    with torch.no_grad():
        assert (
            (found - model.get_image_features(picture).pooler_output).abs().amax(1) > 1e-4
        ).all()


def test_a_mean_counts_only_the_cells_beside_the_box():
    level = torch.arange(16.0).view(1, 1, 4, 4)
    # The left half; all but the last cell; a tenth of the first cell, which is then taken whole.
    boxes = torch.tensor([[0.0, 0, 16, 32], [24, 24, 32, 32], [0, 0, 2, 3], [0, 0, 32, 32]])
    found = free_mean(level, boxes, (32, 32))[:, 0]
    left = torch.tensor([2.0, 3, 6, 7, 10, 11, 14, 15]).mean()
    assert_close(found, torch.tensor([left, 105 / 15, 120 / 15, 0]))


def test_free_cells_are_those_of_the_other_family():
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(50, 4, generator=generator).cumsum(1) * 20
    assert torch.equal(free_cells(boxes, (5, 7), (48, 64)), MaskedBoxes(boxes, (48, 64)).free(5, 7))


def test_nodes_centred_under_a_box_are_hidden_and_padding_never():
    nodes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 20, 20], [0, 0, 0, 0]])
    there = torch.tensor([True, True, False])
    boxes = torch.tensor([[0.0, 0, 9, 9], [12, 12, 16, 16], [0, 0, 30, 30]])
    assert nodes_under(boxes, nodes, there).tolist() == [
        [True, False, False],
        [False, True, False],
        [True, True, False],
    ]


@pytest.mark.parametrize(
    "settings",
    [{"image_head": "none", "backbone_pool": False, "projection_dim": 16}, {"use_regions": False}],
)
def test_a_model_without_means_or_graph_takes_no_boxes_out(settings):
    with pytest.raises(NotImplementedError, match=r"backbone_pool=|use_regions="):
        model_of(**settings).get_features_without_boxes(pictures_of(1), BOXES[0])


def test_boxes_are_taken_out_of_one_picture():
    with pytest.raises(ValueError, match="Got 2 pictures"):
        model_of(**POOLED).get_features_without_boxes(pictures_of(2), BOXES[0])
