"""How the C library hands out the memory that tensors on a CPU lie in."""

import ctypes
import platform

#: Numbers of mallopt(3) in glibc, and the largest value it takes.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory instead of handing it back to the system after each layer.

    On a CPU a training step allocates gigabytes of activations, and getting fresh pages for them
    every time costs a good part of it: ``compared`` in ``results/training_speed.json``
    (``benchmarks/training_speed.py``) says how much. The process keeps what it once had, its
    greatest need, to its end. With another C library nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
