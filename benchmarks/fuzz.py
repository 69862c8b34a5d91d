"""Hostile input by machine: whatever comes, it works or is refused in our own words.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py

Over 10,000 spoilt files, odd values and forged requests are pushed through every door that a
stranger or a damaged disk could reach: pictures, rasters, caption files, recipes, indexes,
embeddings, model folders, results files, the command line and every event of the app. hypothesis
makes them from one seed. An input is accepted, or refused by one of our errors (an exit code with
words, a notice), within ``SECONDS`` and ``MEGABYTES``; anything else is a finding, counted once for
each kind of exception and place. Each group of doors is a process of its own, so that one that
dies is a finding as well.

On tiny models of random weights, offline. Takes about four minutes on one core and writes
``results/fuzz.json``; ends with an error if anything was found.
"""

import argparse
import json
import logging
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from fuzz_doors import door_targets
from fuzz_pictures import picture_targets
from fuzz_stores import store_targets
from fuzz_targets import MEGABYTES, ROOT, SECONDS, Tally, Target, run_target
from fuzz_texts import text_targets
from huggingface_hub import constants
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from rsctir_hf.evaluation import library_versions

SEED = 0
GROUPS: Mapping[str, Callable[[Path], list[Target]]] = {
    "pictures": picture_targets,
    "texts": text_targets,
    "stores": store_targets,
    "doors": door_targets,
}
_HANGS_AFTER = 120.0  # seconds without a sign of life from a group
_ROOM = 6 * 2**30  # bytes that a group may reserve; beyond that it gets a MemoryError


def main(arguments: Sequence[str]) -> None:
    """Push, count, print and write."""
    parser = argparse.ArgumentParser(description="Hostile input through every door.")
    parser.add_argument("--share", type=float, default=1.0, help="of the inputs of a full run")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "fuzz.json")
    options = parser.parse_args(arguments)
    quieten()
    began = time.monotonic()
    tallies: dict[str, Tally] = {}
    for group in GROUPS:
        tallies |= run_group(group, share=options.share, seed=options.seed)
    found = {
        "seed": options.seed,
        "inputs": sum(tally.inputs for tally in tallies.values()),
        "seconds": round(time.monotonic() - began, 1),
        "limits": {"seconds": SECONDS, "megabytes": MEGABYTES},
        "targets": {name: described(tally) for name, tally in tallies.items()},
        "settings": {
            "machine": platform.machine(),
            "versions": library_versions() | {"hypothesis": version("hypothesis")},
        },
    }
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, tally in tallies.items():
        print(
            f"{name}: {tally.inputs} inputs, {tally.accepted} accepted, {tally.refused} refused, "
            f"findings {len(tally.findings)}"
        )
    print(f"{found['inputs']} inputs in {found['seconds']} s")
    if any(tally.findings for tally in tallies.values()):
        raise SystemExit(f"There are findings; see {options.json}.")


def quieten() -> None:
    """Keep everybody's warnings off the screen, and everybody off the network."""
    torch.set_num_threads(1)  # a fork must not meet the threads of this process
    constants.HF_HUB_OFFLINE = True  # odd names are not to be asked for
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    transformers_logging.disable_progress_bar()


def described(tally: Tally) -> dict[str, Any]:
    """Return a tally as JSON."""
    return {**vars(tally), "slowest": round(tally.slowest, 2)}


def run_group(group: str, *, share: float, seed: int) -> dict[str, Tally]:
    """Run a group in a process of its own and watch over it."""
    here, there = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=work, args=(group, share, seed, there)
    )
    child.start()
    there.close()
    tallies: dict[str, Tally] = {}
    name, bar = f"{group}: before the first input", tqdm(unit="input", desc=group)
    try:
        while here.poll(_HANGS_AFTER):
            message = here.recv()
            if isinstance(message, Tally):
                tallies[name] = message
            elif isinstance(message, str):
                name = message
                bar.set_description(name)
            else:
                bar.update()
        child.kill()
        note_end(tallies, name, "the process hangs")
    except EOFError:
        child.join()
        if child.exitcode:
            note_end(tallies, name, f"the process died with {child.exitcode}")
    finally:
        bar.close()
    return tallies


def note_end(tallies: dict[str, Tally], name: str, how: str) -> None:
    """Count the end of a process as a finding of the target that was at work."""
    tallies.setdefault(name, Tally()).note(how, name, "run again with the same seed to see")


def work(group: str, share: float, seed: int, reports: Connection) -> None:
    """Run the targets of a group; report names, inputs and tallies."""
    silence()
    with tempfile.TemporaryDirectory() as folder:
        for target in GROUPS[group](Path(folder)):
            reports.send(target.name)
            count = max(round(target.count * share), 1)
            tally = run_target(target, count=count, seed=seed, told=lambda: reports.send(None))
            reports.send(without(folder, tally))


def silence() -> None:
    """Send the output of this process nowhere, and bound its memory."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + _ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))


def without(folder: str, tally: Tally) -> Tally:
    """Return a tally that does not name the folder of the run."""
    for finding in tally.findings.values():
        for key in ("input", "said"):
            finding[key] = finding[key].replace(folder, "...")
    return tally


if __name__ == "__main__":
    main(sys.argv[1:])
