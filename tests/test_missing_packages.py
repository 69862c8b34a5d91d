"""Scripts end with one line where a package, a folder or room on the disk is missing."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.full_disk import full_disk
from tests.miniature import write_karpathy
from tests.tiny_recipes import TINY, TINY_CONFIG, flags_of

pytestmark = pytest.mark.slow

WITHOUT = """
import runpy, sys
package, *sys.argv = sys.argv[1:]
sys.modules[package] = None
# transformers imports peft where it is installed, and peft cannot do without accelerate.
sys.modules |= {"peft": None} if package == "accelerate" else {}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# A child whose disk is full could not keep what it covered either.
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
ENVIRON |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def error_of(command):
    """Run a command that must fail; return the one line that says why."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=ENVIRON, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (said,) = re.findall("error: .+", done.stderr)  # it may stand behind a progress bar
    return said


@pytest.mark.parametrize(
    ("package", "script", "extra"),
    [
        ("gradio", "app.py", "app"),
        ("plotly", "app.py", "app"),
        ("torch_geometric", "app.py", "app"),
        ("accelerate", "training/run.py", "train"),
        ("accelerate", "training/detector.py", "train"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    package, script, extra, tmp_path
):
    flags = [] if script == "app.py" else ["--output_dir", str(tmp_path)]
    said = error_of(["-c", WITHOUT, package, script, *flags])
    assert package in said
    assert f"pip install 'rsctir_hf[{extra}]'" in said


def training(tmp_path, output):
    data = write_karpathy(tmp_path / "data", {"train": 6, "val": 3, "test": 3})
    flags = TINY | {"config": TINY_CONFIG["galr"], "data": str(data), "output_dir": str(output)}
    return ["training/run.py", "training/recipes/galr_ucm.yaml", *flags_of(flags)]


def test_a_training_that_cannot_write_says_so(tmp_path):
    (tmp_path / "file").touch()
    said = error_of(training(tmp_path, tmp_path / "file" / "out"))
    assert str(tmp_path / "file") in said


def test_a_training_that_fills_the_disk_says_so(tmp_path):
    with full_disk(30_000):
        said = error_of(training(tmp_path, tmp_path / "out"))
    assert "too large" in said.lower()
