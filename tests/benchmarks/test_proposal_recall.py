"""Recall of proposals: overlaps, grids, and a table that says what was met."""

import pytest
import torch
from PIL import Image

from benchmarks import proposal_recall
from benchmarks.proposal_recall import Layout, Tally, grid_boxes, is_found
from rsctir_hf.detection.crops import BoxedPicture


def test_an_object_is_found_from_half_an_overlap_on():
    objects = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10.1], [50, 50, 60, 60]])
    boxes = torch.tensor([[0.0, 0, 10, 5], [90, 90, 99, 99]])  # IoU 0.5 with the first
    assert is_found(objects, boxes).tolist() == [True, False, False]
    assert is_found(objects, torch.zeros(0, 4)).tolist() == [False] * 3


def test_a_grid_tiles_the_picture_once_for_each_layout():
    boxes = grid_boxes((40, 20), (Layout(4, 4), Layout(2, 2)))
    assert len(boxes) == proposal_recall.COUNT
    assert float((boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sum()) == pytest.approx(2 * 40 * 20)
    assert boxes[-1].tolist() == [20, 10, 40, 20]


def test_boxes_of_a_grid_may_overlap_and_end_at_the_edges():
    boxes = grid_boxes((30, 10), (Layout(3, 2, 1 / 2, 1),))
    assert boxes[:3].tolist() == [[0, 0, 15, 10], [7.5, 0, 22.5, 10], [15, 0, 30, 10]]
    assert torch.equal(boxes[:3], boxes[3:])


@pytest.mark.parametrize("layout", proposal_recall.GRIDS.values())
def test_every_grid_has_as_many_boxes_as_the_proposals(layout):
    assert len(grid_boxes((448, 300), layout)) == proposal_recall.COUNT


def test_recall_counts_objects_and_only_the_first_boxes():
    boxes = torch.zeros(25, 4)
    boxes[20] = torch.tensor([0.0, 0, 8, 8])  # beyond the twenty
    boxes[3] = torch.tensor([8.0, 8, 16, 16])
    objects = torch.tensor([[0.0, 0, 8, 8], [8, 8, 16, 16], [8, 8, 16, 15]]).numpy()
    labels = torch.tensor([0, 0, 1]).numpy()
    picture = BoxedPicture("a", Image.new("RGB", (32, 32)), objects, labels)
    tally = Tally(milliseconds=[2.0, 4.0])
    proposal_recall.count_found(tally, picture, boxes, classes=["aircraft", "overpass"])
    row = tally.row("a way")
    assert row["classes"]["aircraft"]["recall"] == 50
    assert row["classes"]["overpass"]["recall"] == 100
    assert row["macro"] == 75 and row["boxes"] == 20 and row["milliseconds"] == 3


def test_the_ratio_is_the_graph_over_the_tower():
    class Loaded:
        model = processor = None

    timed = proposal_recall.DefaultProposals(Loaded())
    timed.seconds = {"tower": [0.1, 0.2], "proposals": [0.01, 0.01], "graph": [0.03, 0.06]}
    speed = timed.speed()
    assert speed["ratio"] == 0.3 and speed["graph_milliseconds"] == 45
    content = {"speed": speed, "pictures": 2}
    assert "ratio 0.30" in proposal_recall.speed_note(content, "test")
    assert "target 0.3 met" in proposal_recall.speed_note(content, "test")


def test_selective_search_gives_boxes_inside_the_picture():
    pytest.importorskip("cv2.ximgproc", reason="OpenCV's contributed modules are absent")
    picture = Image.new("RGB", (64, 48), "navy")
    picture.paste("orange", (8, 8, 24, 24))
    boxes = proposal_recall.selective_boxes(picture)
    assert 0 < len(boxes) <= proposal_recall.COUNT
    assert (boxes[:, 2:] > boxes[:, :2]).all() and float(boxes[:, 2].max()) <= 64
    again = proposal_recall.selective_boxes(picture)
    assert torch.equal(boxes, again)
