"""The detector: what it gives out, its labels, and that transformers' own door loads it whole."""

import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForObjectDetection,
    RTDetrImageProcessor,
    set_seed,
)

from rsctir_hf.models.overhead import OverheadDetector, OverheadDetectorConfig
from rsctir_hf.models.overhead.modeling_overhead import pad_to_multiple, picture_sizes, to_pixels

TINY = {"backbone": "test_efficientnet", "pyramid_channels": 32, "head_convs": 1}
NAMES = {0: "aircraft", 1: "oil tank", 2: "overpass"}


@pytest.fixture(scope="module")
def model():
    set_seed(0)
    config = OverheadDetectorConfig(**TINY, min_score=0.001, max_detections=7, id2label=NAMES)
    detector = OverheadDetector(config).eval()
    # Heads begin with all scores nearly equal; these tell pictures and places apart.
    for layer in ("classification_head.cls_logits", "regression_head.bbox_reg"):
        torch.nn.init.normal_(detector.detector.head.get_submodule(layer).weight, std=0.1)
    return detector


@pytest.fixture(scope="module")
def processor():
    return RTDetrImageProcessor(
        size={"max_height": 64, "max_width": 64},
        do_normalize=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_pad=True,
    )


def test_boxes_and_logits_have_a_place_for_each_detection(model):
    with torch.no_grad():
        found = model(torch.randn(2, 3, 50, 70))
    assert found.logits.shape == (2, 7, 3) and found.pred_boxes.shape == (2, 7, 4)
    used = found.logits > torch.finfo(torch.float32).min
    assert (used.sum(dim=2) <= 1).all(), "a box has one class"
    assert used.any()
    corners = found.pred_boxes[..., :2] - found.pred_boxes[..., 2:] / 2
    assert (corners > -1e-5).all() and found.loss is None
    assert torch.isfinite(found.pred_boxes).all()


def test_a_picture_is_seen_alike_alone_and_padded_beside_another(model):
    torch.manual_seed(0)
    small = torch.randn(1, 3, 32, 64)
    padded = torch.zeros(2, 3, 64, 64)
    padded[0, :, :32] = small[0]
    mask = torch.ones(2, 64, 64, dtype=torch.int64)
    mask[0, 32:] = 0
    with torch.no_grad():
        beside = model(padded, pixel_mask=mask)
        alone = model(torch.nn.functional.pad(small, (0, 0, 0, 32)), pixel_mask=mask[:1])
    assert picture_sizes(padded, mask) == [(32, 64), (64, 64)]
    assert beside.pred_boxes[0].allclose(alone.pred_boxes[0], atol=1e-4)
    lower_edge = beside.pred_boxes[0, :, 1] + beside.pred_boxes[0, :, 3] / 2
    assert (lower_edge <= 1 + 1e-5).all(), "no box reaches into the padding"


def test_the_loss_falls_on_one_batch_and_takes_pictures_without_objects(model):
    set_seed(0)
    learner = OverheadDetector(model.config).train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    pixels = torch.randn(2, 3, 64, 64)
    labels = [
        {"boxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]]), "class_labels": torch.tensor([1])},
        {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.int64)},
    ]
    losses = []
    for _ in range(12):
        found = learner(pixels, labels=labels)
        found.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(found.loss.item())
    assert found.logits is None, "nothing is suppressed while training"
    assert losses[-1] < 0.8 * losses[0]


def test_labels_are_fractions_of_the_picture():
    label = {"boxes": torch.tensor([[0.5, 0.25, 0.5, 0.5]]), "class_labels": torch.tensor([2])}
    assert to_pixels(label, (20, 40))["boxes"].tolist() == [[10, 0, 30, 10]]
    assert pad_to_multiple(torch.ones(1, 3, 33, 64), 32).shape == (1, 3, 64, 64)


def test_the_door_of_transformers_loads_it_with_the_same_boxes(model, processor, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoModelForObjectDetection.from_pretrained(tmp_path, local_files_only=True).eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path, local_files_only=True)
    pictures = [Image.new("RGB", (50, 30), "red"), Image.new("RGB", (200, 100), "green")]
    inputs = processor(images=pictures, return_tensors="pt")
    with torch.no_grad():
        found, expected = loaded(**inputs), model(**inputs)
    assert (found.logits > torch.finfo(torch.float32).min).any(dim=2).any(dim=1).all()
    weights = model.state_dict()
    assert all(value.equal(weights[name]) for name, value in loaded.state_dict().items())
    assert found.logits.allclose(expected.logits, atol=1e-4)
    assert found.pred_boxes.allclose(expected.pred_boxes, atol=1e-5)
    assert loaded.config.id2label == NAMES
    results = processor.post_process_object_detection(
        found, threshold=0.0, target_sizes=[(30, 50), (100, 200)]
    )
    for result, (width, height) in zip(results, [(50, 30), (200, 100)], strict=True):
        assert len(result["scores"]) == len(result["boxes"]) <= 7
        edges = torch.tensor([width, height, width, height])
        assert (result["boxes"] >= -1e-3).all() and (result["boxes"] <= edges + 1e-3).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pyramid_channels": 40}, "40"),
        ({"backbone_blocks": [3, 2]}, "finest first"),
        ({"min_score": 0}, "min_score is 0"),
    ],
)
def test_impossible_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OverheadDetectorConfig(**options)
