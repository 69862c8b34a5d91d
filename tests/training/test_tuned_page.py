"""The page of what tuning has changed: one file, all of it inside, and nothing unescaped."""

import re
from dataclasses import replace

import pytest
import torch

from rsctir_hf.training.before_after import BEFORE_TRAINING, Answers, Compared
from rsctir_hf.training.tuned_page import TunedPage, curve_plot
from tests.miniature import draw_picture
from tests.training.test_before_after import reported

METRICS = {"mR": 10.0, "t2i_R@1": 5.0, "t2i_R@10": 40.0}


def page_of(before, after, captions):
    rows = [{"image": draw_picture(n), "captions": [text]} for n, text in enumerate(captions)]
    both = []
    for score, ranks in ((10.0, before), (20.0, after)):
        report = reported(score, len(rows))
        report.metrics |= METRICS | {"mR": score}
        first = torch.tensor([n if rank == 1 else 0 for n, rank in enumerate(ranks)])
        both.append(Answers(report, torch.tensor(ranks), first))
    sets = [Compared("mine", "validation", False, BEFORE_TRAINING, rows, *both)]
    return TunedPage("my-model", "checkpoints/x", sets, [(1, 12.0), (2, 20.0)], 10.0, 2)


def test_the_page_shows_what_rose_and_fell_and_needs_no_other_file():
    html = page_of(
        [9, 1, 3], [1, 4, 3], ["<script>alert(1)</script> & a pier", "a lake", "x"]
    ).html()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; a pier" in html and "<script" not in html
    assert re.findall(r"place ([\d,]+) → <strong class=\"(\w+)\">([\d,]+)", html) == [
        ("9", "up", "1"), ("1", "down", "4")
    ]  # fmt: skip
    assert not re.findall(r"(?:src|href)=\"(?!data:image/jpeg;base64,)", html)
    assert html.count("<img ") == 6 and "http" not in html.split("</style>")[1]
    assert "10.0</td><td>20.0" in html and "Better than the base" in html
    assert "are the base's" not in html


def test_the_page_says_why_table_and_curve_differ():
    html = replace(page_of([9, 1], [1, 4], ["a", "b"]), base_share=0.25).html()
    assert "The table above is of the finished weights, of which 25 % are the base's." in html


def test_the_page_says_where_nothing_rose():
    html = page_of([1, 1], [1, 2], ["a pier", "a lake"]).html()
    assert "No query rose." in html and "No query fell." not in html


def test_the_curve_begins_at_the_base_and_keeps_to_its_frame():
    plot = curve_plot([(1, 20.0), (2, 30.0)], 10.0)
    left, top, right, bottom = plot["frame"]
    # from 10 to 30 with 2 of room: 8 at the bottom, 32 at the top, so 20 lies in the middle
    assert [dot[0] for dot in plot["dots"]] == [left, (left + right) / 2, right]
    assert plot["dots"][1][1] == pytest.approx((top + bottom) / 2)
    assert (
        plot["base"]
        == plot["dots"][0][1]
        == pytest.approx(bottom - (bottom - top) * 2 / 24, abs=0.1)
    )
    assert [score for _, score in plot["y_ticks"]] == [10, 15, 20, 25, 30]


@pytest.mark.parametrize("curve", [[], [(0.5, 10.0)], [(n, 10.0 + n) for n in range(1, 80)]])
def test_any_curve_can_be_drawn(curve):
    plot = curve_plot(curve, 10.0)
    assert len(plot["dots"]) == len(curve) + 1 and 2 <= len(plot["y_ticks"]) <= 8
