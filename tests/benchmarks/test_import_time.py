"""The measurement of import time, on statements whose cost is known."""

import json

import pytest

from benchmarks import import_time
from benchmarks.import_time import Seconds, summary


@pytest.mark.slow
def test_a_statement_is_timed_in_a_process_of_its_own():
    found = import_time.import_seconds(
        "import sys; assert 'torch' not in sys.modules; time.sleep(0.2)"
    )
    assert found.wall >= 0.2
    assert found.processor < found.wall


def test_the_cost_is_the_median_over_pairs():
    pairs = [(Seconds(1.0, 0.9), Seconds(ours, 1.0)) for ours in (1.1, 1.2, 9.0)]
    found = summary(pairs)
    assert found["over_seconds"] == pytest.approx(0.2)
    assert found["over_processor_seconds"] == pytest.approx(0.1)
    assert found["ratio"] == pytest.approx(1.2)
    assert found["kept"]
    assert not summary([(Seconds(1.0, 0.9), Seconds(1.31, 1.0))])["kept"]


def test_the_first_pair_is_not_counted_and_the_rest_take_turns(tmp_path, monkeypatch):
    asked = []

    def take(statement):
        asked.append(statement)
        return Seconds(99.0 if len(asked) < 3 else len(asked), 1.0)

    monkeypatch.setattr(import_time, "import_seconds", take)
    import_time.main(["--turns", "2", "--output", str(tmp_path / "t.json")])
    assert asked == [import_time.BASE, import_time.OURS] * 3
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["over_seconds_of_each_pair"] == [1, 1] and not found["kept"]
