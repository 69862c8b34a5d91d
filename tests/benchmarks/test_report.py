"""What all measurements share: turns, ratios, printed figures, tables in documents."""

import pytest

from benchmarks import report


def test_tasks_take_turns_and_the_first_one_is_not_counted():
    now, order = [0.0], []
    waits = {"a": iter((9.0, 1.0, 2.0)), "b": iter((9.0, 3.0, 4.0))}

    def task(name):
        order.append(name)
        now[0] += next(waits[name])

    tasks = {name: lambda name=name: task(name) for name in waits}
    spent = report.turn_about(tasks, 2, clock=lambda: now[0])
    assert order == ["a", "b"] * 3
    assert spent == {"a": [1, 2], "b": [3, 4]}
    assert report.median_ratio(spent["b"], spent["a"]) == 2.5  # of 3 / 1 and 4 / 2


def test_a_call_is_timed_and_its_result_kept():
    now = iter((2.0, 5.0))
    assert report.timed(lambda: "done", lambda: next(now)) == (3, "done")


def test_figures_are_printed_with_their_places_and_settings_are_not(tmp_path, capsys):
    found = {"speed": {"mr": 2.5, "kept": True}, "rows": [{"a": 1, "b": "x"}], "list": [1, 2]}
    file = tmp_path / "found.json"
    report.save(file, found | {"settings": report.settings(searches=3)})
    assert capsys.readouterr().out.splitlines() == [
        *("speed, mr: 2.5", "speed, kept: True", "rows: a: 1; b: x"),
        f"written to {file}",
    ]
    again = report.read(file)
    assert again["rows"] == found["rows"] and again["settings"]["searches"] == 3
    assert {"machine", "threads", "versions"} <= set(again["settings"])
    assert report.read(tmp_path / "none.json") is None


def test_a_script_has_the_flags_it_asks_for(capsys):
    parser = report.flags("What it does.\n\nAt length.", "a.json", models=report.MODELS, turns=3)
    given = parser.parse_args(["--turns", "5"])
    assert given.output == report.RESULTS / "a.json"
    assert (given.turns, given.models) == (5, report.MODELS)
    assert parser.description == "What it does."
    with pytest.raises(SystemExit):
        report.flags("").parse_args(["--output", "x"])


def test_a_block_is_put_between_its_own_markers():
    text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb <!-- y:begin --><!-- y:end -->"
    found = report.with_block(text, "x", "new")
    assert found == text.replace("old", "new")
    with pytest.raises(ValueError, match="once each"):
        report.with_block("<!-- x:end --> <!-- x:begin -->", "x", "new")
