"""How long something that is under way will take, from the pace of late."""

import time
from collections import deque
from collections.abc import Callable

_LATE = 12  # reports that make the pace; the slow first ones drop out of it
_LEAST = 3  # reports before anything is said


class TimeLeft:
    """Estimates the rest of a run that reports how much is done.

    The pace is that of the last reports: beginnings are slow, and a mean over all would promise too
    much time for long.

    Args:
        clock: seconds; tests hand in their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: deque[tuple[float, int]] = deque(maxlen=_LATE)

    def seconds(self, done: int, total: int) -> float | None:
        """Take a report in; return the seconds left, None before there is a pace."""
        now = self._clock()
        self._reports.append((now, done))
        then, first = self._reports[0]
        if len(self._reports) < _LEAST or done <= first:
            return None
        return (now - then) / (done - first) * (total - done)


def in_words(seconds: float | None) -> str:
    """Write the time left as loosely as it is known; empty where it is not."""
    if seconds is None:
        return ""
    if seconds < 10:
        return ", some seconds left"
    return f", about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Write a length of time in the unit that suits it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
