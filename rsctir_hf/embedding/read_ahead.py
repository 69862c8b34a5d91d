"""Do the next pieces of work in threads of one processor each, ahead of the caller.

Threads that share each layer of a model among them wait for one another at each of them, most of
all where something else keeps one of their processors busy. Threads with work of their own do not:
``results/embedding_speed.json`` says how much that is.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Thread
from typing import TypeVar

import torch

from rsctir_hf.embedding.processors import usable_processors

_MOST_WORKERS = 8  # beyond, Python's own lock is what threads wait for

Job = TypeVar("Job")
Result = TypeVar("Result")


def default_workers() -> int:
    """Return how many threads work: one for each processor that PyTorch may and can use.

    ``OMP_NUM_THREADS`` and ``torch.set_num_threads`` say what it may.
    """
    return min(_MOST_WORKERS, usable_processors(), torch.get_num_threads())


def read_ahead(
    work: Callable[[Job], Result], jobs: Iterable[Job], *, workers: int, most: int | None = None
) -> Generator[Result, None, None]:
    """Yield ``work(job)`` for each job, in order, worked out ahead of the caller.

    Args:
        work: called in a thread; what it raises is raised here in its turn.
        jobs: taken by the caller's thread, one for each result that is handed over, so that at most
            ``most`` results wait.
        workers: threads; 0 works in the caller's own thread, one job at a time.
        most: default: ``workers + 1``.
    """
    if workers < 1:
        yield from map(work, jobs)
        return
    remaining = iter(jobs)
    waiting: deque[Future[Result]] = deque()
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(workers, "read_ahead", _leave_the_cores, (threads,)) as pool:
        try:
            waiting.extend(pool.submit(work, job) for job in islice(remaining, most or workers + 1))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, job) for job in islice(remaining, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def one_processor() -> Iterator[None]:
    """Do what is inside with one processor, in the caller's thread.

    For a single picture or sentence: a team of threads gains little there, and loses much beside
    other requests or programs.
    """
    threads = torch.get_num_threads()
    if threads > 1:
        _leave_the_cores(threads)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def _leave_the_cores(threads: int) -> None:
    """Let PyTorch use no further threads for what this one does.

    Args:
        threads: how many the rest of the process uses. PyTorch keeps one number for all threads to
            come, which a thread of its own must therefore put back.
    """
    torch.get_num_threads()  # a thread that has not asked yet takes the common number over later
    torch.set_num_threads(1)
    restoring = Thread(target=torch.set_num_threads, args=(threads,))
    restoring.start()
    restoring.join()
