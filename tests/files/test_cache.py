"""The cache: where it is, how large it grows, and that nothing depends on it."""

import os

import pytest

from rsctir_hf.files.cache import NO_CACHE, cache_folder, keep_file, mark_used
from tests.full_disk import full_disk


def test_the_cache_is_a_folder_of_the_user_and_not_of_the_package(cache):
    assert cache_folder("banks") == cache / "banks"


@pytest.mark.parametrize(("said", "kept"), [("1", False), ("true", False), ("0", True), ("", True)])
def test_a_variable_switches_it_off(cache, monkeypatch, said, kept):
    monkeypatch.setenv(NO_CACHE, said)
    assert (cache_folder("banks") is not None) is kept


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        keep_file(tmp_path / name, b"1234", most_bytes=100)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    mark_used(tmp_path / "old")
    keep_file(tmp_path / "newest", b"1234", most_bytes=12)
    assert sorted(os.listdir(tmp_path)) == ["new", "newest", "old"]


def test_what_is_larger_than_the_whole_cache_is_not_kept(tmp_path):
    keep_file(tmp_path / "small", b"1", most_bytes=3)
    keep_file(tmp_path / "large", b"1234", most_bytes=3)
    assert os.listdir(tmp_path) == ["small"]


def test_a_cache_that_cannot_be_written_is_no_error(read_only):
    keep_file(read_only / "banks" / "new", b"1", most_bytes=3)
    assert os.listdir(read_only) == []


def test_a_full_disk_is_no_error_and_leaves_nothing(tmp_path):
    with full_disk(1000):
        keep_file(tmp_path / "new", b"1" * 1001, most_bytes=10_000)
    assert os.listdir(tmp_path) == []
