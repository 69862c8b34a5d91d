"""AP50 against cases worked out by hand."""

import numpy as np
import pytest

from rsctir_hf.detection.average_precision import Found, area_under, average_precisions, right_ones

HERE = [0, 0, 10, 10]
THERE = [20, 20, 30, 30]
NOWHERE = [50, 50, 60, 60]


def found(*entries):
    """(box, label, score) or (box, label) each."""
    boxes = np.array([entry[0] for entry in entries], np.float32).reshape(-1, 4)
    labels = np.array([entry[1] for entry in entries], np.int64)
    scored = all(len(entry) == 3 for entry in entries)
    scores = np.array([entry[2] for entry in entries], np.float32) if scored else None
    return Found(boxes, labels, scores)


def score(detections, truth, classes=("a", "b")):
    return average_precisions(detections, truth, classes=classes)


def test_all_found_and_nothing_else_is_a_hundred():
    truth = [found((HERE, 0), (THERE, 1))]
    detections = [found((HERE, 0, 0.9), (THERE, 1, 0.2))]
    assert score(detections, truth) == {"mAP50": 100.0, "AP50_a": 100.0, "AP50_b": 100.0}


def test_one_of_two_found_behind_a_false_alarm():
    # Sorted: wrong, right. Precision at the only hit is 1/2, which lifts recall by 1/2: AP 1/4.
    truth = [found((HERE, 0), (THERE, 0))]
    detections = [found((NOWHERE, 0, 0.9), (HERE, 0, 0.8))]
    assert score(detections, truth) == {"mAP50": 25.0, "AP50_a": 25.0}


def test_precision_is_made_to_fall_only():
    # right, wrong, right, right of 3: precision 1, 1/2, 2/3, 3/4; made to fall 1, 3/4, 3/4, 3/4.
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    right = np.array([True, False, True, True])
    assert area_under(scores, right, 3) == pytest.approx((1 + 0.75 + 0.75) / 3)


def test_the_second_detection_of_a_box_is_wrong():
    truth = np.array([HERE], np.float32)
    twice = np.array([HERE, [0, 0, 10, 9]], np.float32)
    assert right_ones(twice, truth).tolist() == [True, False]


def test_half_an_overlap_is_enough_and_less_is_not():
    truth = np.array([HERE], np.float32)
    assert right_ones(np.array([[0, 0, 10, 5]], np.float32), truth).tolist() == [True]
    assert right_ones(np.array([[0, 0, 10, 4.9]], np.float32), truth).tolist() == [False]


def test_boxes_of_another_picture_or_class_do_not_count():
    truth = [found((HERE, 0)), found((THERE, 0))]
    detections = [found((THERE, 0, 0.9)), found((THERE, 1, 0.8))]
    assert score(detections, truth)["mAP50"] == 0


def test_scores_are_ranked_over_all_pictures():
    # The false alarm of picture 2 is the strongest: precision at the hit of picture 1 is 1/2.
    truth = [found((HERE, 0)), found()]
    detections = [found((HERE, 0, 0.5)), found((THERE, 0, 0.9))]
    assert score(detections, truth)["mAP50"] == 50


def test_nothing_found_is_zero_and_nothing_true_is_refused():
    assert score([found()], [found((HERE, 0))]) == {"mAP50": 0.0, "AP50_a": 0.0}
    with pytest.raises(ValueError, match="no true box"):
        score([found((HERE, 0, 0.5))], [found()])
    with pytest.raises(ValueError, match="1 pictures with detections, 2"):
        score([found()], [found(), found()])
