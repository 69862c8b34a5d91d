"""What commands print: results on standard output, hints and progress on standard error."""

import json
import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub.utils import enable_progress_bars
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from rsctir_hf.errors import QueryError, StorageError
from rsctir_hf.evaluation import RetrievalReport, library_versions, results_json
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.search.confidence import Level
from rsctir_hf.search.retriever import Hit, Retriever, Skipped, confidence
from rsctir_hf.search.scene_labels import scene_in_words

#: What is said of hits whose best does not surely fit.
DOUBTS: dict[Level | None, str] = {
    Level.PERHAPS: "These may not be what was asked for.",
    Level.NOTHING: "No confident match.",
}

#: A bar appears only where a pass takes longer than this many seconds.
BAR_DELAY = 1.0
#: A pass that is to take more seconds than this says so at its beginning.
LONG_RUN = 90.0


class Bar(tqdm):
    """A progress bar on standard error that is told (done, total)."""

    def __init__(self, title: str, *, unit: str = " pictures") -> None:
        # One bar at a time, gone at its end, and none in a file or pipe.
        shown = {"disable": None, "leave": False, "delay": BAR_DELAY}
        super().__init__(desc=title, unit=unit, file=sys.stderr, **shown)
        self._title, self._unit = title, unit
        self._told: list[tuple[int, float]] = []  # the first two times: how much, and when

    def show(self, done: int, total: int) -> None:
        """Move the bar; say how much there is to do where it takes long, once that is known."""
        self.total = total or None
        self.update(done - self.n)
        if len(self._told) < 2:
            self._told.append((done, time.monotonic()))
            self._announce(total)

    def _announce(self, total: int) -> None:
        (first, began), (done, now) = self._told[0], self._told[-1]
        seconds = (total - done) * (now - began) / max(done - first, 1)
        if seconds > LONG_RUN:
            said = f"{self._title} {total:,}{self._unit}: about {seconds / 60:.0f} minutes."
            self.write(said, file=sys.stderr)


def quiet_libraries() -> None:
    """Switch off the progress bars of libraries: all in a file or pipe, else those of loading."""
    transformers_logging.disable_progress_bar()  # huggingface_hub's along with its own
    if sys.stderr.isatty():
        enable_progress_bars()


def print_result(said: str, result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what came out, in words or as JSON."""
    print(json_text(result) if as_json else said)


def json_text(result: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return indented JSON; what is no finite number, which JSON has no word for, is null."""
    return json.dumps(_finite(result), indent=2, allow_nan=False, default=str)


def _finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe_skipped(skipped: Sequence[Skipped]) -> list[dict[str, str]]:
    """Return what was left out, and why, for ``json_text``."""
    return [{"path": str(entry.path), "reason": entry.reason} for entry in skipped]


def write_report(report: RetrievalReport, file: Path | None, *, as_json: bool) -> None:
    """Print a report as a table or as JSON; with a file, write it there as JSON."""
    text = results_json(report.to_dict())
    if file is not None:
        write_atomically(file, text)
    if as_json:
        print(text, end="")
        return
    rows = [("metric", report.metrics), ("ties in file order", report.metrics_stable)]
    rows += [("caption-aware", report.caption_aware)]
    rows += [("t2i with the bank", report.bank_metrics)] if report.bank_metrics else []
    views = "" if report.symmetries == 1 else f", {report.symmetries} views of each picture"
    shown = f", regions {report.detector}" if report.detector else ""
    print(
        f"{report.images} pictures, {report.captions} captions, "
        f"rerank {report.rerank}{views}{shown}"
    )
    print(" " * 20 + "".join(f"{key:>9}" for key in report.metrics))
    for title, metrics in rows:
        print(f"{title:<20}" + "".join(f"{metrics[key]:9.2f}" for key in report.metrics))
    graded = ", ".join(f"{name} {value:.2f}" for name, value in report.graded.items())
    print(f"by likeness of the captions: {graded}")
    low, high = report.interval
    print(f"mR {low:.2f} to {high:.2f}: 95 % bootstrap interval over pictures")


def print_hits(
    hits: Sequence[Hit], retriever: Retriever, *, query: dict[str, Any], as_json: bool
) -> None:
    """Print hits as JSON or as one line each; hints go to standard error."""
    level = confidence(hits)
    if as_json:
        answer = {**query, **describe_retriever(retriever), "confidence": level}
        print(json_text({**answer, "hits": [asdict(hit) for hit in hits]}))
        return
    if query["hint"]:
        print(query["hint"], file=sys.stderr)
    if not hits:
        print("No picture passes the filter.", file=sys.stderr)
    elif said := DOUBTS.get(level):
        print(f"{said} The nearest are:", file=sys.stderr)
    for hit in hits:
        moved = "" if hit.rerank_score is None else f"  (was {hit.rank_before})"
        moved += "" if hit.merged == 1 else f"  (stands for {hit.merged})"
        parts = (hit.path, scene_in_words(hit.metadata), place_of(hit), hit.caption)
        shown = "  ".join(part for part in parts if part)
        print(f"{hit.rank:>3}  {hit.score:+.3f}  {in_one_line(shown)}{moved}")


def in_one_line(text: str) -> str:
    """Write control characters as escapes: names and captions may hold line breaks."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)


def place_of(hit: Hit) -> str:
    """Write longitude and latitude of the middle of a hit's box; empty where it has none."""
    if hit.box is None:
        return ""
    west, south, east, north = hit.box.parts[0].corners
    return f"{(west + east) / 2:.6f} {(south + north) / 2:.6f}"


def describe_retriever(retriever: Retriever) -> dict[str, Any]:
    """Return what decides the hits besides the query: model, revision, regions and versions."""
    made_by = retriever.encoder.made_by
    return {
        "model": made_by.model_id,
        "model_revision": made_by.model_revision or f"weights:{made_by.fingerprint}",
        "adapter": made_by.adapter,
        "regions": made_by.regions,
        "detector": asdict(made_by.detector) if made_by.detector else None,
        "versions": library_versions(),
    }


def refuse_overwriting(name: str, path: Path, *, read: Sequence[Path]) -> None:
    """Raise ``QueryError`` where a file, of an option ``name``, is another one of the command."""
    if path.resolve() in [each.resolve() for each in read]:
        raise QueryError(f"{name} {path} would be written over another file of this command.")


def check_writable(name: str, file: Path) -> None:
    """Raise ``StorageError`` where ``file``, of an option ``name``, could not be written.

    Folders that are missing are made when it is, so the nearest one that is there counts.
    """
    if file.is_dir():
        raise StorageError(f"{name} {file} is a folder. Give the name of a file.")
    nearest = next(folder for folder in file.resolve().parents if folder.exists())
    if not nearest.is_dir():
        raise StorageError(f"{name} {file} cannot be written: {nearest} is a file, not a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StorageError(f"{name} {file} cannot be written: {nearest} may not be written to.")


def list_skipped(skipped: Sequence[Skipped]) -> None:
    """List on standard error which pictures were left out, and why."""
    for entry in skipped:
        print(f"skipped: {in_one_line(entry.reason)}", file=sys.stderr)
