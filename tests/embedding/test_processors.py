"""How many processors there are to use: affinity, and the quotas of control groups."""

import os

import pytest

from rsctir_hf.embedding.processors import usable_processors


@pytest.fixture
def sixteen(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.fixture
def group(tmp_path):
    """Write who is a member of what, and the limits of groups; return the arguments."""

    def write(membership, limits):
        (tmp_path / "membership").write_text(membership)
        for name, text in limits.items():
            file = tmp_path / "groups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / "membership", tmp_path / "groups"

    return write


def test_without_a_quota_it_is_what_the_process_may_run_on(sixteen, group, monkeypatch):
    assert usable_processors(*group("0::/\n", {"cpu.max": "max 100000\n"})) == 16
    assert usable_processors(*group("1:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n"})) == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert usable_processors() == 1


@pytest.mark.parametrize(
    ("quota", "processors"), [("200000", 2), ("150000", 2), ("1000", 1), ("9900000", 16)]
)
def test_a_quota_counts_in_whole_processors_and_at_least_one(sixteen, group, quota, processors):
    second = group("0::/\n", {"cpu.max": f"{quota} 100000\n"})
    assert usable_processors(*second) == processors
    first = group(
        "3:memory:/x\n1:cpuacct,cpu:/\n",
        {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000", "cpu.max": "max 1"},
    )
    assert usable_processors(*first) == processors


def test_the_narrowest_group_around_the_process_decides(sixteen, group):
    limits = {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000", "cpu.max": "500000 100000"}
    assert usable_processors(*group("0::/a/b\n", limits)) == 3


def test_a_container_that_sees_the_path_of_its_host_finds_its_own_limit(sixteen, group):
    assert usable_processors(*group("0::/docker/12ab\n", {"cpu.max": "200000 100000"})) == 2


def test_a_system_without_control_groups_or_affinity_has_its_processors(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_processors(tmp_path / "none", tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors(tmp_path / "none", tmp_path) == 1
