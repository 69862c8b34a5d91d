"""What glibc is asked for, and that no other C library is asked."""

import ctypes

import pytest

from rsctir_hf import allocation
from rsctir_hf.allocation import keep_freed_memory


@pytest.fixture
def asked(monkeypatch):
    """The calls of mallopt, none of which is carried out."""
    calls = []

    class Library:
        def __init__(self, name):
            assert name is None  # the C library of this process

        def mallopt(self, option, value):
            calls.append((option, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    return calls


def test_glibc_is_told_to_neither_map_nor_trim(asked, monkeypatch):
    monkeypatch.setattr(allocation.platform, "libc_ver", lambda: ("glibc", "2.36"))
    keep_freed_memory()
    # M_MMAP_MAX is -4 and M_TRIM_THRESHOLD is -1 in malloc.h.
    assert sorted(asked) == [(-4, 0), (-1, 2**31 - 1)]


@pytest.mark.parametrize("library", ["", "musl", "libc"])
def test_another_c_library_is_left_alone(library, asked, monkeypatch):
    monkeypatch.setattr(allocation.platform, "libc_ver", lambda: (library, ""))
    keep_freed_memory()
    assert asked == []
