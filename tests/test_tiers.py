"""RSCTIR_REQUIRE_ALL: what .ci/run relies on so that nothing is left out unseen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SETTINGS = "[pytest]\nmarkers =\n    slow: x\n    browser: x\n"
SKIPPING_TESTS = """
import pytest

@pytest.mark.slow
def test_slow():
    pytest.skip("no weights")

@pytest.mark.browser
@pytest.mark.skipif(True, reason="no Chromium")
def test_browser():
    pass

@pytest.fixture
def development_data():
    pytest.skip("no data")

def test_with_data(development_data):
    pass

@pytest.fixture
def checkpoint():
    return lambda name: pytest.skip("no weights")

def test_with_weights(checkpoint):
    checkpoint("model")

def test_plain():
    pytest.skip("of no interest to the tiers")
"""
SKIPPING_MODULE = "import pytest\npytest.importorskip('a_package_that_is_not_there')\n"
# A skip in the body of a test becomes a failure; in a mark, a fixture or a module, an error.
CLOSING = {"": "6 skipped", "1": "2 failed, 1 skipped, 3 errors"}


@pytest.mark.parametrize("required", CLOSING)
def test_skips_of_slow_and_browser_tests_fail_only_where_all_are_required(tmp_path, required):
    (tmp_path / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "test_skipping.py").write_text(SKIPPING_TESTS, encoding="utf-8")
    (tmp_path / "test_module.py").write_text(SKIPPING_MODULE, encoding="utf-8")
    options = ["-p", "tiers", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parent),  # where tiers.py lies
        "RSCTIR_REQUIRE_ALL": required,
    }
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert CLOSING[required] in finished.stdout.splitlines()[-1], finished.stdout
