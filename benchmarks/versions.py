"""Whether the oldest and the newest allowed libraries pass the tests.

    python benchmarks/versions.py            # both sets, about ten minutes each on two cores
    python benchmarks/versions.py --write    # README's support table, from the results file

The oldest set holds ``LIBRARIES`` at the lower bounds of pyproject.toml, the newest set the newest
releases that its ranges admit today. Each is installed beside the environment that runs this and
put in front of it on the path, with what it depends on itself; PyTorch stays the one that is
there. A set whose result is in the file with the same versions and tests is not run again.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from packaging.requirements import Requirement
from readme_block import with_block
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("transformers", "gradio", "datasets")
SETS = ("oldest", "newest")
BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"
#: What the three libraries carry: models, data, training, app, Hub and command line.
TESTS = (
    "tests/models",
    "tests/data",
    "tests/gallery",
    "tests/hub/test_models.py",
    "tests/test_app.py",
    "tests/test_browser.py",
    "tests/test_cli.py",
    "tests/test_detector_trainer.py",
    "tests/test_foreign_encoders.py",
    "tests/test_hub.py",
    "tests/test_retriever.py",
    "tests/test_trainer.py",
    "tests/test_averaging_trainer.py",
    "tests/test_resumption.py",
    "tests/training",
    "tests/ui",
)
#: Named in the results file beside the three, since these decide as well.
BESIDE = ("huggingface_hub", "torch", "torchvision", "timm", "tokenizers", "safetensors")


def main(arguments: Sequence[str]) -> None:
    """Run the sets and write the file, or write README's table."""
    parser = argparse.ArgumentParser(description="Tests under the oldest and newest libraries.")
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "versions.json")
    parser.add_argument("--write", action="store_true", help="write README's support table")
    options = parser.parse_args(arguments)
    readme = ROOT / "README.md"
    if options.write:
        found = json.loads(options.json.read_text(encoding="utf-8"))
        text = readme.read_text(encoding="utf-8")
        text = with_block(text, support_table(found), begin=BEGIN, end=END)
        readme.write_text(text, encoding="utf-8")
        return
    found = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else {}
    for name in tqdm(SETS, desc="sets"):
        with tempfile.TemporaryDirectory() as folder:
            overlay = Path(folder) / "site-packages"  # by this name dill tells libraries
            install(requirements(name), overlay)
            versions = overlay_versions(overlay)
            before = found.get(name, {})
            if before.get("versions") == versions and before.get("tests") == list(TESTS):
                continue
            outcome = run_tests(overlay, Path(folder) / "report.xml")
        found[name] = {"versions": versions, "tests": list(TESTS), **outcome}
        found["ranges"] = {each: str(requirement(each).specifier) for each in LIBRARIES}
        found["settings"] = {"machine": platform.machine(), "python": platform.python_version()}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(f"{name}: {outcome['passed']} passed, {outcome['failed']} failed")
    if any(found[name]["failed"] for name in SETS):
        raise SystemExit("A set failed: mend it or narrow the range in pyproject.toml.")


def requirement(library: str) -> Requirement:
    """Return the range that pyproject.toml allows a library."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["app"]]
    return next(each for each in map(Requirement, lines) if each.name == library)


def requirements(name: str) -> list[str]:
    """Return what pip is asked for: the lower bounds, or the ranges as they are."""
    ranges = [requirement(library) for library in LIBRARIES]
    if name == "newest":
        return [str(each) for each in ranges]
    lower = {each.name: spec.version for each in ranges for spec in each.specifier
             if spec.operator == ">="}  # fmt: skip
    return [f"{library}=={version}" for library, version in lower.items()]


def install(wanted: Sequence[str], overlay: Path) -> None:
    """Install requirements and what they depend on into a folder of their own."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(overlay)]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"pip could not install {', '.join(wanted)}:\n{done.stderr[-2000:]}")


def overlay_versions(overlay: Path) -> dict[str, str]:
    """Return the versions that a process with ``overlay`` in front of its path imports."""
    paths = [str(overlay), *sys.path]
    named = [name.replace("_", "-") for name in (*LIBRARIES, *BESIDE)]
    versions: dict[str, str] = {}
    for each in distributions(path=paths):
        versions.setdefault(each.name.lower().replace("_", "-"), each.version)
    return {name: versions[name] for name in named if name in versions}


def run_tests(overlay: Path, report: Path) -> dict[str, Any]:
    """Run ``TESTS`` with ``overlay`` in front of the path; return counts and names of failures."""
    path = os.pathsep.join([str(overlay), str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
         *TESTS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if not report.is_file():
        raise SystemExit("pytest ended without a report. Run it by hand to see why.")
    return outcome_of(report)


def outcome_of(report: Path) -> dict[str, Any]:
    """Count the cases of a JUnit report: passed, skipped, failed, and the names of the last."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None
              or case.find("error") is not None]  # fmt: skip
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - len(failed) - skipped,
        "skipped": skipped,
        "failed": len(failed),
        "failures": [f"{case.get('classname')}.{case.get('name')}" for case in failed],
    }


def support_table(found: dict[str, Any]) -> str:
    """Return README's table of what was tried and how it went."""
    lines = ["| Package | Allowed | Oldest tried | Newest tried |", "| --- | --- | --- | --- |"]
    for library in LIBRARIES:
        oldest, newest = (found[name]["versions"][library] for name in SETS)
        lines.append(f"| {library} | `{found['ranges'][library]}` | {oldest} | {newest} |")
    cells = []
    for name in SETS:
        counts = found[name]
        cells.append(f"{counts['passed']:,} passed, {counts['failed']} failed")
    lines.append(f"| the tests with these | | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
