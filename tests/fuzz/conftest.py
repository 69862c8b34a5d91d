"""Hostile input by machine: whatever comes, it works or is refused in our own words.

hypothesis makes the same few inputs in every run. ``nox -s fuzz`` asks for many with
RSCTIR_FUZZ_EXAMPLES and writes how many each door took and refused to RSCTIR_FUZZ_REPORT.
"""

import json
import os
import resource
from pathlib import Path

import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, Phase, settings

from rsctir_hf.evaluation import library_versions
from tests.fuzz.oracle import MEGABYTES, SECONDS, TALLIES

EXAMPLES = int(os.environ.get("RSCTIR_FUZZ_EXAMPLES", "8"))
ROOM = 6 * 2**30  # bytes that a door may reserve; beyond that it gets a MemoryError

settings.register_profile(
    "fuzz",
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


@pytest.fixture(autouse=True)
def bounded(monkeypatch):
    """No network, and an end to the memory."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # odd names are not to be asked for
    older = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, older[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, older)


def pytest_sessionfinish(exitstatus):
    file = os.environ.get("RSCTIR_FUZZ_REPORT")
    if file:
        report = {
            "inputs": sum(row["inputs"] for row in TALLIES.values()),
            "limits": {"seconds": SECONDS, "megabytes": MEGABYTES},
            "doors": TALLIES,
            "failed": int(exitstatus) != 0,
            "versions": library_versions(),
        }
        Path(file).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
