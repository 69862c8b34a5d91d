"""The time that is left."""

import pytest

from rsctir_hf.time_left import TimeLeft, in_words


def estimates(seconds_a_batch, *, total):
    """Return after each batch of 8 what is estimated and what is true, in seconds."""
    moments, now = [0.0], 0.0
    for seconds in seconds_a_batch:
        now += seconds
        moments.append(now)
    clock = iter(moments)
    left = TimeLeft(clock=lambda: next(clock))
    found = [left.seconds(8 * done, total) for done in range(len(moments))]
    return list(zip(found, [now - moment for moment in moments], strict=True))


def test_a_slow_beginning_is_soon_forgotten():
    found = estimates([10.0] + [1.0] * 49, total=400)
    assert [said for said, _ in found[:2]] == [None, None]
    for said, true in found[13:]:
        assert said == pytest.approx(true, abs=1e-6)


def test_another_pace_is_told_within_some_reports():
    found = estimates([1.0] * 20 + [2.0] * 30, total=400)
    for said, true in found[32:]:
        assert said == pytest.approx(true, abs=1e-6)


def test_nothing_is_said_where_nothing_moves():
    left = TimeLeft(clock=iter(range(9)).__next__)
    assert [left.seconds(0, 100) for _ in range(5)] == [None] * 5


def test_the_time_is_said_as_loosely_as_it_is_known():
    said = [in_words(seconds) for seconds in (None, 3.2, 44.0, 200.0)]
    assert said == ["", ", some seconds left", ", about 40 s left", ", about 3 min left"]
