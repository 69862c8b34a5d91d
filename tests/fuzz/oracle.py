"""The oracle: an input is taken or refused in our own words, soon and in little memory."""

import os
import resource
import signal
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

from rsctir_hf.errors import RsctirError
from tests.conftest import ROOT

SECONDS = 10.0  # an input may take
MEGABYTES = 1024.0  # an input may add to the largest memory so far
#: Test -> inputs, accepted, refused, seconds of the slowest.
TALLIES = {}


class Refused(Exception):  # noqa: N818 - not an error: what is hoped for
    """An input was refused in words where no exception says so: an exit code, a notice."""


class Complaint(AssertionError):  # noqa: N818
    """What no input should get, such as a traceback or markup that was not escaped."""


class TooSlow(BaseException):
    """An input took longer than ``SECONDS``."""


def taken_or_refused(call, *given, refusals=(RsctirError,)):
    """Give an input to a door; raises unless it is taken, or refused by one of ``refusals``.

    Whatever else comes out of the door goes on to hypothesis, panics of Rust as a ``Complaint``.
    """
    tally = TALLIES.setdefault(
        os.environ["PYTEST_CURRENT_TEST"].rpartition("/")[2].split(" ")[0],
        {"inputs": 0, "accepted": 0, "refused": 0, "slowest": 0.0},
    )
    tally["inputs"] += 1
    began, before = time.monotonic(), peak_megabytes()
    try:
        with time_limit(2 * SECONDS):
            call(*given)
        tally["accepted"] += 1
    except (Refused, *refusals) as error:
        if not str(error).strip():
            raise Complaint(f"refused without words: {error!r}") from error
        tally["refused"] += 1
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Complaint(f"the door ended with {error!r}") from error
    seconds, grown = time.monotonic() - began, peak_megabytes() - before
    tally["slowest"] = round(max(tally["slowest"], seconds), 2)
    if seconds > SECONDS or grown > MEGABYTES:
        raise Complaint(f"an input took {seconds:.1f} s and {grown:.0f} MB")


@contextmanager
def time_limit(seconds):
    """Raise ``TooSlow`` in what takes longer, once Python code runs again."""

    def stop(signum, frame):
        raise TooSlow(f"longer than {seconds:.2f} s")

    older = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, older)


def passed_through_ours(error):
    """Tell whether an exception came out of the package."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(each.filename).resolve().is_relative_to(ROOT / "rsctir_hf") for each in frames)


def look_for_leaks(shown, *secrets):
    """Raise for markup that came from outside, or anything that is to stay hidden."""
    if any(each in shown for each in ("<script>", "<img src=x", *map(str, secrets))):
        raise Complaint(f"markup or a folder of the server is shown: {shown}")


def peak_megabytes():
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
