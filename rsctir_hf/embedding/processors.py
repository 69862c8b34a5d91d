"""How many processors this process may really use, whatever the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: Where Linux tells of control groups: whose member this process is, and their limits.
MEMBERSHIP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_processors(membership: Path = MEMBERSHIP, groups: Path = GROUPS) -> int:
    """Return how many processors this process may keep busy, at least 1.

    Those it may run on (``taskset``, a batch system), or fewer where a control group (a container)
    grants less time: a quota of 1.5 processors counts as 2.

    Args:
        membership: the groups of this process, as ``/proc/self/cgroup`` has them.
        groups: the folder of control groups, version 1 or 2.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas(membership, groups))]))


def _quotas(membership: Path, groups: Path) -> Iterator[float]:
    """Yield the processors that each group around this process grants; some set no limit."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Within a container the path may be that of the host, which is not there.
        for inner in (PurePosixPath(path), *PurePosixPath(path).parents):
            group = groups / ("cpu" if controllers else "") / str(inner).lstrip("/")
            if controllers:
                limit = [_words(group / f"cpu.cfs_{each}_us") for each in ("quota", "period")]
                quota = [word for words in limit for word in words]
            else:
                quota = _words(group / "cpu.max")
            if len(quota) == 2 and all(word.isdecimal() for word in quota) and int(quota[1]):
                yield int(quota[0]) / int(quota[1])


def _words(file: Path) -> list[str]:
    """Return the words of a small file; none where it is missing."""
    try:
        return file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return []
