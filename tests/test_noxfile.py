"""What the sessions of nox write, and that documents say what their files hold."""

import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT

noxfile = pytest.importorskip("noxfile", reason="nox is absent: it comes with the extra 'dev'")


def read(name):
    return json.loads((ROOT / "results" / f"{name}.json").read_text())


def test_shares_are_of_all_lines_and_there_is_none_of_no_branches():
    summary = {"num_statements": 100, "covered_lines": 90}
    found = noxfile.shares(summary | {"num_branches": 10, "covered_branches": 5})
    assert (found["lines_percent"], found["branches_percent"]) == (90.0, 50.0)
    found = noxfile.shares(summary | {"num_branches": 0, "covered_branches": 0})
    assert found["branches_percent"] is None


def test_a_mutant_that_no_test_reaches_has_survived():
    codes = {"a": 1, "b": noxfile.SURVIVED, "c": noxfile.NO_TEST, "d": 36}  # 36: out of time
    found = noxfile.counts(codes)
    assert found == {"mutants": 4, "killed": 2, "percent": 50.0, "survivors": ["b", "c"]}


def test_contributors_are_told_what_was_covered():
    whole = read("coverage")["whole"]
    said = f"{whole['lines_percent']} % of lines and {whole['branches_percent']} % of branches"
    assert said in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_module_was_mutated_and_reaches_the_goal():
    modules = read("mutation")["modules"]
    assert set(modules) == set(noxfile.PROJECT["tool"]["mutmut"]["only_mutate"])
    for row in modules.values():
        assert row["killed"] + len(row["survivors"]) == row["mutants"] > 0
        assert row["percent"] >= noxfile.GOAL


def test_the_versions_are_of_the_ranges_that_are_allowed_now():
    project, found = noxfile.PROJECT["project"], read("versions")
    lines = [*project["dependencies"], *project["optional-dependencies"]["app"]]
    allowed = {each.name: each.specifier for each in map(Requirement, lines)}
    for library in noxfile.LIBRARIES:
        assert SpecifierSet(found["ranges"][library]) == allowed[library]
        for name in ("oldest", "newest"):
            assert allowed[library].contains(found[name]["versions"][library])
            assert found[name]["failures"] == []


def test_what_is_mutated_and_what_notices_it_are_files():
    settings = noxfile.PROJECT["tool"]["mutmut"]
    paths = settings["only_mutate"] + settings["pytest_add_cli_args_test_selection"]
    assert not [path for path in paths if not Path(path).is_file()]
