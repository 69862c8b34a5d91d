"""What a Space's visitor waits for and what its machine holds: start, first result, memory.

    python benchmarks/space_start.py

Copies what ``rsctir deploy-space`` uploads into an empty folder and starts ``app.py`` there, in a
process of its own on two threads, with the drawn scenes as gallery. Times run from the start of
that process; memory is what it and its children hold (resident, ``/proc``, so Linux only). The
limits are those of a free Space: two cores, and far below its 16 GB. Takes about two minutes;
writes ``results/space_start.json``.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from report import Task, flags, run, save, settings, timed

from rsctir_hf.files.pictures import list_images
from rsctir_hf.hub.space import copy_space, space_parts
from rsctir_hf.sample import sample_folder
from rsctir_hf.ui.server.workbench import READY
from rsctir_hf.ui.tabs.search_tab import EXAMPLES

SEARCHES = 20
RERANKS = ("none", "smr", "mr", "match")
FIRST_RESULT_LIMIT = 20.0  # seconds
MEMORY_LIMIT = 2.5  # GB
THREADS = 2
PATIENCE = 600.0  # seconds for any one step
_LOOK = 0.1  # seconds between two looks
_GB = 1e9


@dataclass(frozen=True)
class RunningApp:
    """A started app.

    Attributes:
        url: of its page.
        process: as started.
        started: reading of ``time.perf_counter`` at its start.
        log: what it writes.
    """

    url: str
    process: subprocess.Popen[bytes]
    started: float
    log: Path

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self.started

    def memory(self, *, peak: bool = False) -> float:
        """Return the resident memory, now or at most, of the process and its children, in GB."""
        return sum(resident_bytes(each, peak=peak) for each in family_of(self.process.pid)) / _GB

    def wait_for_page(self) -> None:
        """Return once the page is answered."""
        self._wait(self._answers)

    def wait_for_log(self, text: str) -> None:
        """Return once the log holds ``text``."""
        self._wait(lambda: text in self.log.read_text(encoding="utf-8"))

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _wait(self, done: Task) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"app.py ended or hangs:\n{self.log.read_text('utf-8')}")
            time.sleep(_LOOK)


@contextmanager
def started_app(folder: Path, flags: Sequence[str], *, log: Path) -> Iterator[RunningApp]:
    """Start the ``app.py`` of a folder on a free port of this machine; end it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The package beside app.py is the one that counts, and its own settings.
    environ = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "SPACE_ID") and not key.startswith("RSCTIR_")
    } | {"OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "app.py", "--port", str(port), *flags]
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield RunningApp(f"http://127.0.0.1:{port}", process, started, log)
        finally:
            process.terminate()
            process.wait(timeout=30)


def family_of(process: int) -> list[int]:
    """Return a process and all its children, by their ids; those that are gone have none."""
    family = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            for child in task.read_text().split():
                family += family_of(int(child))
    return family


def resident_bytes(process: int, *, peak: bool = False) -> int:
    """Return the resident memory of one process, or the most it ever had; 0 where it is gone."""
    name = "VmHWM" if peak else "VmRSS"
    with suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text()
        for line in status.splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "space_start.json")
    parser.add_argument("--searches", type=int, default=SEARCHES)
    parser.add_argument("flags", nargs="*", help="of app.py, after --")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # the app inherits it
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "space"
        copy_space(folder, space_parts({}))
        given = ["--gallery", "sample", *options.flags]
        with started_app(folder, given, log=Path(scratch) / "log.txt") as app:
            found = measure(app, searches=options.searches)
    save(options.output, found)


def measure(app: RunningApp, *, searches: int) -> dict[str, Any]:
    """Visit an app that was just started.

    Args:
        app: not yet visited.
        searches: counted searches after the gallery is indexed.
    """
    app.wait_for_page()
    seconds, memory = {"page": app.seconds()}, {"start": app.memory()}
    client = Client(app.url, verbose=False)
    client.predict(EXAMPLES[0], api_name="/text_to_image")
    seconds["first_result"] = app.seconds()
    app.wait_for_log(READY)
    seconds["gallery_indexed"], memory["indexed"] = app.seconds(), app.memory()
    each = [search_seconds(client, number) for number in range(searches)]
    memory["searched"] = app.memory()
    picture = handle_file(list_images(sample_folder())[0])
    client.predict(picture, api_name="/image_to_text")
    client.predict(picture, api_name="/region_graph")
    memory["captioned_and_graph_drawn"] = app.memory()
    memory["at_its_peak"] = app.memory(peak=True)
    return {
        "limits": {"first_result_seconds": FIRST_RESULT_LIMIT, "memory_gb": MEMORY_LIMIT},
        "kept": seconds["first_result"] <= FIRST_RESULT_LIMIT
        and max(memory.values()) <= MEMORY_LIMIT,
        "seconds_after_start": {name: round(value, 1) for name, value in seconds.items()},
        "memory_gb": {name: round(value, 2) for name, value in memory.items()},
        "search_seconds": round(statistics.median(each), 3),
        "settings": settings(searches=searches, threads=THREADS),
    }


def search_seconds(client: Client, number: int) -> float:
    """Return the seconds of one search; the number decides what for, and which rerank."""
    words, rerank = EXAMPLES[number % len(EXAMPLES)], RERANKS[number % len(RERANKS)]
    return timed(lambda: client.predict(words, rerank, 12, api_name="/text_to_image"))[0]


if __name__ == "__main__":
    run(main)
