"""What glibc is asked for, and that no other C library is asked."""

import ctypes
import platform
import subprocess
import sys

import pytest

from rsctir_hf import allocation
from rsctir_hf.allocation import keep_freed_memory, share_arenas


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
    share_arenas()
    assert asked == []


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
@pytest.mark.parametrize("asked_for", ["", "share_arenas()"])
def test_threads_share_two_arenas_instead_of_one_each(asked_for, tmp_path):
    code = f"""
import ctypes, threading
from rsctir_hf.allocation import share_arenas
{asked_for}
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
barrier = threading.Barrier(8)
def allocate():
    libc.malloc(1000)
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[each.start() for each in threads], [each.join() for each in threads]
file = libc.fopen({str(tmp_path / "arenas.xml")!r}.encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    arenas = (tmp_path / "arenas.xml").read_text().count("<heap nr=")
    assert (arenas <= 2) == bool(asked_for)
