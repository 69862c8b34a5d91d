"""The oracle: an input is taken or refused in our own words, soon and in little memory.

Everything else is a finding, counted once for each kind of exception and place in our code.
"""

import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

from rsctir_hf.errors import RsctirError

ROOT = Path(__file__).resolve().parents[1]
OURS = ("rsctir_hf", "training")  # folders of the code whose places are named
SECONDS = 10.0  # an input may take
MEGABYTES = 1024.0  # an input may add to the largest memory so far
_SHOWN = 300  # characters of an input and of an error that a finding keeps


class Refused(Exception):  # noqa: N818 - not an error: what is hoped for
    """An input was refused in words where no exception says so: an exit code, a notice."""


class Complaint(AssertionError):  # noqa: N818
    """An answer that no input should get, such as a traceback or markup that was not escaped."""


class TooSlow(BaseException):
    """An input took longer than ``SECONDS``."""


@dataclass(frozen=True)
class Target:
    """A door and what is pushed through it.

    Attributes:
        name: door and kind of input.
        inputs: the hostile inputs.
        call: gives one to the door.
        count: inputs of a full run.
        refusals: what it may raise beside ``Refused``.
    """

    name: str
    inputs: SearchStrategy[Any]
    call: Callable[[Any], object]
    count: int
    refusals: tuple[type[BaseException], ...] = (RsctirError,)


@dataclass
class Tally:
    """What became of the inputs of one target.

    Attributes:
        inputs: how many there were.
        accepted: an answer came.
        refused: one of our own errors, or words.
        slowest: seconds of the slowest.
        findings: all else: kind and place -> count, an input, what was said.
    """

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, key: str, value: object, said: object) -> None:
        """Count a finding."""
        first = {"count": 0, "input": shortened(value), "said": shortened(said)}
        self.findings.setdefault(key, first)["count"] += 1


def run_target(
    target: Target, *, count: int, seed: int, told: Callable[[], object] = lambda: None
) -> Tally:
    """Push ``count`` inputs through a door; fewer where there are no more different ones.

    Args:
        target: the door.
        count: inputs.
        seed: the same gives the same inputs.
        told: called after each.
    """
    tally = Tally()

    @seeded(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def push(value: Any) -> None:  # noqa: ANN401
        judge(target, value, tally)
        told()

    push()
    return tally


def judge(target: Target, value: Any, tally: Tally) -> None:  # noqa: ANN401
    """Give one input to a door and count what comes of it."""
    began, before = time.monotonic(), peak_megabytes()
    tally.inputs += 1
    try:
        with time_limit(2 * SECONDS):
            target.call(value)
        tally.accepted += 1
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # panics of Rust are no Exception
        if not isinstance(error, (Refused, *target.refusals)):
            tally.note(place_of(error), value, error)
        elif str(error).strip():
            tally.refused += 1
        else:
            tally.note(f"{place_of(error)}: refused without words", value, repr(error))
    seconds, grown = time.monotonic() - began, peak_megabytes() - before
    tally.slowest = max(tally.slowest, seconds)
    if seconds > SECONDS:
        tally.note("slower than the limit", value, f"{seconds:.1f} s")
    if grown > MEGABYTES:
        tally.note("more memory than the limit", value, f"{grown:.0f} MB")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``TooSlow`` in what takes longer, once Python code runs again."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TooSlow(f"longer than {seconds:.0f} s")

    older = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, older)


def place_of(error: BaseException) -> str:
    """Name the kind of an exception and the innermost function of ours it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _in_our_code(frame.filename)]
    kind = type(error).__name__
    if not ours:
        return f"{kind} outside of our code"
    file = Path(ours[-1].filename).resolve().relative_to(ROOT).as_posix()
    return f"{kind} in {file}, {ours[-1].name}"


def passed_through_ours(error: BaseException) -> bool:
    """Tell whether an exception came out of our code."""
    return any(_in_our_code(each.filename) for each in traceback.extract_tb(error.__traceback__))


def _in_our_code(file: str) -> bool:
    return any(Path(file).resolve().is_relative_to(ROOT / folder) for folder in OURS)


def peak_megabytes() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shortened(value: object) -> str:
    """Return the beginning of a value as text that any file can hold."""
    text = (
        value
        if isinstance(value, str)
        else str(value)
        if isinstance(value, BaseException)
        else repr(value)
    )
    return ascii(text[:_SHOWN])[1:-1]
