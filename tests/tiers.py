"""RSCTIR_REQUIRE_ALL=1 (set by .ci/run): what needs Chromium, weights or data may not skip.

Without it, tests marked ``slow`` or ``browser`` and users of the fixtures skip with their reason
where those things are absent, so the plain test command passes anywhere. What the markers mean, and
which of them that command leaves out, stands in pyproject.toml.
"""

import os

import pytest

MARKERS = ("slow", "browser")
FIXTURES = {"development_data", "checkpoint"}
#: transformers' own tests skip for want of a GPU and by marks of their own, one of them `slow`.
NOT_OURS = "transformers_common"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    needed = FIXTURES.intersection(item.fixturenames) or any(map(item.get_closest_marker, MARKERS))
    if needed and NOT_OURS not in item.path.parts:
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    refuse_skip(report)  # a whole module, as pytest.importorskip does
    return report


def refuse_skip(report):
    """Turn a skip into a failure where everything is required; an expected failure stays one."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("RSCTIR_REQUIRE_ALL"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"RSCTIR_REQUIRE_ALL is set, so this must not skip. {reason}"
