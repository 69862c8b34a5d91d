"""The simulated user of ``benchmarks/feedback.py``, and its figures in the documents."""

import pytest
import torch

pytest.importorskip("sklearn")

from feedback import PER_ROUND, ROUNDS, Sought, curve, residual_r_precision, ridge, rocchio
from report import RESULTS, ROOT, read


def test_marked_pictures_leave_ranking_and_truth():
    ranked = torch.tensor([3, 0, 4, 1, 2])
    right = torch.tensor([True, True, False, True, False])
    seen = torch.zeros(5, dtype=torch.bool)
    assert residual_r_precision(ranked, right, seen) == pytest.approx(200 / 3)  # 3, 0, not 4
    seen[3] = True
    assert residual_r_precision(ranked, right, seen) == 50  # of 0, 4 one; two are left
    seen[[0, 1]] = True
    assert residual_r_precision(ranked, right, seen) == 100  # nothing is left to find


@pytest.mark.parametrize("rule", [ridge, rocchio])
def test_a_curve_has_a_score_for_each_round_and_rises_where_words_mislead(rule):
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(200, 16, generator=draw)
    right = torch.arange(200) < 60
    vectors[right, 0] += 4
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    words = torch.eye(16)[1]
    found = curve(rule, vectors, Sought("class", "x", right, words), 0, words=True)
    assert len(found) == ROUNDS + 1
    assert PER_ROUND == 5 and found[2] > found[0] + 15


def test_the_table_of_the_page_is_that_of_the_results_file():
    page = (ROOT / "docs/tasks/mark_and_search_again.md").read_text(encoding="utf-8")
    models = read(RESULTS / "feedback.json")["models"]
    for model, found in models.items():
        for title, low in (
            ("labels of UCM", found["ucm"]["ridge"]["label"]["words"]),
            ("classes of DIOR's chips", found["dior"]["ridge"]["class"]["words"]),
        ):
            mean = low["mean_of_low"]
            shown = " | ".join(f"{mean[turn]:.1f}" for turn in (0, 1, 2, 5))
            assert f"| {title} | {model} | {len(low['low'])} | {shown} |" in page
