"""Fifty visitors at once for three minutes: errors, cross-talk, memory and waiting times.

    python benchmarks/app_load.py
    python benchmarks/app_load.py --seconds 900 --output results/app_load_quarter_hour.json

Starts ``app.py`` on two cores with the drawn scenes and the shipped models, and beside it a bare
Gradio app that returns the text it is given. Visitors come from addresses of loopback of their own,
in threads of this process on the same two cores. Each does one thing after another, with a pause
of ``--pause`` seconds on average in between:

- a search on the page, and one through the endpoint, with and without a rerank: the answer must be
  what a lone visitor got before;
- pictures of its own, uploaded and searched: cards must show these and no other's;
- pictures like an upload of its own: the same one as for a lone visitor must come first;
- the region graph of that upload: the same number of regions as for a lone visitor.

The same number of visitors first ask the echo app, with the same pauses. Times are of a whole
thing with its uploads, made on the same two cores. What is counted as an error is any
answer but the right one or a polite "busy" (status 429 or 503, counted apart). Memory is what the
app's process and its children hold (``/proc``, so Linux only): the median over the last fifteen
seconds against that over the first fifteen, after ``--warm-up`` seconds of the same load. Takes
about eight minutes on two quiet cores; writes ``results/app_load.json`` and ends with an error if
anything was wrong.
"""

import argparse
import io
import itertools
import json
import os
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from app_visitor import RefusedError, Tally, Visitor
from PIL import Image
from report import ROOT, flags, run, save, settings
from space_start import THREADS, RunningApp, started_app

from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import sample_folder
from rsctir_hf.ui.server.workbench import READY
from rsctir_hf.ui.tabs.search_answers import ANY_TYPE
from rsctir_hf.ui.tabs.search_tab import EXAMPLES, GALLERY, OWN

CLIENTS = 50
SECONDS = 180.0
WARM_UP = 150.0  # by then as many sessions were there as are remembered
ECHO_SECONDS = 60.0
PAUSE = 8.0
GROWTH_LIMIT = 5.0  # percent
RERANKS = ("none", "smr")
OWN_PICTURES = 3
_LOOK = 1.0  # seconds between two looks at the memory
_EDGE = 15.0  # seconds at each end whose medians are compared
_STATES = (None, None)  # own pictures and the visit, which the server keeps

#: A kind of request: asks as a visitor, and raises if the answer is not the right one.
Request = Callable[[Visitor], None]


