"""A disk that is full, for as long as the block of a ``with`` lasts."""

import contextlib
import resource
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes: the system itself refuses.

    Around the one call that is to fail, never around a whole test: pytest's own output may go to
    a file, and that file is longer.
    """
    older = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, older[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, older)
        signal.signal(signal.SIGXFSZ, handler)
