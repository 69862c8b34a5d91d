"""How the C library hands out the memory that tensors on a CPU lie in.

Both functions ask glibc, and do nothing with another C library.
"""

import ctypes
import platform
from collections.abc import Mapping

#: Numbers of mallopt(3) in glibc, and the largest value it takes.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory instead of handing it back to the system after each layer.

    On a CPU a training step allocates gigabytes of activations, and getting fresh pages for them
    every time costs a good part of it: ``compared`` in ``results/training_speed.json``
    (``benchmarks/training_speed.py``) says how much. The process keeps what it once had, its
    greatest need, to its end.
    """
    _ask_glibc({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: LARGEST_INT})


def share_arenas(count: int = 2) -> None:
    """Let all threads allocate from a few arenas, before the first of them is there.

    Glibc gives eight arenas to every core, and what a thread has freed in one of them no other
    can use: a server whose threads all run the model now and then grows for a long time.
    ``results/app_load.json`` says by how much the app still does.
    """
    _ask_glibc({M_ARENA_MAX: count})


def _ask_glibc(options: Mapping[int, int]) -> None:
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in options.items():
            libc.mallopt(option, value)
