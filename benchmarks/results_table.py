"""Turn the evaluation reports in ``results/`` into the tables of the README.

    python benchmarks/results_table.py            # print them
    python benchmarks/results_table.py --write    # put them between the README's two markers

A report is what ``rsctir evaluate --json results/NAME.json`` writes; a file without ``mR`` is
another kind of measurement and is left out. Model cards are filled by ``rsctir_hf.hub``.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.metrics import RECALL_AT

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- results:begin -->"  # the README's two markers
END = "<!-- results:end -->"
NO_RESULTS = "No results yet: write one with `rsctir evaluate ... --json results/NAME.json`."
COLUMNS = (
    "Model",
    "Rerank",
    f"Picture to text R@{'/'.join(map(str, RECALL_AT))}",
    f"Text to picture R@{'/'.join(map(str, RECALL_AT))}",
    "mR",
    "stable order",
    "caption-aware",
    "live",
    "Source",
)
NONE = "–"  # noqa: RUF001 - a dash for an empty cell


@dataclass(frozen=True)
class PublishedRow:
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


#: UCM-Captions test, 210 pictures, 1,050 captions; as printed, how ties are ranked is not stated.
PUBLISHED_UCM = (
    PublishedRow(
        "AMFMN-fusion",
        (16.67, 45.71, 68.57, 12.86, 53.24, 79.43),
        46.08,
        "AMFMN paper, table II",
    ),
    PublishedRow(
        "CABIR",
        (15.17, 45.71, 72.85, 12.67, 54.19, 89.23),
        48.30,
        "PE-RSITR repository",
    ),
    PublishedRow(
        "CLIP B/32, zero-shot",
        (10.95, 34.76, 55.71, 7.33, 35.14, 54.57),
        33.08,
        "PE-RSITR repository",
    ),
    PublishedRow(
        "CLIP B/32, fine-tuned",
        (17.14, 55.24, 79.52, 13.90, 56.95, 91.81),
        52.43,
        "PE-RSITR repository",
    ),
    PublishedRow(
        "PE-RSITR",
        (22.71, 55.81, 80.33, 18.82, 62.84, 93.72),
        55.71,
        "PE-RSITR repository",
    ),
    PublishedRow(
        "RemoteCLIP B/32",
        (20.48, 59.85, 83.33, 18.67, 61.52, 94.29),
        56.36,
        "RemoteCLIP repository, table 2",
    ),
)


@dataclass(frozen=True)
class Report:
    """An evaluation report and the file it stands in."""

    file: str
    values: Mapping[str, Any]

    @property
    def model(self) -> str:
        """Last part of the model's id or folder."""
        return Path(self.values["model"]).name

    @property
    def data(self) -> tuple[str, str]:
        """Data set and split."""
        return Path(self.values["data"]).name, self.values["split"]


def read_reports(folder: Path) -> list[Report]:
    """Read every report of ``folder``, ordered by data, model and file.

    Raises:
        json.JSONDecodeError: a file is no JSON.
        KeyError: a report without model, data or split.
    """
    reports = []
    for path in sorted(folder.glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and "mR" in values:
            reports.append(Report(f"{folder.name}/{path.name}", values))
    return sorted(
        reports,
        key=lambda report: (report.data[0] == "sample", report.data, report.model, report.file),
    )


def tables(reports: Sequence[Report]) -> str:
    """Return one Markdown table for each data set and split, published rows below ours."""
    if not reports:
        return NO_RESULTS
    parts = []
    for (data, split), group in groupby(reports, key=lambda report: report.data):
        found = list(group)
        counts = found[0].values
        name = "Drawn scenes" if data == "sample" else f"{data_title(data)}, {split}"
        title = (
            f"**{name}**: {counts['images']:,} pictures, {counts['captions']:,} captions "
            f"({counts['distinct_captions']:,} different)"
        )
        rows = [report_cells(report) for report in found]
        if "ucm" in data.lower() and split == "test":
            rows += [published_cells(row) for row in PUBLISHED_UCM]
        parts.append(f"{title}\n\n{markdown_table(rows)}")
    return "\n\n".join(parts)


def data_title(data: str) -> str:
    """Name of a benchmark as in papers; other data sets keep theirs."""
    return BENCHMARKS[data].title if data in BENCHMARKS else data


def report_cells(report: Report) -> list[str]:
    """Cells of one of our reports."""
    values = report.values
    rerank = {"smr": "SMR", "mr": "MR"}.get(values["rerank"], values["rerank"])
    beside = (values.get(key) for key in ("metrics_stable", "caption_aware", "bank_metrics"))
    return [
        report.model,
        rerank,
        recalls(values[f"i2t_R@{k}"] for k in RECALL_AT),
        recalls(values[f"t2i_R@{k}"] for k in RECALL_AT),
        f"**{values['mR']:.2f}**",
        *(f"{metrics['mR']:.2f}" if metrics else NONE for metrics in beside),
        f"`{report.file}`",
    ]


def published_cells(row: PublishedRow) -> list[str]:
    """Cells of a published row, in italics; what it does not say is a dash."""
    half = len(RECALL_AT)
    own = [recalls(row.recalls[:half]), recalls(row.recalls[half:]), f"{row.mean:.2f}"]
    return [f"*{row.method}*", NONE, *own, NONE, NONE, NONE, row.source]


def recalls(values: Iterable[float]) -> str:
    """Several percentages in one cell."""
    return " / ".join(f"{value:.1f}" for value in values)


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Markdown of ``rows`` under ``COLUMNS``."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_block(text: str, block: str) -> str:
    """Return ``text`` with ``block`` between the markers.

    Raises:
        ValueError: the markers do not stand there once each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise ValueError(f"Expected {BEGIN} and then {END}, once each.")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def main(arguments: Sequence[str]) -> None:
    """Print the tables, or write them into the README."""
    parser = argparse.ArgumentParser(description="Tables from the reports in results/.")
    parser.add_argument("--write", action="store_true", help="replace the block in README.md")
    block = tables(read_reports(ROOT / "results"))
    if parser.parse_args(arguments).write:
        readme = ROOT / "README.md"
        text = with_block(readme.read_text(encoding="utf-8"), block)
        readme.write_text(text, encoding="utf-8")
    else:
        print(block)


if __name__ == "__main__":
    main(sys.argv[1:])
