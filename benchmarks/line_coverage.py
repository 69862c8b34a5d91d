"""Which lines and branches the tests reach, in all and by package.

    OMP_NUM_THREADS=1 python benchmarks/line_coverage.py
    OMP_NUM_THREADS=1 python benchmarks/line_coverage.py --without tests/hub tests/test_browser.py

``[tool.coverage]`` in pyproject.toml says what counts: the package, ``training/`` and ``app.py``,
in this process and in those that the tests start (one that is killed leaves no trace, so the true
figure is a little higher). Takes as long as the tests and a third more; writes
``results/coverage.json``, which names what was left out, and ends with an error if a test failed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from versions import outcome_of

from rsctir_hf.evaluation import library_versions
from rsctir_hf.training.run_record import git_revision

ROOT = Path(__file__).resolve().parents[1]
COUNTED = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def main(arguments: Sequence[str]) -> None:
    """Run the tests, count, print and write."""
    parser = argparse.ArgumentParser(description="Lines and branches that the tests reach.")
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "coverage.json")
    parser.add_argument("--without", nargs="*", default=[], help="test files or folders left out")
    options = parser.parse_args(arguments)
    revision = git_revision()  # of the code that is tested, whatever the checkout is at the end
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run_tests(place, options.without)
        outcome = outcome_of(place / "report.xml")
        files = json.loads((place / "coverage.json").read_text(encoding="utf-8"))["files"]
    summaries = {name: each["summary"] for name, each in files.items()}
    found: dict[str, Any] = {
        "whole": shares(summaries),
        "packages": {name: shares(each) for name, each in by_package(summaries).items()},
        "files": {
            name: {key: share for key, share in shares({name: each}).items() if "percent" in key}
            for name, each in sorted(summaries.items())
        },
        "tests": outcome,
        "left_out": sorted(options.without),
        "git_revision": revision,
        "settings": {
            "machine": platform.machine(),
            "versions": library_versions()
            | {name: version(name) for name in ("coverage", "pytest")},
        },
    }
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, each in [*found["packages"].items(), ("whole", found["whole"])]:
        print(f"{name}: lines {each['lines_percent']} %, branches {each['branches_percent']} %")
    if outcome["failed"]:
        raise SystemExit("Tests failed: " + ", ".join(outcome["failures"]))


def run_tests(place: Path, without: Sequence[str]) -> None:
    """Run the tests under coverage; leave ``report.xml`` and ``coverage.json`` in ``place``."""
    ignored = [f"--ignore={each}" for each in without]
    environment = os.environ | {"COVERAGE_FILE": str(place / "data")}
    subprocess.run(
        [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider",
         f"--junitxml={place / 'report.xml'}", *ignored],
        cwd=ROOT,
        env=environment,
    )  # fmt: skip
    if not (place / "report.xml").is_file():
        raise SystemExit("pytest ended without a report. Run it by hand to see why.")
    for step in (["combine", "--quiet"], ["json", "--quiet", "-o", str(place / "coverage.json")]):
        command = [sys.executable, "-m", "coverage", *step]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)


def by_package(files: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort files into the folders they lie in; the package's own modules are ``rsctir_hf``."""
    packages: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, summary in files.items():
        folder = Path(name).parent
        packages[Path(name).name if folder == Path() else folder.as_posix()][name] = summary
    return dict(sorted(packages.items()))


def shares(files: Mapping[str, Mapping[str, int]]) -> dict[str, float | int | None]:
    """Add up counts; the share of branches is None where there are none."""
    lines, lines_run, branches, branches_run = (
        sum(each[key] for each in files.values()) for key in COUNTED
    )
    return {
        "lines": lines,
        "lines_percent": round(100 * lines_run / lines, 1) if lines else None,
        "branches": branches,
        "branches_percent": round(100 * branches_run / branches, 1) if branches else None,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