@dataclass(frozen=True)
class Expected:
    """What a lone visitor got.

    Attributes:
        files: names of the results in order, by query and rerank.
        alike: name of the picture most like an upload, by the upload's number.
        regions: number of regions of an upload, by its number.
    """

    files: dict[tuple[str, str], list[str]]
    alike: list[str]
    regions: list[int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the echo app, then the app; print and write."""
    parser = flags(__doc__, "app_load.json")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--warm-up", type=float, default=WARM_UP)
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds, on average")
    parser.add_argument("flags", nargs="*", help="of app.py, after --")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # both apps inherit it
    with tempfile.TemporaryDirectory() as scratch:
        log, folder = Path(scratch) / "log.txt", Path(scratch) / "echo"
        folder.mkdir()
        shutil.copy(Path(__file__).with_name("echo_app.py"), folder / "app.py")
        with started_app(folder, [], log=log) as app:
            app.wait_for_page()
            echo = Tally()
            visits(visitors_of(app, options), [("echo", say_the_same)], echo,
                   pause=options.pause, seconds=min(ECHO_SECONDS, options.seconds))  # fmt: skip
        with started_app(ROOT, ["--gallery", "sample", *options.flags], log=log) as app:
            app.wait_for_page()
            app.wait_for_log(READY)
            found = load(app, options)
    found["echo"] = waiting_times(echo)
    found["errors"] += [f"echo: {error}" for error in echo.errors]
    found["settings"] = settings(threads=THREADS, flags=options.flags)
    save(options.output, found)
    if found["errors"] or not found["kept"]:
        raise SystemExit("\n".join(found["errors"][:20]) or "memory grew beyond the limit")


def load(app: RunningApp, options: argparse.Namespace) -> dict[str, Any]:
    """Let the same visitors in for the warm-up and for the measured time."""
    *visitors, lone = visitors_of(app, options, more=1)
    requests = requests_of(expected_by(lone), events_of_the_page(lone))
    warm, measured = Tally(), Tally()
    visits(visitors, requests, warm, pause=options.pause, seconds=options.warm_up)
    memory = visits(
        visitors, requests, measured, pause=options.pause, seconds=options.seconds, look=app.memory
    )
    edge = max(1, int(_EDGE / _LOOK))
    first, last = statistics.median(memory[:edge]), statistics.median(memory[-edge:])
    growth = 100 * (last / first - 1)
    return {
        "clients": options.clients,
        "seconds": options.seconds,
        "warm_up_seconds": options.warm_up,
        "pause_seconds": options.pause,
        "requests": waiting_times(measured),
        "busy": measured.busy,
        "errors": warm.errors + measured.errors,
        "memory_mb": {
            "first": round(first * 1000),
            "last": round(last * 1000),
            "medians_of_15_seconds": [
                round(1000 * statistics.median(memory[at : at + edge]))
                for at in range(0, len(memory), edge)
            ],
        },
        "memory_growth_percent": round(growth, 2),
        "growth_limit_percent": GROWTH_LIMIT,
        "kept": growth < GROWTH_LIMIT,
    }


def visitors_of(app: RunningApp, options: argparse.Namespace, more: int = 0) -> list[Visitor]:
    """Return as many visitors of an app as were asked for, and some more."""
    port = int(urlsplit(app.url).port or 0)
    return [Visitor(port, number) for number in range(options.clients + more)]


def visits(
    visitors: Sequence[Visitor],
    requests: Sequence[tuple[str, Request]],
    tally: Tally,
    *,
    pause: float,
    seconds: float,
    look: Callable[[], float] | None = None,
) -> list[float]:
    """Let visitors do one thing after another until the time is over.

    Args:
        visitors: each goes on in its session.
        requests: names and kinds of requests, in an order of each visitor's own.
        tally: takes what happened.
        pause: mean seconds between two requests of a visitor.
        seconds: after which nobody begins anything new.
        look: measures something, every second meanwhile.

    Returns:
        What was measured.
    """
    end = time.monotonic() + seconds

    def visit(visitor: Visitor) -> None:
        turns = visitor.random.sample(requests, len(requests))
        time.sleep(visitor.random.uniform(0, pause))
        for name, request in itertools.cycle(turns):
            if time.monotonic() >= end:
                return
            tally.timed(name, lambda: request(visitor))  # noqa: B023 - called at once
            rest = visitor.random.uniform(0, 2 * pause)
            time.sleep(max(0.0, min(rest, end - time.monotonic())))

    threads = [threading.Thread(target=visit, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    measured = []
    while look is not None and time.monotonic() < end:
        measured.append(look())
        time.sleep(_LOOK)
    for thread in threads:
        thread.join()
    return measured


def requests_of(expected: Expected, events: dict[str, int]) -> list[tuple[str, Request]]:
    """Return what a visitor does, each with a check of the answer."""

    def search_page(visitor: Visitor) -> None:
        words, rerank = visitor.random.choice(list(expected.files))
        data = (words, rerank, 12, ANY_TYPE, None, GALLERY)
        grid = visitor.event(events["search"], *data, *_STATES)[1]
        must_be(shown_files(grid), expected.files[words, rerank], "results of the page")

    def search_endpoint(visitor: Visitor) -> None:
        words, rerank = visitor.random.choice(list(expected.files))
        answer = visitor.call("text_to_image", words, rerank, 12, False)
        files = [hit["file"] for hit in answer["results"]]
        must_be(files, expected.files[words, rerank], "results of the endpoint")

    def own_pictures(visitor: Visitor) -> None:
        round_ = visitor.random.randrange(10**6)
        names = [f"own-{visitor.session}-{round_}-{at}.png" for at in range(OWN_PICTURES)]
        uploads = visitor.upload({name: png_of(visitor.random.randrange(99)) for name in names})
        visitor.event(events["add_pictures"], uploads)
        data = (EXAMPLES[0], "none", 12, ANY_TYPE, None, OWN)
        grid = visitor.event(events["search"], *data, *_STATES)[1]
        must_be(sorted(set(re.findall(r"own-[\w-]+\.png", grid))), names, "own pictures")

    def alike(visitor: Visitor) -> None:
        number = visitor.random.randrange(len(expected.alike))
        (upload,) = visitor.upload({"upload.png": png_of(number)})
        answer = visitor.call("image_to_image", upload, "none", 5, False)
        must_be(answer["results"][0]["file"], expected.alike[number], "picture alike")

    def regions(visitor: Visitor) -> None:
        number = visitor.random.randrange(len(expected.regions))
        (upload,) = visitor.upload({"upload.png": png_of(number)})
        graph = visitor.call("region_graph", upload)
        must_be(len(graph["nodes"]), expected.regions[number], "number of regions")

    kinds = (search_page, search_endpoint, own_pictures, alike, regions)
    return [(kind.__name__, kind) for kind in kinds]


def expected_by(visitor: Visitor) -> Expected:
    """Ask everything once, alone."""
    files = {}
    for words in EXAMPLES:
        for rerank in RERANKS:
            answer = visitor.call("text_to_image", words, rerank, 12, False)
            files[words, rerank] = [hit["file"] for hit in answer["results"]]
    uploads = [visitor.upload({"upload.png": png_of(number)})[0] for number in range(10)]
    alike = [visitor.call("image_to_image", each, "none", 5, False) for each in uploads]
    graphs = [visitor.call("region_graph", each) for each in uploads]
    return Expected(
        files,
        [answer["results"][0]["file"] for answer in alike],
        [len(graph["nodes"]) for graph in graphs],
    )


def events_of_the_page(visitor: Visitor) -> dict[str, int]:
    """Return the numbers of the page's events by name."""
    events = json.loads(visitor.ask("/config"))["dependencies"]
    return {event["api_name"]: event["id"] for event in events if event["api_name"]}


def must_be(found: object, expected: object, what: str) -> None:
    """Raise unless two answers are the same."""
    if found != expected:
        raise RefusedError(f"{what}: {found} instead of {expected}")


def shown_files(grid: str) -> list[str]:
    """Return the file names on the cards of a result grid, in order."""
    return re.findall(r'class="rs-subtitle">([^<]+)<', grid.replace("<wbr>", ""))


@cache
def png_of(number: int) -> bytes:
    """Return a file of the gallery's picture of that number, turned on its head and a bit darker.

    Not the gallery's own file, so that nothing is answered from what is kept of that one.
    """
    pictures = list_images(sample_folder())
    with Image.open(pictures[number * 7 % len(pictures)]) as picture:
        values = np.asarray(picture.convert("RGB"))[::-1] // 10 * 9
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def say_the_same(visitor: Visitor) -> None:
    """Ask the echo app."""
    words = f"{EXAMPLES[visitor.number % len(EXAMPLES)]} {visitor.session}"
    must_be(visitor.call("echo", words), words, "echo")


def waiting_times(tally: Tally) -> dict[str, dict[str, float]]:
    """Return count, median and 95th percentile, of each kind and of all."""
    kinds = dict(tally.seconds)
    if len(kinds) > 1:
        kinds["all"] = [each for seconds in tally.seconds.values() for each in seconds]
    return {
        kind: {
            "count": len(seconds),
            "p50_seconds": round(float(np.percentile(seconds, 50)), 3),
            "p95_seconds": round(float(np.percentile(seconds, 95)), 3),
        }
        for kind, seconds in kinds.items()
    }


if __name__ == "__main__":
    run(main)
