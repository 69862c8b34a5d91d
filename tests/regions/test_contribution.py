"""What regions contribute to a score: signed, true, and sound for boxes of every kind."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rsctir_hf.errors import QueryError, RegionsError, UnsupportedError
from rsctir_hf.regions import contribution
from rsctir_hf.regions.contribution import (
    MOST_BOXES,
    Contributions,
    box_contributions,
    node_contributions,
    region_contributions,
)
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.regions.sanitize import sound_regions
from tests.models.contract import assert_close
from tests.models.test_modeling_galr import model_of, pictures_of, tiny_faithful
from tests.models.tiny_cmpagl import open_global_path, seeded_model, tiny_stem_config

BOXES = torch.tensor([[2.0, 2, 30, 30], [34, 30, 60, 60], [30, 4, 60, 20]])
SURE = torch.tensor([0.5, 0.9, 0.7])


@pytest.fixture(scope="module")
def cmpagl():
    model = seeded_model(tiny_stem_config(stem_skip_levels=True))
    open_global_path(model)
    return model


@pytest.fixture(scope="module")
def galr():
    return model_of(denoise_similarity=0.999999)


def queries_of(count=3):
    draw = torch.Generator().manual_seed(5)
    return F.normalize(torch.randn(count, 12, generator=draw), dim=-1)


def test_a_box_contributes_what_the_score_loses_without_it(cmpagl):
    pixels, queries = pictures_of(1), queries_of()
    found = box_contributions(cmpagl, pixels, queries, boxes=BOXES, scores=SURE)
    with torch.no_grad():
        whole = cmpagl.get_image_features(pixels).pooler_output @ queries.T
        assert_close(found.whole, whole[0])
        for row, number in enumerate([1, 2, 0]):  # by falling score
            left = cmpagl.get_features_without_boxes(pixels, BOXES[number][None]) @ queries.T
            assert_close(found.values[row], (whole - left)[0])
    assert found.numbers.tolist() == [2, 3, 1]
    assert torch.equal(found.boxes, BOXES[[1, 2, 0]])
    assert_close(found.scores, SURE[[1, 2, 0]])
    assert (found.values > 1e-4).any() and (found.values < -1e-4).any()
    assert found.kept.all() and len(found) == 3


def test_galr_asked_about_boxes_loses_more_than_a_node(galr):
    pixels, queries = pictures_of(1), queries_of()
    found = box_contributions(galr, pixels, queries, boxes=BOXES, scores=SURE)
    with torch.no_grad():
        whole = galr.get_image_features(pixels).pooler_output @ queries.T
    assert_close(found.whole, whole[0])
    left = galr.get_features_without_boxes(pixels, found.boxes) @ queries.T
    assert_close(found.masked, left)
    assert (found.values.abs() > 1e-4).any()


def test_galr_built_without_means_cannot_leave_boxes_out():
    model = model_of(image_head="none", backbone_pool=False, projection_dim=16)
    with pytest.raises(UnsupportedError, match="backbone_pool=False"):
        box_contributions(model, pictures_of(1), torch.ones(16), boxes=BOXES)


def test_a_node_contributes_what_the_score_loses_without_it(galr):
    queries, pixels = queries_of(), pictures_of(1)
    inputs = {"pixel_values": pixels, "region_boxes": BOXES[None], "region_scores": SURE[None]}
    found = node_contributions(galr, inputs, queries)
    hidden = torch.eye(5, dtype=torch.bool)
    with torch.no_grad():
        whole = galr.get_image_features(**inputs).pooler_output @ queries.T
        for row in range(3):
            given = {name: inputs[name] for name in inputs if name != "pixel_values"}
            left, _ = galr.get_features_without_nodes(pixels, hidden[row][None], **given)
            assert_close(found.values[row], (whole - left @ queries.T)[0])
    assert_close(found.whole, whole[0])
    assert found.numbers.tolist() == [1, 2, 3]
    assert torch.equal(found.boxes, BOXES[[1, 2, 0]])  # as the graph has them: strongest first
    assert (found.values > 1e-4).any() and (found.values < -1e-4).any()


def test_a_node_that_denoising_had_dropped_contributes_nothing():
    model = model_of(denoise_similarity=-1.0)
    inputs = {
        "pixel_values": pictures_of(1),
        "region_boxes": torch.tensor([[[2.0, 2, 30, 30], [3, 3, 31, 31], [34, 30, 60, 60]]]),
        "region_scores": torch.tensor([[0.9, 0.8, 0.7]]),
    }
    found = node_contributions(model, inputs, queries_of())
    assert found.kept.tolist() == [True, False, True]
    assert found.values[1].tolist() == [0, 0, 0]
    assert (found.values[[0, 2]].abs().amax(1) > 0).all()


def test_without_any_is_the_score_of_the_picture_without_its_graph(galr, cmpagl):
    queries, pixels = queries_of(), pictures_of(1)
    found = node_contributions(galr, {"pixel_values": pixels}, queries)
    with torch.no_grad():
        left, _ = galr.get_features_without_nodes(pixels, torch.ones(1, 5, dtype=torch.bool))
    assert_close(found.without_any, (left @ queries.T)[0])
    assert box_contributions(cmpagl, pixels, queries, boxes=BOXES).without_any is None


def test_regions_are_ranked_by_sign_and_size(cmpagl):
    found = box_contributions(cmpagl, pictures_of(1), queries_of(), boxes=BOXES)
    for query in range(3):
        ordered = found.values[found.ranking(query), query]
        assert (ordered[:-1] >= ordered[1:]).all()


def test_queries_of_any_length_count_by_their_direction(cmpagl):
    pixels, queries = pictures_of(1), queries_of()
    found = box_contributions(cmpagl, pixels, queries, boxes=BOXES)
    longer = box_contributions(cmpagl, pixels, 7 * queries[1], boxes=BOXES)
    assert_close(longer.values[:, 0], found.values[:, 1])


def boxes_of_all_kinds():
    nothing = torch.zeros(0, 4)
    many = torch.rand(10_000, 4, generator=torch.Generator().manual_seed(0)) * 20
    many[:, 2:] += many[:, :2] + 10
    return {
        "none": (nothing, nothing[:, 0], 0),
        "one": (BOXES[:1], SURE[:1], 1),
        "outside": (BOXES + 300, SURE, 0),
        "partly outside": (BOXES[:1] - 20, SURE[:1], 1),
        "empty": (torch.zeros(3, 4), SURE, 0),
        "reversed": (BOXES.flip(1), SURE, 0),
        "not numbers": (torch.full((3, 4), float("nan")), SURE, 0),
        "a score that is not a number": (BOXES, torch.tensor([0.5, float("nan"), 0.7]), 2),
        "scores that are not numbers": (BOXES, torch.full((3,), float("nan")), 0),
        "infinite": (torch.full((3, 4), float("inf")), SURE, 0),
        "ten thousand": (many, torch.rand(10_000), "most"),
    }


@pytest.mark.parametrize("kind", boxes_of_all_kinds())
def test_boxes_of_any_kind_give_finite_contributions(kind, cmpagl, galr):
    boxes, scores, expected = boxes_of_all_kinds()[kind]
    pixels = pictures_of(1)
    found = box_contributions(cmpagl, pixels, queries_of(), boxes=boxes, scores=scores)
    sound = sound_regions(Regions(boxes, scores), (64, 64))
    inputs = {
        "pixel_values": pixels,
        "region_boxes": sound.boxes[None],
        "region_scores": sound.scores[None],
    }
    nodes = node_contributions(galr, inputs, queries_of())
    for each, most in ((found, MOST_BOXES), (nodes, 5)):
        assert len(each) == (most if expected == "most" else expected)
        assert each.values.shape == (len(each), 3)
        assert each.values.isfinite().all() and each.whole.isfinite().all()
        assert each.scores.isfinite().all() and each.boxes.isfinite().all()
        assert (each.ranking() == []) == (len(each) == 0)


def test_of_too_many_boxes_the_strongest_are_asked_about(cmpagl):
    boxes = BOXES[:1].repeat(MOST_BOXES + 5, 1)
    scores = torch.linspace(0.1, 0.9, len(boxes))
    found = box_contributions(cmpagl, pictures_of(1), queries_of(), boxes=boxes, scores=scores)
    assert found.numbers.tolist() == list(range(len(boxes), 5, -1))


def test_boxes_go_through_the_model_in_one_batch(cmpagl, monkeypatch):
    seen = []
    run = cmpagl.get_features_without_boxes
    monkeypatch.setattr(
        cmpagl,
        "get_features_without_boxes",
        lambda pixels, boxes: seen.append(len(boxes)) or run(pixels, boxes),
    )
    box_contributions(cmpagl, pictures_of(1), queries_of(), boxes=BOXES)
    assert seen == [4]


def test_the_models_way_is_taken_and_boxes_are_scaled_from_the_picture(cmpagl, galr):
    pixels, queries = pictures_of(1), queries_of()
    scale = torch.tensor([2.0, 0.5, 2.0, 0.5])  # a picture of 128 x 32 pixels
    found = region_contributions(
        cmpagl,
        {"pixel_values": pixels},
        queries,
        regions=Regions(BOXES * scale, SURE),
        picture_size=(128, 32),
    )
    expected = box_contributions(cmpagl, pixels, queries, boxes=BOXES, scores=SURE)
    assert torch.equal(found.boxes, expected.boxes)
    assert_close(found.values, expected.values)
    assert found.noise.shape == (3,) and (found.noise > 0).all()
    own = region_contributions(galr, {"pixel_values": pixels}, queries, picture_size=(9, 9))
    assert own.noise.shape == (3,) and (own.noise > 0).all()
    graph = galr.get_region_graph(pixels)
    assert torch.equal(own.boxes, graph.boxes[0, graph.mask[0]])


def test_the_noise_is_three_root_mean_squares_of_what_moved_regions_contribute(cmpagl, monkeypatch):
    asked = []

    def contributions(model, pixels, queries, *, boxes, scores=None):
        asked.append(boxes)
        return box_contributions(model, pixels, queries, boxes=boxes, scores=scores)

    monkeypatch.setattr(contribution, "box_contributions", contributions)
    inputs, queries = {"pixel_values": pictures_of(1)}, queries_of()
    found, again = (
        region_contributions(cmpagl, inputs, queries, regions=Regions(BOXES, SURE))
        for _ in range(2)
    )
    moved = asked[1]
    assert len(moved) == MOST_BOXES and torch.equal(moved, asked[3])
    assert_close(moved[:3, 2:] - moved[:3, :2], found.boxes[:, 2:] - found.boxes[:, :2])
    assert moved.min() >= 0 and moved.max() <= 64
    values = box_contributions(cmpagl, inputs["pixel_values"], queries, boxes=moved).values
    assert_close(found.noise, 3 * (values**2).mean(dim=0) ** 0.5)
    assert torch.equal(found.noise, again.noise)


def test_the_reason_speaks_for_the_result_beyond_the_noise():
    whole, masked = torch.tensor([0.5]), torch.tensor([[0.9], [0.4], [0.48]])
    made = partial(Contributions, BOXES, SURE, torch.arange(1, 4), torch.ones(3).bool(), whole)
    assert made(masked).reason() == 1
    assert made(masked, noise=torch.tensor([0.09])).reason() == 1
    assert made(masked, noise=torch.tensor([0.11])).reason() is None
    assert made(masked[:1]).reason() is None  # the only one speaks against it


@pytest.mark.parametrize(
    "bad",
    [
        (BOXES, SURE),
        [BOXES, SURE],
        "boxes",
        Regions(None, SURE),
        Regions([["a", 0, 5, 5]], SURE[:1]),
        Regions([[0, 0, 5, 5], [1]], SURE[:2]),
        Regions(BOXES, ["a", "b", "c"]),
    ],
)
def test_regions_that_are_none_are_refused(cmpagl, bad):
    inputs = {"pixel_values": pictures_of(1)}
    for size in (None, (64, 64)):
        with pytest.raises(RegionsError, match=r"are no numbers .* expected tensors"):
            region_contributions(cmpagl, inputs, queries_of(), regions=bad, picture_size=size)


def test_what_cannot_be_answered_is_refused_with_a_remedy(cmpagl, galr):
    pixels, queries = pictures_of(1), queries_of()
    inputs, regions = {"pixel_values": pixels}, Regions(BOXES, SURE)
    with pytest.raises(QueryError, match="regions of its own, and its score"):
        region_contributions(galr, inputs, queries, regions=regions)
    with pytest.raises(QueryError, match="has no regions of its own"):
        region_contributions(cmpagl, inputs, queries)
    for given in (None, regions):
        with pytest.raises(UnsupportedError, match="Linear cannot leave out"):
            region_contributions(nn.Linear(1, 1), inputs, queries, regions=given)
    with pytest.raises(UnsupportedError, match="Linear has no region graph"):
        node_contributions(nn.Linear(1, 1), inputs, queries)
    for without in (model_of(tiny_faithful()), model_of(use_regions=False)):
        with pytest.raises(UnsupportedError, match="use_regions"):
            node_contributions(without, inputs, queries)
    two = pictures_of(2)
    with pytest.raises(QueryError, match="contributions are of one picture"):
        node_contributions(galr, {"pixel_values": two}, queries)
    with pytest.raises(QueryError, match="contributions are of one picture"):
        box_contributions(cmpagl, two, queries, boxes=BOXES)
    with pytest.raises(RegionsError, match=r"boxes \(3, 3\)"):
        box_contributions(cmpagl, pixels, queries, boxes=BOXES[:, :3])
    with pytest.raises(RegionsError, match=r"boxes \(3, 4\), scores \(2,\)"):
        box_contributions(cmpagl, pixels, queries, boxes=BOXES, scores=SURE[:2])
    for wrong in (queries[:, :5], queries * float("nan"), queries * 0):
        with pytest.raises(QueryError, match="expected finite vectors of length 12"):
            box_contributions(cmpagl, pixels, wrong, boxes=BOXES)
