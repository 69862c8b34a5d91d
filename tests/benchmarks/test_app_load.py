"""The parts of the load measurement that need no running app."""

import io
import json
import re
import time

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

import app_load
from app_visitor import BusyError, RefusedError, Tally, Visitor, read_whole

from rsctir_hf.ui.views.cards import Card, card_grid


def test_every_request_is_counted_as_answered_busy_or_wrong():
    def busy():
        raise BusyError

    def wrong():
        raise RefusedError("boats instead of piers")

    tally = Tally()
    for ask in (lambda: None, busy, wrong, lambda: None):
        tally.timed("search", ask)
    assert (len(tally.seconds["search"]), tally.busy) == (2, 1)
    assert tally.errors == ["search: RefusedError: boats instead of piers"]


def test_visitors_do_everything_and_stop_in_time():
    seen = []
    requests = [
        (name, lambda visitor, name=name: seen.append((visitor.number, name))) for name in "ab"
    ]
    looks = app_load.visits(
        [Visitor(0, number) for number in range(3)],
        requests,
        Tally(),
        pause=0.01,
        seconds=0.3,
        look=lambda: 1.0,
    )
    assert set(seen) == {(number, name) for number in range(3) for name in "ab"}
    assert set(looks) == {1.0}


def test_an_answer_that_differs_is_an_error():
    app_load.must_be(["a"], ["a"], "results")
    with pytest.raises(RefusedError, match=re.escape("results: ['b'] instead of ['a']")):
        app_load.must_be(["b"], ["a"], "results")


def test_the_names_on_cards_are_read_in_order():
    cards = [
        Card(title="a pier", subtitle=f"{name}.png", picture="", score=0.5, rank=rank, moved=None)
        for rank, name in enumerate("ba", start=1)
    ]
    assert app_load.shown_files(card_grid(cards, label="Pictures")) == ["b.png", "a.png"]


def test_an_answer_without_an_end_is_given_up():
    class Heartbeats:
        def read1(self, size):
            return b"heartbeat"[:size]

    with pytest.raises(TimeoutError, match="so far: b'heartbeat'"):
        read_whole(Heartbeats(), time.monotonic())
    assert read_whole(io.BytesIO(b"whole"), time.monotonic() + 60) == b"whole"


def test_percentiles_are_of_each_kind_and_of_all():
    tally = Tally(seconds={"a": [1.0, 2.0, 3.0], "b": [10.0]})
    times = app_load.waiting_times(tally)
    assert times["a"] == {"count": 3, "p50_seconds": 2.0, "p95_seconds": 2.9}
    assert times["all"]["count"] == 4


def test_the_page_on_speed_says_what_was_measured():
    found = json.loads((app_load.ROOT / "results" / "app_load.json").read_text(encoding="utf-8"))
    assert not found["errors"]
    assert not found["busy"]
    every, echo = found["requests"]["all"], found["echo"]["echo"]
    page, goals = (
        " ".join((app_load.ROOT / name).read_text(encoding="utf-8").split())
        for name in ("docs/speed.md", "results/GOALS.md")
    )
    assert f"the app gave {every['count']:,} answers" in page
    assert (
        f"half within {every['p50_seconds']:.2f} s and 95 % within {every['p95_seconds']:.1f} s"
        in page
    )
    assert f"beside {echo['p50_seconds']} and {echo['p95_seconds']} s for a bare echo app" in page
    assert f"grew by {found['memory_growth_percent']:.1f} %" in page
    limit, growth = found["growth_limit_percent"], found["memory_growth_percent"]
    assert f"may grow by {limit:.0f} %; it grew by {growth:.1f} %" in goals
