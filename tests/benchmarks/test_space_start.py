"""The measurement of start and memory, on tiny models."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

from benchmarks import space_start
from tests.ui.tiny_models import save_launch

pytestmark = pytest.mark.slow

HOLD = "import sys; held = bytearray(60_000_000); print('held', flush=True); sys.stdin.read()"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', {HOLD!r}], stdin=0, stdout=1)
child.wait()
"""


@pytest.mark.slow
def test_memory_counts_the_children_of_a_process_too():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"held\n"
        family = space_start.family_of(parent.pid)
        held = [space_start.resident_bytes(process) for process in family]
        parent.stdin.close()
    assert family[0] == parent.pid and len(family) == 2
    assert held[0] < 60e6 < held[1] < 120e6
    assert space_start.resident_bytes(parent.pid) == 0  # gone by now
    assert space_start.family_of(os.getpid())[0] == os.getpid()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_started_app_is_timed_searched_and_weighed(tmp_path):
    flags = save_launch(tmp_path)
    out = tmp_path / "found.json"
    space_start.main(["--searches", "4", "--output", str(out), "--", *flags])
    found = json.loads(out.read_text())
    seconds, memory = found["seconds_after_start"], found["memory_gb"]
    assert 0 < seconds["page"] <= seconds["first_result"] <= seconds["gallery_indexed"]
    assert 0.1 < memory["start"] <= max(memory.values()) < 5
    assert 0 < found["search_seconds"] < seconds["gallery_indexed"]
    within = seconds["first_result"] <= 20 and max(memory.values()) <= 2.5
    assert found["kept"] == within
