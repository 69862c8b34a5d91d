"""How lines and branches are counted."""

import json

from line_coverage import ROOT, by_package, shares


def summary(lines, run, branches=0, branches_run=0):
    return {
        "num_statements": lines,
        "covered_lines": run,
        "num_branches": branches,
        "covered_branches": branches_run,
    }


def test_files_are_sorted_by_folder_and_those_at_the_top_by_name():
    files = {name: summary(1, 1) for name in ("rsctir_hf/ui/a.py", "rsctir_hf/b.py", "app.py")}
    packages = by_package(files)
    assert list(packages) == ["app.py", "rsctir_hf", "rsctir_hf/ui"]
    assert list(packages["rsctir_hf/ui"]) == ["rsctir_hf/ui/a.py"]


def test_shares_are_of_all_lines_and_not_a_mean_of_files():
    files = {"a": summary(90, 90, 10, 5), "b": summary(10, 0)}
    assert shares(files) == {
        "lines": 100,
        "lines_percent": 90.0,
        "branches": 10,
        "branches_percent": 50.0,
    }
    assert shares({"a": summary(4, 1)})["branches_percent"] is None


def test_contributors_are_told_what_was_measured():
    whole = json.loads((ROOT / "results" / "coverage.json").read_text())["whole"]
    said = f"{whole['lines_percent']} % of lines and {whole['branches_percent']} % of branches"
    assert said in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
