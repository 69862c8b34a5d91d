"""Which changes to the arithmetic the tests notice: mutation testing by mutmut.

    python benchmarks/mutation.py

``[tool.mutmut]`` in pyproject.toml names the modules and their tests. mutmut changes one operator,
number, argument or word at a time and runs the tests that reach it; a mutant is killed if one of
them fails or runs out of time. Works in a copy of the tracked files, so nothing here is touched.
Takes about five minutes on two cores; writes ``results/mutation.json``, survivors included, and
ends with an error where a module is below ``GOAL``.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rsctir_hf.evaluation import library_versions

ROOT = Path(__file__).resolve().parents[1]
GOAL = 85.0  # percent of each module's mutants
SURVIVED, NO_TEST = 0, 33  # mutmut's exit codes of mutants that no test fails for


def main(arguments: Sequence[str]) -> None:
    """Run mutmut, count, print and write."""
    parser = argparse.ArgumentParser(description="Mutation testing of the arithmetic.")
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "mutation.json")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_tracked_files(Path(folder) / "copy")
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(options.processes)]
        done = subprocess.run(command, cwd=copy)
        if done.returncode:
            raise SystemExit("mutmut failed: the tests must pass before anything is changed.")
        modules = {
            module: counts(exit_codes(copy / "mutants" / f"{module}.meta"))
            for module in modules_of()
        }
    found = {
        "goal_percent": GOAL,
        "modules": modules,
        "settings": {
            "machine": platform.machine(),
            "versions": library_versions() | {"mutmut": version("mutmut")},
        },
    }
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for module, each in modules.items():
        print(f"{module}: {each['killed']} of {each['mutants']} killed, {each['percent']} %")
    weak = [module for module, each in modules.items() if each["percent"] < GOAL]
    if weak:
        raise SystemExit(f"Below {GOAL} %: {', '.join(weak)}. The survivors are in {options.json}.")


def modules_of() -> list[str]:
    """Return the modules that pyproject.toml names, as paths from the root."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["tool"]["mutmut"]["only_mutate"]


def copy_of_tracked_files(target: Path) -> Path:
    """Copy what git knows, as it lies in the working tree, without the weights."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file() and source.suffix != ".safetensors":
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
    return target


def exit_codes(meta: Path) -> dict[str, int]:
    """Return the exit code of the tests for each mutant of a module."""
    return json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]


def counts(codes: Mapping[str, int]) -> dict[str, Any]:
    """Count killed mutants and name the others; one that no test reaches has survived."""
    survivors = sorted(name for name, code in codes.items() if code in (SURVIVED, NO_TEST))
    killed = len(codes) - len(survivors)
    return {
        "mutants": len(codes),
        "killed": killed,
        "percent": round(100 * killed / len(codes), 1),
        "survivors": survivors,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
