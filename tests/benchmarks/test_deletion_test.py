"""Taking the reason out: what is replaced, what it is compared with, whose share is counted."""

import pytest
import torch

from benchmarks import deletion_test
from benchmarks.deletion_test import ELSEWHERE, NAMED, clustered_interval, moved_away, rivals_of
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.regions.contribution import Contributions, box_contributions
from tests.miniature import draw_picture
from tests.models.tiny_cmpagl import seeded_model, tiny_processor, tiny_stem_config


def contributions(boxes, values, kept=None):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    kept = torch.tensor([True] * len(boxes) if kept is None else kept)
    masked = 0.5 - torch.tensor(values)[:, None]
    return Contributions(
        boxes, torch.ones(len(boxes)), torch.arange(len(boxes)), kept, torch.tensor([0.5]), masked
    )


def test_only_pixels_under_the_box_are_replaced():
    pixels = torch.ones(1, 3, 8, 8)
    views = deletion_test.without(pixels, torch.tensor([[0.0, 0, 4, 8], [2, 1, 3, 3]]), "grey")
    assert views.shape == (2, 3, 8, 8)
    assert views[0, 0].sum() == 32 and not views[0, :, :, :4].any()
    assert views[1, 0].sum() == 64 - 2 and not views[1, :, 1:3, 2].any()


def test_a_blurred_box_keeps_its_mean_colour_and_loses_its_detail():
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    view = deletion_test.without(pixels, torch.tensor([[8.0, 8, 56, 56]]), "blur")[0]
    inside, before = view[:, 8:56, 8:56], pixels[0, :, 8:56, 8:56]
    assert inside.std() < before.std() / 10
    assert abs(float(inside.mean() - before.mean())) < 0.02
    assert torch.equal(view[:, :8], pixels[0, :, :8])


def test_the_rival_is_another_region_of_like_area():
    square = [[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 40, 40], [50, 50, 61, 60]]
    found = contributions(square, [0.3, 0.1, 0.2, 0.1], [True, True, True, False])
    draws = torch.Generator().manual_seed(0)
    for _ in range(8):
        rivals = rivals_of(found, (64, 64), draws)
        assert (rivals.top, rivals.other) == (0, 1)  # 2 is too large, 3 was not used
    large = contributions(square[:3], [0.1, 0.1, 0.5])
    assert rivals_of(large, (64, 64), draws).other in (0, 1)  # no like one: the nearest in area


def test_the_moved_box_has_the_same_size_and_its_centre_elsewhere():
    draws = torch.Generator().manual_seed(0)
    for box in ([0.0, 0, 10, 20], [30.0, 30, 60, 64], [0.0, 0, 60, 60]):
        box = torch.tensor(box)
        moved = moved_away(box, (64, 64), draws)
        assert torch.allclose(moved[2:] - moved[:2], box[2:] - box[:2], atol=1e-4)
        assert moved.min() >= 0 and moved.max() <= 64
        if box[2] - box[0] < 32:
            apart = ((moved[:2] + moved[2:] - box[:2] - box[2:]) / 2).abs()
            assert (apart > (box[2:] - box[:2]) / 2).any()


@pytest.fixture
def encoder():
    model = seeded_model(tiny_stem_config(stem_skip_levels=True))
    return Encoder(model, tiny_processor(model), id="tiny")


def test_the_heat_maps_box_is_taken_out_of_the_picture_and_put_elsewhere(encoder, monkeypatch):
    seen = []

    def without(pixels, boxes, fill):
        seen.append((boxes, fill))
        return plain(pixels, boxes, fill)

    plain = deletion_test.without
    monkeypatch.setattr(deletion_test, "without", without)
    picture, query = draw_picture(1, side=96), encoder.texts(["a river"])[0]
    draws = torch.Generator().manual_seed(0)
    row = deletion_test.take_out_box(encoder, picture, (0.25, 0.5, 0.5, 0.75), query, draws)
    assert list(row) == [f"{ELSEWHERE}, grey", f"{ELSEWHERE}, blur"]
    side = encoder.inputs([picture])["pixel_values"].shape[-1]
    boxes, fill = seen[0]
    assert fill == "grey" and boxes[1].tolist() == [side / 4, side / 2, side / 2, side * 3 / 4]
    whole = float(encoder.image(picture) @ query)
    views = plain(encoder.inputs([picture])["pixel_values"], boxes[1:], "grey")
    with torch.no_grad():
        left = encoder.model.get_image_features(views).pooler_output @ query
    assert row[f"{ELSEWHERE}, grey"] == pytest.approx((whole - left).tolist(), abs=2e-5)


def test_ranked_by_blur_the_top_region_costs_what_the_model_loses_without_it(encoder, monkeypatch):
    boxes = torch.tensor([[0.0, 0, 32, 32], [32, 0, 64, 32], [0, 32, 32, 64]])
    monkeypatch.setattr(deletion_test, "proposals", lambda proposer, picture: boxes)
    picture, query = draw_picture(1, side=64), encoder.texts(["a river"])[0]
    draws = torch.Generator().manual_seed(0)
    row = deletion_test.take_out(encoder, encoder, picture, query, draws)
    pixels = encoder.inputs([picture])["pixel_values"]
    found = box_contributions(encoder.model, pixels, query, boxes=boxes)
    with torch.no_grad():
        views = deletion_test.without(pixels, found.boxes, "blur")
        top = int((encoder.model.get_image_features(views).pooler_output @ query).argmin())
    assert row[deletion_test.TURNED][0] == pytest.approx(float(found.values[top, 0]), abs=2e-5)


def test_shares_count_strict_falls_and_intervals_draw_pictures():
    rows = [
        {"picture": number % 5, NAMED: (0.2, 0.1), f"{ELSEWHERE}, grey": (0.1, 0.1 * (number % 2))}
        for number in range(20)
    ]
    named, elsewhere = deletion_test.summaries(rows)
    assert named["share"] == 100 and named["met"]
    assert elsewhere["share"] == 50 and not elsewhere["met"]  # a tie is no fall
    assert elsewhere["drop_rival"] == pytest.approx(0.05)
    won = torch.tensor([True] * 10 + [False] * 10)
    one_each = clustered_interval(won, torch.arange(20))
    two_pictures = clustered_interval(won, torch.arange(20) // 10)
    assert two_pictures == (0, 100)  # all or nothing of either picture
    assert 20 < one_each[0] < 50 < one_each[1] < 80


def test_a_subject_measured_again_takes_its_old_place(tmp_path):
    file = tmp_path / "found.json"
    for name, share in (("cmpagl-rs, boxes", 1), ("galr-rs", 2), ("cmpagl-rs, boxes", 3)):
        deletion_test.keep(file, {"subject": name, "share": share})
    kept = deletion_test.read(file)["subjects"]
    assert [each["share"] for each in kept] == [2, 3]
    assert deletion_test.table(None) == "Not measured yet."
