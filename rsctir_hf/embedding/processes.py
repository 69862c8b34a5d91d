"""Several processes on one task, as ``accelerate launch`` or ``torchrun`` start them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from torch import distributed

#: One process may wait for the others as long as their shares take.
LONGEST_WAIT = timedelta(days=7)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Process:
    """Which of the processes this is.

    Attributes:
        rank: its number, from 0.
        count: of all processes, on all machines.
    """

    rank: int = 0
    count: int = 1

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return every ``count``-th item from this process's rank on."""
        return items[self.rank :: self.count]

    def gather(self, found: Any) -> list[Any]:  # noqa: ANN401 - whatever pickles
        """Wait for all processes and return what each of them found."""
        if self.count == 1:
            return [found]
        gathered: list[Any] = [None] * self.count
        distributed.all_gather_object(gathered, found)
        return gathered


@contextlib.contextmanager
def joined_processes() -> Iterator[Process]:
    """Join the processes that the environment names (RANK, WORLD_SIZE and where they meet)."""
    if distributed.is_available() and distributed.is_initialized():
        yield Process(distributed.get_rank(), distributed.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
        try:
            yield Process(distributed.get_rank(), distributed.get_world_size())
        finally:
            distributed.destroy_process_group()
    else:
        yield Process()
