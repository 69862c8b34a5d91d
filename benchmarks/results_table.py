"""Turn what is in ``results/`` into the tables of README, docs and results documents.

    python benchmarks/results_table.py            # print those of the evaluation reports
    python benchmarks/results_table.py --write    # renew every document with tables

A report is what ``rsctir evaluate --output results/NAME.json`` writes; files of several seeds of a
model, such as ``results/cmpagl-ucm-seed0_test_smr_sym8.json``, become one row. Validation reports
come from the records of training runs, ``results/runs/NAME.json``, and where there is none from a
checkpoint's ``results.json``. A file in ``results/`` without ``mR`` is another kind of measurement
and is left out. Model cards are filled by ``rsctir_hf.hub.card``.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import deletion_test
import heat_pointing
import pointing_game
import proposal_recall
import speed_table
import torch
import vector_search
from ablations import SERIES as ABLATIONS
from methods import SERIES as METHODS
from published import Published, published_rows
from report import NONE, RESULTS, ROOT, flags, read, run, with_block
from rsod_scoring import scoring_of

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.metrics import RECALL_AT, bootstrap_interval

NO_RESULTS = "No results yet: write one with `rsctir evaluate ... --output results/NAME.json`."
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
HEADLINE_RERANKS = tuple([*RERANKS].index(name) for name in ("none", "smr"))

Chosen = Mapping[tuple[str, str], Sequence[str]]

#: Models of the headline, by data set and split.
MODELS: Chosen = {
    ("ucm", "test"): ("cmpagl-ucm", "cmpagl-rs", "galr-ucm", "galr-rs"),
    ("ucm", "validation"): ("cmpagl-ucm", "cmpagl-rs", "galr-ucm", "galr-rs"),
    ("rsicd", "validation"): ("cmpagl-rsicd", "cmpagl-rs", "galr-rsicd", "galr-rs"),
}
#: Published rows of the headline.
LANDMARKS = ["AMFMN-fusion", "CABIR", "CLIP B/32, fine-tuned", "PE-RSITR", "RemoteCLIP B/32"]
LANDMARKS += ["GaLR", "KAMCL, ResNet-50"]
#: What the README shows of these.
SHIPPED: Chosen = dict.fromkeys(
    (("ucm", "test"), ("rsicd", "validation")), ("cmpagl-rs", "galr-rs")
)
NEAREST = ["RemoteCLIP B/32"]
HEADLINE = ["Data", "Model", "Seeds", "mR", "95 % interval", "mR with SMR", "95 % interval"]

#: Goals set before the training: mR without rerank, with SMR.
GOALS: Mapping[tuple[str, str, str], tuple[float | None, float | None]] = {
    ("ucm", "test", "cmpagl-ucm"): (52.0, 54.0),
    ("ucm", "test", "galr-ucm"): (48.0, 50.0),
    ("rsicd", "validation", "cmpagl-rs"): (23.0, None),
    ("rsicd", "validation", "galr-rs"): (20.0, None),
}

#: What is at hand of a benchmark, where that is not the release.
PARTS = {"rsicd": "RSICD (AID subset, 150 px)"}


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


def headline(
    reports: Sequence[Report], models: Chosen = MODELS, landmarks: Sequence[str] = LANDMARKS
) -> str:
    """Return a table of ``models``, one view, without rerank and with SMR, and published rows."""
    rows = []
    for (data, split), names in models.items():
        here = [report for report in reports if report.data[1:3] == (data, split)]
        if not here:
            continue
        title = f"{data_title(data, split, here[0].data[3])}, {split}"
        for model in names:
            groups = headline_groups(here, model)
            if groups[0]:
                seeds = len({report.seed for report in here if report.row[0] == model})
                cells = [cell for group in groups for cell in headline_cells(group)]
                rows.append([title, f"`{model}`", str(seeds), *cells])
        published, _ = published_rows(data, split)
        title = f"{BENCHMARKS[data].title}, test"
        rows += [
            [title, f"*{row.method}*", NONE, f"{row.mean:.2f}", *[NONE] * 3]
            for row in published
            if row.method in landmarks
        ]
    return markdown_table(HEADLINE, rows) if rows else NO_RESULTS


def headline_groups(here: Iterable[Report], model: str) -> list[list[Report]]:
    """Return the seeds of a model, one view, without rerank and with SMR."""
    return [[r for r in here if r.row == (model, place, 1)] for place in HEADLINE_RERANKS]


def headline_cells(group: Sequence[Report]) -> list[str]:
    """Mean and spread, and interval, of one model and rerank."""
    return [mean_with_spread(group), interval_cell(group)] if group else [NONE] * 2


def goals_table(reports: Sequence[Report]) -> str:
    """Return a table of ``GOALS`` and whether each is met."""
    rows = []
    for (data, split, model), goals in GOALS.items():
        here = [report for report in reports if report.data[1:3] == (data, split)]
        for group, rerank, goal in zip(
            headline_groups(here, model), ("none", "SMR"), goals, strict=True
        ):
            if group and goal is not None:
                title = f"{data_title(data, split, group[0].data[3])}, {split}"
                met = "met" if fmean(report.values["mR"] for report in group) >= goal else "missed"
                rows.append(
                    [title, f"`{model}`", rerank, mean_with_spread(group), f"{goal:g}", met]
                )
    return markdown_table(["Data", "Model", "Rerank", "mR", "Goal", ""], rows)


def data_title(data: str, split: str, images: int) -> str:
    """Name of a benchmark as in papers, or of the part that is at hand; others keep theirs."""
    if data not in BENCHMARKS:
        return data
    whole = images == BENCHMARKS[data].images.get(split)
    title = BENCHMARKS[data].title
    return title if whole else PARTS.get(data, f"{title} (part)")


def group_cells(group: Sequence[Report]) -> list[str]:
    """Cells of our row for the seeds of one model: means, and of mR the spread over seeds."""
    model, rerank, views = group[0].row
    means = [fmean(report.values[cell] for report in group) for cell in CELLS]
    half = len(RECALL_AT)
    files = dict.fromkeys(SEED_SUFFIX.sub("-seed*", report.file) for report in group)
    return [
        model,
        [*RERANKS.values()][rerank],
        str(views),
        str(len(group)),
        recalls(means[:half]),
        recalls(means[half:]),
        mean_with_spread(group),
        interval_cell(group),
        mean_cell([report.beside("caption_aware") for report in group]),
        mean_cell([report.beside("bank_metrics") for report in group]),
        ", ".join(f"`{file}`" for file in files),
    ]


def mean_with_spread(group: Sequence[Report]) -> str:
    """Mean mR of the seeds of one model, and its sample standard deviation; one seed has none."""
    values = [report.values["mR"] for report in group]
    spread = f" ± {stdev(values):.2f}" if len(group) > 1 else ""
    return f"{fmean(values):.2f}{spread}"


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


def support_table(found: Mapping[str, Any]) -> str:
    """Return the table of the versions that were tried and how it went."""
    sets = ("oldest", "newest")
    rows = [
        [library, f"`{allowed}`", *(found[each]["versions"][library] for each in sets)]
        for library, allowed in found["ranges"].items()
    ]
    counts = [f"{found[each]['passed']:,} passed, {found[each]['failed']} failed" for each in sets]
    head = ["Package", "Allowed", "Oldest tried", "Newest tried"]
    return markdown_table(head, [*rows, ["the tests with these", "", *counts]])


def documents() -> dict[Path, str]:
    """Return the documents with tables as they ought to be, by file."""
    reports = read_reports(ROOT)
    games = [scoring_of(name, pointing_game.MEASURED) for name in pointing_game.MODELS]
    heats = [scoring_of(name, heat_pointing.MEASURED) for name in heat_pointing.MODELS]
    proposals = scoring_of(proposal_recall.MODEL, proposal_recall.MEASURED)
    blocks = {
        ROOT / "README.md": {"results": headline(reports, SHIPPED, NEAREST)},
        ROOT / "docs" / "results.md": {"results": headline(reports)},
        ROOT / "docs" / "engines.md": {
            "engines": vector_search.table(read(RESULTS / "vector_search.json"))
        },
        ROOT / "docs" / "speed.md": {"speed": speed_table.table(goals=False)},
        ROOT / "docs" / "versions.md": {"support": support_table(read(RESULTS / "versions.json"))},
        RESULTS / "GOALS.md": {
            "accuracy": goals_table(reports),
            "speed": speed_table.table(goals=True),
        },
        RESULTS / "TABLES.md": {"results": tables(reports)},
        RESULTS / "METHODS.md": {"methods": METHODS.table(METHODS.read_runs())},
        RESULTS / "ABLATIONS.md": {"ablations": ABLATIONS.table(ABLATIONS.read_runs())},
        RESULTS / "REGIONS.md": {
            "heat": heat_pointing.table(heats),
            "pointing": pointing_game.table(games),
            "deletion": deletion_test.table(read(deletion_test.FILE)),
            "proposals": proposal_recall.table(proposals),
        },
    }
    texts = {file: file.read_text(encoding="utf-8") for file in blocks}
    for file, of_file in blocks.items():
        for name, block in of_file.items():
            texts[file] = with_block(texts[file], name, block)
    return texts


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the reports, or write all tables into the documents."""
    parser = flags(__doc__)
    parser.add_argument("--write", action="store_true", help="renew the documents")
    if parser.parse_args(arguments).write:
        for file, text in documents().items():
            file.write_text(text, encoding="utf-8")
    else:
        reports = read_reports(ROOT)
        print(headline(reports), tables(reports), sep="\n\n")


if __name__ == "__main__":
    run(main)
