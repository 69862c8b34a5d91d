"""Multi-label mean average precision against counts by hand and a slow oracle."""

import pytest
import torch

from rsctir_hf.labels.label_scores import (
    PAIRS,
    SINGLE,
    asking_pairs,
    average_precision,
    picture_precision,
    score_labels,
)


def slow_average_precision(scores, right):
    """Sum precision times the gain in recall over thresholds, ties under one threshold."""
    total = 0.0
    for score in sorted(set(scores), reverse=True):
        above = [hit for each, hit in zip(scores, right, strict=True) if each >= score]
        here = [hit for each, hit in zip(scores, right, strict=True) if each == score]
        total += sum(here) / sum(right) * sum(above) / len(above)
    return 100 * total


def test_average_precision_by_hand():
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
    right = torch.tensor([[True, False, True, False]] * 3)
    # (1/1 + 2/3) / 2, (1/2 + 2/4) / 2, and all tied: 2/4
    assert average_precision(scores, right).tolist() == pytest.approx([100 * 5 / 6, 50, 50])


def test_average_precision_is_that_of_the_slow_oracle_with_ties():
    draw = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (40, 25), generator=draw).float()
    right = torch.rand(40, 25, generator=draw) < 0.3
    right[:, 0] = True
    expected = [
        slow_average_precision(*pair) for pair in zip(scores.tolist(), right.tolist(), strict=True)
    ]
    assert average_precision(scores, right).tolist() == pytest.approx(expected)
    assert average_precision(scores[:1], torch.zeros(1, 25, dtype=torch.bool)).isnan()


def test_labels_that_none_or_all_show_do_not_ask_and_rare_pairs_neither():
    shown = torch.zeros(6, 4, dtype=torch.bool)
    shown[:3, 0] = shown[:4, 1] = True  # 0 and 1 together: three
    shown[:, 2] = True
    assert asking_pairs(shown) == [(0, 1), (0, 2), (1, 2)]
    single = shown.T.float()
    single[1] = -single[1]  # the worst order: 4 of 6 behind 2
    pairs = torch.stack([single[0], single[0], -single[1]])
    found = score_labels(single, pairs, shown=shown, labels=("a", "b", "c", "d"))
    assert found.queries == {SINGLE: 2, PAIRS: 3}
    # Tied behind the two others: precision at the last place, 4/6.
    assert found.by_label == {"a": 100.0, "b": pytest.approx(66.67)}
    assert found.metrics[SINGLE] == pytest.approx((100 + 100 * 4 / 6) / 2)
    assert found.metrics[PAIRS] == pytest.approx(100)
    assert found.mean == pytest.approx((found.metrics[SINGLE] + 100) / 2)


def test_a_picture_asks_for_others_that_show_all_it_shows():
    shown = torch.tensor([[1, 1], [1, 1], [1, 0], [0, 0], [0, 1]]).bool()
    angles = torch.tensor([0.0, 0.31, 0.1, 0.22, 0.17], dtype=torch.float64)
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    # of 0: 2, 4, 3, 1, right is 1; of 1: 3, 4, 2, 0, right is 0; of 2: 4, 0, 3, 1, right are 0 and
    # 1; 3 shows nothing and does not ask; of 4: 3, 2, 1, 0, right are 1 and 0.
    expected = [25, 25, 50, 100 * (1 / 3 + 2 / 4) / 2]
    assert picture_precision(vectors, shown).tolist() == pytest.approx(expected)


def test_nothing_to_ask_has_a_mean_of_nothing():
    shown = torch.ones(4, 1, dtype=torch.bool)
    found = score_labels(torch.zeros(1, 4), torch.zeros(0, 4), shown=shown, labels=("a",))
    assert found.metrics == {} and found.mean == 0
