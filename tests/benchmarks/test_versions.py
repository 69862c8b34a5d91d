"""The parts of the test of old and new libraries that need no installation, and README's table."""

import json
import tomllib

import pytest
import versions
from readme_block import with_block
from versions import BEGIN, END, LIBRARIES, ROOT, outcome_of, requirements, support_table

FOUND = json.loads((ROOT / "results" / "versions.json").read_text())


def test_readme_shows_what_was_tried():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_block(readme, support_table(FOUND), begin=BEGIN, end=END) == readme


def test_the_file_is_about_the_ranges_that_are_allowed_now():
    for library in LIBRARIES:
        allowed = versions.requirement(library).specifier
        assert FOUND["ranges"][library] == str(allowed)
        assert all(allowed.contains(FOUND[name]["versions"][library]) for name in versions.SETS)
    for name in versions.SETS:
        assert FOUND[name]["failures"] == []
        assert FOUND[name]["tests"] == list(versions.TESTS)


def test_the_oldest_set_is_the_lower_bounds_and_the_newest_the_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["app"]]
    for oldest, newest in zip(requirements("oldest"), requirements("newest"), strict=True):
        name, _, lower = oldest.partition("==")
        assert any(line.startswith(f"{name}>={lower},") for line in lines)
        assert newest.startswith(name) and "==" not in newest


def test_a_report_is_counted_and_its_failures_named(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="good"/>'
        '<testcase classname="a" name="bad"><failure/></testcase>'
        '<testcase classname="a" name="broken"><error/></testcase>'
        '<testcase classname="a" name="left"><skipped/></testcase></testsuite></testsuites>'
    )
    assert outcome_of(report) == {
        "passed": 1, "skipped": 1, "failed": 2, "failures": ["a.bad", "a.broken"]
    }  # fmt: skip


def test_a_library_that_cannot_be_installed_is_said(tmp_path):
    with pytest.raises(SystemExit, match=r"pip could not install .*no-such-library-at-all==0"):
        versions.install(["--no-index", "no-such-library-at-all==0"], tmp_path)
