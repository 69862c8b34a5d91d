"""Turn the evaluation reports in ``results/`` into the tables of the README.

    python benchmarks/results_table.py            # print them
    python benchmarks/results_table.py --write    # put them between the README's two markers

A report is what ``rsctir evaluate --json results/NAME.json`` writes; files of several seeds of a
model, such as ``results/cmpagl-ucm-seed0_test_smr_sym8.json``, become one row. Validation reports
come from the records of training runs, ``results/runs/NAME.json``, and where there is none from a
checkpoint's ``results.json``. A file in ``results/`` without ``mR`` is another kind of measurement
and is left out. Model cards are filled by ``rsctir_hf.hub``.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from readme_block import write_block

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.metrics import RECALL_AT, bootstrap_interval

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- results:begin -->"  # the README's two markers
END = "<!-- results:end -->"
NO_RESULTS = "No results yet: write one with `rsctir evaluate ... --json results/NAME.json`."
CELLS = tuple(f"{way}_R@{k}" for way in ("i2t", "t2i") for k in RECALL_AT)
COLUMNS = ["Model", "Rerank", "Views", "Seeds"]
COLUMNS += [
    f"{way} R@{'/'.join(map(str, RECALL_AT))}" for way in ("Picture to text", "Text to picture")
]
COLUMNS += ["mR", "95 % interval", "caption-aware", "live", "Source"]
EVERY_CELL = ["Model", "Seed", "Rerank", "Views", *CELLS, "mR", "95 % interval"]
EVERY_CELL += ["stable order", "caption-aware", "live", "Source"]
RERANKS = {"none": "none", "smr": "SMR", "mr": "MR", "match": "match"}  # in the tables' order
SEED_SUFFIX = re.compile(r"-seed(\d+)")
NONE = "–"  # noqa: RUF001 - a dash for an empty cell

#: What is at hand of a benchmark, where that is not the release.
PARTS = {"rsicd": "RSICD (AID subset, 150 px)"}
RSICD_CAVEAT = (
    "Published rows: the full RSICD test split, 1,093 pictures of 224 px. They and ours cannot be "
    "compared one to one."
)


@dataclass(frozen=True)
class Published:
    """A row of somebody else's table.

    Attributes:
        method: as the source calls it.
        recalls: image-to-text R@1, 5, 10, then text-to-image R@1, 5, 10, percent.
        mean: mR as printed by the source, percent.
        source: where it stands.
    """

    method: str
    recalls: tuple[float, float, float, float, float, float]
    mean: float
    source: str


AMFMN = "AMFMN paper, table II; PE-RSITR repository"
PE = "PE-RSITR repository"
REMOTE = "RemoteCLIP repository, table 2"
BOTH = "PE-RSITR repository; RemoteCLIP repository, table 2"
KAMCL = "KAMCL repository, figure"

#: UCM-Captions test, 210 pictures, 1,050 captions; as printed, how ties are ranked is not stated.
PUBLISHED_UCM = (
    Published("CLIP B/32, zero-shot", (10.95, 34.76, 55.71, 7.33, 35.14, 54.57), 33.08, PE),
    Published("VSE++", (12.38, 44.76, 65.71, 10.10, 31.80, 56.85), 36.93, AMFMN),
    Published("LW-MCR(b)", (12.38, 43.81, 59.52, 12.00, 46.38, 72.48), 41.10, PE),
    Published("CAMP-triplet", (10.95, 44.29, 65.71, 9.90, 46.19, 76.29), 42.22, AMFMN),
    Published("SCAN i2t", (12.85, 47.14, 69.52, 12.48, 46.86, 71.71), 43.43, AMFMN),
    Published("MTFN", (10.47, 47.62, 64.29, 14.19, 52.38, 78.95), 44.65, AMFMN),
    Published("SCAN t2i", (14.29, 45.71, 67.62, 12.76, 50.38, 77.24), 44.67, AMFMN),
    Published("LW-MCR(d)", (15.24, 51.90, 62.86, 11.90, 50.95, 75.24), 44.68, PE),
    Published("LW-MCR(u)", (18.10, 47.14, 63.81, 13.14, 50.38, 79.52), 45.35, BOTH),
    Published("AMFMN-sim", (14.76, 49.52, 68.10, 13.43, 51.81, 76.48), 45.68, AMFMN),
    Published("AMFMN-soft", (12.86, 51.90, 66.67, 14.19, 51.71, 78.48), 45.97, AMFMN),
    Published("AMFMN-fusion", (16.67, 45.71, 68.57, 12.86, 53.24, 79.43), 46.08, AMFMN),
    Published("CABIR", (15.17, 45.71, 72.85, 12.67, 54.19, 89.23), 48.30, PE),
    Published("RemoteCLIP RN50", (13.33, 50.48, 74.76, 15.24, 57.14, 84.57), 49.25, REMOTE),
    Published("CLIP B/32, fine-tuned", (17.14, 55.24, 79.52, 13.90, 56.95, 91.81), 52.43, PE),
    Published("Rahhal et al.", (19.04, 53.33, 77.61, 19.33, 64.00, 91.42), 54.12, BOTH),
    Published("RemoteCLIP L/14", (19.05, 54.29, 80.95, 17.71, 62.19, 93.90), 54.68, REMOTE),
    Published("CLIP-CL B/32 (RET-3)", (20.00, 55.24, 80.95, 18.19, 64.86, 92.38), 55.27, REMOTE),
    Published("PE-RSITR", (22.71, 55.81, 80.33, 18.82, 62.84, 93.72), 55.71, PE),
    Published("RemoteCLIP B/32", (20.48, 59.85, 83.33, 18.67, 61.52, 94.29), 56.36, REMOTE),
)

#: RSICD test, 1,093 pictures: dual encoders without CLIP weights, and two that start from them.
PUBLISHED_RSICD = (
    Published("GaLR", (6.50, 18.91, 29.70, 5.11, 19.57, 31.92), 18.62, "GaLR repository, figure"),
    Published(
        "KAMCL, ResNet-18",
        (9.24, 22.51, 36.23, 6.70, 24.13, 39.14),
        23.26,
        f"{KAMCL} (its six cells average 22.99)",
    ),
    Published(
        "Swin-T + BERT, PIR's baseline",
        (10.52, 25.07, 36.78, 6.11, 23.64, 38.28),
        23.40,
        "PIR repository",
    ),
    Published("PIR", (9.88, 27.26, 39.16, 6.97, 24.56, 38.92), 24.46, "PIR repository"),
    Published("KAMCL, ResNet-50", (12.08, 27.26, 38.70, 8.65, 27.43, 42.51), 26.10, KAMCL),
    Published("CLIP B/32, fine-tuned", (13.54, 30.83, 43.46, 11.55, 33.14, 49.83), 30.39, PE),
    Published("RemoteCLIP B/32", (17.02, 37.97, 51.51, 13.71, 37.11, 54.25), 35.26, REMOTE),
)


@dataclass(frozen=True)
class Report:
    """An evaluation report and the file it stands in."""

    file: str
    values: Mapping[str, Any]

    @property
    def data(self) -> tuple[bool, str, str, int, int, int]:
        """What was evaluated on, as the tables are ordered: the drawn scenes come last.

        Two parts of a benchmark, of different size, are two data sets.
        """
        name = Path(self.values["data"]).name
        counts = (self.values[key] for key in ("images", "captions", "distinct_captions"))
        return (name == "sample", name, self.values["split"], *counts)

    @property
    def row(self) -> tuple[str, int, int]:
        """Model without its seed, place of the rerank in ``RERANKS``, views of each picture."""
        model = SEED_SUFFIX.sub("", Path(self.values["model"]).name)
        # Results files of before symmetries were averaged do not name them.
        return model, [*RERANKS].index(self.values["rerank"]), self.values.get("symmetries", 1)

    @property
    def regions(self) -> tuple[Any, ...]:
        """What regions were used: name, and of a detector its weights, threshold and number."""
        # Results files of before detectors were recorded do not name one.
        detector = self.values.get("detector") or {}
        keys = ("fingerprint", "threshold", "max_regions")
        return self.values.get("regions"), *(detector.get(key) for key in keys)

    @property
    def seed(self) -> int | None:
        """Seed of the training run; None where neither report nor model name says it."""
        named = SEED_SUFFIX.search(Path(self.values["model"]).name)
        said = self.values.get("seed")
        return int(named[1]) if said is None and named else said

    def beside(self, name: str) -> float | None:
        """MR of another way to count, None where the report has none."""
        return (self.values.get(name) or {}).get("mR")


def read_reports(root: Path) -> list[Report]:
    """Read every report of a checkout, in the order of the tables.

    Raises:
        json.JSONDecodeError: a file is no JSON.
        KeyError: a report without model, data, split or counts.
        ValueError: two reports of one seed of a model on the same data, an unknown rerank, or
            seeds of one model with different regions.
    """
    scored = [Report(*found) for found in read_files(root, "results/*.json") if "mR" in found[1]]
    scored += validation_reports(root, "results/runs/*.json")
    kept: dict[tuple[Any, ...], Report] = {}
    for report in scored:
        same = kept.setdefault((report.data, report.row, report.seed), report)
        if same is not report:
            raise ValueError(
                f"{same.file} and {report.file} both report {report.row} of seed {report.seed} on "
                f"{report.data[1]} {report.data[2]}. Keep one, or give each its own seed or model."
            )
    for report in validation_reports(root, "checkpoints/*/results.json"):
        kept.setdefault((report.data, report.row, report.seed), report)
    check_regions(kept.values())
    return sorted(
        kept.values(), key=lambda report: (report.data, report.row, report.seed or 0, report.file)
    )


def check_regions(reports: Iterable[Report]) -> None:
    """Refuse seeds of one row that used different regions: their mean would mean nothing.

    Raises:
        ValueError: names two such files.
    """
    first: dict[tuple[Any, ...], Report] = {}
    for report in reports:
        other = first.setdefault((report.data, report.row), report)
        if other.regions != report.regions:
            raise ValueError(
                f"{other.file} and {report.file} are seeds of one row, but with regions "
                f"{other.regions} and {report.regions}. Give each kind of regions its own model "
                "name."
            )


def validation_reports(root: Path, pattern: str) -> list[Report]:
    """Read the retrieval reports of the training records that match ``pattern``."""
    return [
        Report(file, values)
        for file, record in read_files(root, pattern)
        for values in record.get("validation", ())
        if "metrics" not in values  # a detector's; retrieval's stand beside its names
    ]


def read_files(root: Path, pattern: str) -> list[tuple[str, dict[str, Any]]]:
    """Read JSON objects below ``root``, with their paths from there."""
    return [
        (path.relative_to(root).as_posix(), values)
        for path in sorted(root.glob(pattern))
        if isinstance(values := json.loads(path.read_text(encoding="utf-8")), dict)
    ]


def tables(reports: Sequence[Report]) -> str:
    """Return a Markdown table for each data set and split, published rows below ours.

    Under each stands, folded away, a table of every cell of every seed.
    """
    if not reports:
        return NO_RESULTS
    parts = []
    for (_, data, split, *counts), found in groupby(reports, key=lambda report: report.data):
        here = list(found)
        name = f"{data_title(data, split, counts[0])}, {split}"
        name = "Drawn scenes" if data == "sample" else name
        published, caveat = published_rows(data, split)
        rows = [group_cells(list(seeds)) for _, seeds in groupby(here, key=lambda r: r.row)]
        rows += [published_cells(row) for row in published]
        parts += [
            "**{}**: {:,} pictures, {:,} captions ({:,} different)".format(name, *counts),
            markdown_table(COLUMNS, rows),
            *([caveat] if caveat else []),
            f"<details><summary>Every single cell: {name}</summary>",
            markdown_table(EVERY_CELL, [every_cell(report) for report in here]),
            "</details>",
        ]
    return "\n\n".join(parts)


def data_title(data: str, split: str, images: int) -> str:
    """Name of a benchmark as in papers, or of the part that is at hand; others keep theirs."""
    if data not in BENCHMARKS:
        return data
    whole = images == BENCHMARKS[data].images.get(split)
    title = BENCHMARKS[data].title
    return title if whole else PARTS.get(data, f"{title} (part)")


def published_rows(data: str, split: str) -> tuple[tuple[Published, ...], str]:
    """Published rows that belong under a table, and what to say of them."""
    if "ucm" in data.lower() and split == "test":
        return PUBLISHED_UCM, ""
    if "rsicd" in data.lower() and split != "train":
        return PUBLISHED_RSICD, RSICD_CAVEAT
    return (), ""


def group_cells(group: Sequence[Report]) -> list[str]:
    """Cells of our row for the seeds of one model: means, and of mR the spread over seeds.

    The spread is the sample standard deviation; one seed has none.
    """
    model, rerank, views = group[0].row
    means = [fmean(report.values[cell] for report in group) for cell in CELLS]
    half = len(RECALL_AT)
    mean_recalls = [report.values["mR"] for report in group]
    spread = f" ± {stdev(mean_recalls):.2f}" if len(group) > 1 else ""
    files = dict.fromkeys(SEED_SUFFIX.sub("-seed*", report.file) for report in group)
    return [
        model,
        [*RERANKS.values()][rerank],
        str(views),
        str(len(group)),
        recalls(means[:half]),
        recalls(means[half:]),
        f"**{fmean(mean_recalls):.2f}**{spread}",
        interval_cell(group),
        mean_cell([report.beside("caption_aware") for report in group]),
        mean_cell([report.beside("bank_metrics") for report in group]),
        ", ".join(f"`{file}`" for file in files),
    ]


def every_cell(report: Report) -> list[str]:
    """Cells of one report, two decimals each."""
    model, rerank, views = report.row
    beside = ("metrics_stable", "caption_aware", "bank_metrics")
    return [
        model,
        NONE if report.seed is None else str(report.seed),
        [*RERANKS.values()][rerank],
        str(views),
        *(f"{report.values[cell]:.2f}" for cell in (*CELLS, "mR")),
        interval_cell([report]),
        *(mean_cell([report.beside(name)]) for name in beside),
        f"`{report.file}`",
    ]


def interval_cell(group: Sequence[Report]) -> str:
    """Bootstrap interval over pictures of the seeds' mean mR; a dash for old results files."""
    tables = [report.values.get("per_image") for report in group]
    if None in tables:
        return NONE
    if len(group) == 1:
        low, high = group[0].values["interval"]
    else:
        captions = torch.tensor(group[0].values["caption_counts"])
        low, high = bootstrap_interval(torch.tensor(tables, dtype=torch.float64), captions)
    return f"{low:.1f} to {high:.1f}"


def mean_cell(values: Sequence[float | None]) -> str:
    """Mean of percentages, a dash where one is missing."""
    known = [value for value in values if value is not None]
    return f"{fmean(known):.2f}" if len(known) == len(values) else NONE


def published_cells(row: Published) -> list[str]:
    """Cells of a published row, in italics; what it does not say is a dash."""
    half = len(RECALL_AT)
    own = [recalls(row.recalls[:half]), recalls(row.recalls[half:]), f"{row.mean:.2f}"]
    return [f"*{row.method}*", *[NONE] * 3, *own, *[NONE] * 3, row.source]


def recalls(values: Iterable[float]) -> str:
    """Several percentages in one cell."""
    return " / ".join(f"{value:.1f}" for value in values)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown of ``rows`` under ``columns``."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str]) -> None:
    """Print the tables, or write them into the README."""
    parser = argparse.ArgumentParser(description="Tables from the reports in results/.")
    parser.add_argument("--write", action="store_true", help="replace the block in README.md")
    block = tables(read_reports(ROOT))
    if parser.parse_args(arguments).write:
        write_block(ROOT / "README.md", block, begin=BEGIN, end=END)
    else:
        print(block)


if __name__ == "__main__":
    main(sys.argv[1:])
