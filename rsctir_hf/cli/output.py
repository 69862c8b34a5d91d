"""What commands print: results on standard output, hints and progress on standard error."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rsctir_hf.evaluation import RetrievalReport, library_versions, results_json
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.search.retriever import Hit, Retriever, Skipped


class Bar(tqdm):
    """A progress bar on standard error that is told (done, total)."""

    def __init__(self, title: str, *, unit: str = " pictures") -> None:
        super().__init__(desc=title, unit=unit, file=sys.stderr)

    def show(self, done: int, total: int) -> None:
        """Move the bar."""
        self.total = total or None
        self.update(done - self.n)


def write_report(report: RetrievalReport, file: Path | None) -> None:
    """Print a report as a table; with a file, write it there as JSON."""
    text = results_json(report.to_dict())
    if str(file) == "-":
        print(text, end="")
        return
    if file is not None:
        write_atomically(file, text)
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
    low, high = report.interval
    print(f"mR {low:.2f} to {high:.2f}: 95 % bootstrap interval over pictures")


def print_hits(
    hits: Sequence[Hit], retriever: Retriever, *, query: dict[str, Any], as_json: bool
) -> None:
    """Print hits as JSON or as one line each; hints go to standard error."""
    confident = retriever.is_confident(hits)
    if as_json:
        answer = {**query, **describe_retriever(retriever), "confident": confident}
        print(json.dumps({**answer, "hits": [asdict(hit) for hit in hits]}, indent=2))
        return
    if query["hint"]:
        print(query["hint"], file=sys.stderr)
    if not hits:
        print("No picture passes the filter.", file=sys.stderr)
    elif not confident:
        print("No confident match; the nearest are:", file=sys.stderr)
    for hit in hits:
        moved = "" if hit.rerank_score is None else f"  (was {hit.rank_before})"
        shown = "  ".join(part for part in (hit.path, place_of(hit), hit.caption) if part)
        print(f"{hit.rank:>3}  {hit.score:+.3f}  {in_one_line(shown)}{moved}")


def in_one_line(text: str) -> str:
    """Write control characters as escapes: names and captions may hold line breaks."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], text)


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
        "regions": made_by.regions,
        "detector": asdict(made_by.detector) if made_by.detector else None,
        "versions": library_versions(),
    }


def list_skipped(skipped: Sequence[Skipped]) -> None:
    """List on standard error which pictures were left out, and why."""
    for entry in skipped:
        print(f"skipped: {entry.reason}", file=sys.stderr)
