"""Checks of the tests themselves; each session writes its file in ``results/``.

    nox -s coverage     # lines and branches that the tests reach
    nox -s mutation     # changes to the arithmetic that they notice, five minutes
    nox -s fuzz         # hostile input in thousands instead of a few
    nox -s versions     # the oldest and the newest allowed libraries

What counts is said by ``[tool.coverage]`` and ``[tool.mutmut]`` in pyproject.toml. The first three
run in the environment that is active, ``versions`` makes one for each set. What follows ``--`` goes
to pytest: ``nox -s coverage -- --ignore=tests/test_browser.py``.
"""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
LIBRARIES = ("transformers", "gradio", "datasets")  # whose ranges ``versions`` tries
#: Named in the results files.
NAMED = [*LIBRARIES, "huggingface_hub", "torch", "torchvision", "timm", "tokenizers", "safetensors"]
NAMED += ["numpy", "coverage", "mutmut", "hypothesis", "pytest"]
EXAMPLES = 250  # hostile inputs of a door, or a multiple
GOAL = 85.0  # percent of each module's mutants
SURVIVED, NO_TEST = 0, 33  # mutmut's exit codes of mutants that no test fails for


@nox.session(venv_backend="none")
def coverage(session: nox.Session) -> None:
    """Run the tests under coverage, also in the processes they start; ``results/coverage.json``.

    A process that is killed leaves no trace, so the true figure is a little higher.
    """
    folder = session.cache_dir
    data = {"COVERAGE_FILE": str(folder / "data")}
    outcome = run_tests(session, "coverage", "run", "-m", "pytest", env=data)
    session.run("coverage", "combine", "--quiet", env=data)
    session.run("coverage", "json", "--quiet", "-o", str(folder / "coverage.json"), env=data)
    measured = json.loads((folder / "coverage.json").read_text(encoding="utf-8"))
    files = {name: shares(each["summary"]) for name, each in sorted(measured["files"].items())}
    found = {"whole": shares(measured["totals"]), "files": files, "tests": outcome}
    write(session, "coverage", found)
    if outcome["failed"]:
        session.error("Tests failed.")


@nox.session(venv_backend="none")
def mutation(session: nox.Session) -> None:
    """Change one operator, number, argument or word at a time; ``results/mutation.json``."""
    session.run("python", "-m", "mutmut", "run", "--max-children", "2")
    modules = {}
    for module in PROJECT["tool"]["mutmut"]["only_mutate"]:
        meta = json.loads(Path("mutants", f"{module}.meta").read_text(encoding="utf-8"))
        modules[module] = counts(meta["exit_code_by_key"])
    write(session, "mutation", {"goal_percent": GOAL, "modules": modules})
    if any(each["percent"] < GOAL for each in modules.values()):
        session.error(f"A module is below {GOAL} %.")


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Push thousands of hostile inputs through every door; ``results/fuzz.json``."""
    report = {"RSCTIR_FUZZ_EXAMPLES": str(EXAMPLES), "RSCTIR_FUZZ_REPORT": "results/fuzz.json"}
    session.run("pytest", "-q", "tests/fuzz", *session.posargs, env=report)


@nox.session
@nox.parametrize("libraries", ["oldest", "newest"])
def versions(session: nox.Session, libraries: str) -> None:
    """Run the tests with the lower bounds or the newest of ``LIBRARIES``; results/versions.json."""
    project = PROJECT["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["app"]]
    ranges = dict(line.split(">=") for line in lines if line.partition(">=")[0] in LIBRARIES)
    lowest = [f"{name}=={allowed.split(',')[0]}" for name, allowed in ranges.items()]
    session.install("-e", ".[app,train,test]", *(lowest if libraries == "oldest" else []))
    env = {"RSCTIR_TRANSFORMERS_TESTS": None}  # are of the version installed outside
    outcome = {"versions": installed(session), **run_tests(session, "pytest", env=env)}
    file = Path("results", "versions.json")
    found = json.loads(file.read_text(encoding="utf-8")) | {libraries: outcome}
    found["ranges"] = {name: f">={allowed}" for name, allowed in ranges.items()}
    write(session, "versions", found)
    if outcome["failed"]:
        session.error("Tests failed: mend it or narrow the range in pyproject.toml.")


def run_tests(session: nox.Session, *command: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run pytest by ``command``; return how many passed, and the names of those that failed."""
    report = session.cache_dir / "report.xml"
    flags = ("-q", "-m", "", "-p", "no:cacheprovider", f"--junitxml={report}")
    session.run(*command, *flags, *session.posargs, success_codes=[0, 1], **options)
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case for case in cases if {"failure", "error"} & {each.tag for each in case}]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - len(failed) - skipped,
        "skipped": skipped,
        "failed": len(failed),
        "failures": [f"{case.get('classname')}.{case.get('name')}" for case in failed],
    }


def shares(summary: dict[str, Any]) -> dict[str, Any]:
    """Return lines and branches of a summary by coverage; no percent of none."""
    lines, branches = summary["num_statements"], summary["num_branches"]
    return {
        "lines": lines,
        "lines_percent": round(100 * summary["covered_lines"] / lines, 1) if lines else None,
        "branches": branches,
        "branches_percent": (
            round(100 * summary["covered_branches"] / branches, 1) if branches else None
        ),
    }


def counts(codes: dict[str, int]) -> dict[str, Any]:
    """Count killed mutants and name the others; one that no test reaches has survived."""
    survivors = sorted(name for name, code in codes.items() if code in (SURVIVED, NO_TEST))
    killed = len(codes) - len(survivors)
    return {
        "mutants": len(codes),
        "killed": killed,
        "percent": round(100 * killed / len(codes), 1),
        "survivors": survivors,
    }


def installed(session: nox.Session) -> dict[str, str]:
    """Return the versions of ``NAMED`` in the session's environment."""
    listed = session.run("python", "-m", "pip", "list", "--format=json", silent=True)
    found = {
        re.sub("-", "_", each["name"].lower()): each["version"] for each in json.loads(str(listed))
    }
    return {name: found[name] for name in NAMED if name in found}


def write(session: nox.Session, name: str, found: dict[str, Any]) -> None:
    """Write a results file, with the revision of the code and what it ran on."""
    revision = session.run("git", "rev-parse", "HEAD", silent=True, external=True)
    found["git_revision"] = str(revision).strip()
    found["settings"] = {"machine": platform.machine(), "python": platform.python_version()}
    if name != "versions":
        found["settings"]["versions"] = installed(session)
    text = json.dumps(found, indent=2) + os.linesep
    Path("results", f"{name}.json").write_text(text, encoding="utf-8")
