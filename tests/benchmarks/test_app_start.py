"""The measurement of the app's first answer, on times that are known and on tiny models."""

import json

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

from benchmarks import app_start
from benchmarks.app_start import summary
from tests.ui.tiny_models import save_launch


def test_the_ratio_is_the_median_over_turns():
    found = summary([(10.0, 12.0), (5.0, 7.0), (10.0, 99.0)])
    assert (found["ratio"], found["kept"]) == (1.4, False)
    assert (found["import_seconds"], found["first_answer_seconds"]) == (10.0, 12.0)
    assert summary([(10.0, 13.0)])["kept"]


def test_imports_and_starts_take_turns_and_the_first_is_not_counted(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(app_start, "import_seconds", lambda: done.append("import") or len(done))
    monkeypatch.setattr(app_start, "answer_seconds", lambda _: done.append("app") or len(done))
    app_start.main(["--turns", "2", "--output", str(tmp_path / "t.json")])
    assert done == ["import", "app"] * 3
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["import_seconds_of_each_turn"] == [3, 5]


@pytest.mark.slow
def test_an_app_is_timed_until_its_first_answer_which_is_whole(tmp_path):
    flags = save_launch(tmp_path)
    assert 1 < app_start.answer_seconds(flags) < 120
