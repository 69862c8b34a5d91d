"""Fixtures of the app's tests: a launch on tiny models, once per session."""

import time
from pathlib import Path

import pytest

from rsctir_hf.ui.server.settings import parse_settings
from rsctir_hf.ui.server.workbench import Workbench
from tests.ui.tiny_models import save_launch


@pytest.fixture(scope="session", autouse=True)
def uploads_everywhere(tmp_path_factory):
    """Let files that tests write count as uploads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.getbasetemp()))
        yield


@pytest.fixture(scope="session")
def launch_flags(tmp_path_factory):
    return save_launch(tmp_path_factory.mktemp("launch"))


@pytest.fixture(scope="session")
def settings(launch_flags):
    return parse_settings(launch_flags, {}, root=Path())


@pytest.fixture(scope="session")
def bench(settings):
    ready = Workbench(settings)
    ready.retriever()
    wait_until_over(ready)
    return ready


def wait_until_over(bench, seconds=120):
    deadline = time.monotonic() + seconds
    while not bench.status.over and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bench.status.over
