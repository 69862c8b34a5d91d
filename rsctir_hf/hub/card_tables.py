"""The figures of a model card: evaluation reports found in results files, as table and index.

There are two kinds of reports: those of retrieval (``evaluation.RetrievalReport``) and those of the
detector, whose ``metrics`` hold AP50.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.search.other_queries import RERANKS

DIRECTIONS = ("i2t", "t2i")
MEAN_AP = "mAP50"
RSOD = "rsod"
#: Sets that are no retrieval benchmarks: name -> title.
OTHER_SETS = {RSOD: "RSOD (subset)", "sample": "drawn scenes, a regression check"}


def evaluation_reports(results: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - parsed JSON
    """Yield every report in a results file, at any depth."""
    if isinstance(results, Mapping):
        if ("mR" in results and "rerank" in results) or is_detection(results):
            yield results
        else:
            for child in results.values():
                yield from evaluation_reports(child)
    elif isinstance(results, list):
        for child in results:
            yield from evaluation_reports(child)


def is_detection(report: Mapping[str, Any]) -> bool:
    """Tell whether a mapping is a report of the detector."""
    metrics = report.get("metrics")
    return isinstance(metrics, Mapping) and MEAN_AP in metrics


def report_key(report: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what two reports have in common of which only the later one counts."""
    rerank = None if is_detection(report) else rerank_title(report)
    return data_title(report), report.get("split"), rerank


def results_table(reports: Sequence[Mapping[str, Any]]) -> str:
    """Lay the reports of one model out as a Markdown table."""
    detection = is_detection(reports[0])
    return detection_table(reports) if detection else retrieval_table(reports)


def detection_table(reports: Sequence[Mapping[str, Any]]) -> str:
    """Lay reports of the detector out, one line each, percent with one decimal, test first."""
    names = list(reports[0]["metrics"])
    head, lines = ["data", "split", "pictures", *names], []
    for report in sorted(reports, key=lambda r: r.get("split") != "test"):
        figures = [f"{report['metrics'][name]:.1f}" for name in names]
        lines.append(
            [data_title(report), str(report.get("split", "")), str(report["pictures"]), *figures]
        )
    return markdown_table(head, lines)


def retrieval_table(reports: Sequence[Mapping[str, Any]]) -> str:
    """Lay reports of retrieval out as a Markdown table, one line each, percent with one decimal.

    The data sets come as in ``reports``, and of each the test split first, then by rerank. Behind
    mR stands its bootstrap interval, where a report has one; the last columns are mR as well.
    """
    keys = [*filter(is_recall, reports[0]), "mR"]
    head = ["data", "split", "rerank", "views", *keys, "stable order", "caption-aware", "live"]
    lines = []
    order = list(dict.fromkeys(str(report.get("data")) for report in reports))
    for report in sorted(
        reports,
        key=lambda r: (
            order.index(str(r.get("data"))),
            r.get("split") != "test",
            RERANKS.index(r["rerank"]),
            r.get("symmetries") or 1,
        ),
    ):
        others = [
            (report.get(name) or {}).get("mR")
            for name in ("metrics_stable", "caption_aware", "bank_metrics")
        ]
        figures = [*(report[key] for key in keys), *others]
        cells = ["" if value is None else f"{value:.1f}" for value in figures]
        if report.get("interval"):
            cells[keys.index("mR")] += " ({:.1f} to {:.1f})".format(*report["interval"])
        names = [data_title(report), str(report.get("split", "")), str(report["rerank"])]
        lines.append([*names, str(report.get("symmetries") or 1), *cells])
    return markdown_table(head, lines)


def before_after_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out what a run has recorded of the model it went on from, and of its result."""
    head = ["data", "split", "pictures", "mR before", "mR after", "change"]
    lines = []
    for row in rows:
        before, after = row["before"]["mR"], row["after"]["mR"]
        names = [data_title(row), str(row["split"]), str(row["images"])]
        lines.append([*names, f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}"])
    return markdown_table(head, lines)


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return Markdown of ``lines``, a list of cells each, under ``head``."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def model_index(report: Mapping[str, Any]) -> Iterator[EvalResult]:
    """Turn one report into entries of the model index."""
    if is_detection(report):
        task, rerank, figures = "Object detection", None, report["metrics"]
    else:
        task, rerank = "Image-text retrieval", rerank_title(report)
        figures = {key: report[key] for key in report if key == "mR" or is_recall(key)}
    for key, value in figures.items():
        yield EvalResult(
            task_type=task.lower().replace(" ", "-"),
            task_name=task,
            dataset_type=data_name(report),
            dataset_name=data_title(report),
            dataset_split=str(report.get("split") or "") or None,
            metric_type=key,
            metric_name=key if rerank in (None, "none") else f"{key}, rerank {rerank}",
            metric_value=round(value, 2),
            metric_config=rerank,
        )


def is_recall(key: str) -> bool:
    """Tell whether a report's key names a recall, such as ``i2t_R@1``."""
    return key.startswith(DIRECTIONS) and "R@" in key


def eval_result_entries(
    reports: Iterable[Mapping[str, Any]], hub_ids: Mapping[str, str]
) -> dict[str, list[EvalResultEntry]]:
    """Return entries of the Hub's ``.eval_results`` format: name of a benchmark -> its mR.

    A benchmark's page lists them beside those of other models, so a report counts only where its
    data set is on the Hub and the whole official split was scored.

    Args:
        reports: of retrieval.
        hub_ids: name of a benchmark -> id of its data set on the Hub.
    """
    entries: dict[str, list[EvalResultEntry]] = {}
    for report in reports:
        name, split = str(report.get("data")), str(report.get("split"))
        whole = BENCHMARKS[name].images.get(split) if name in BENCHMARKS else None
        if name not in hub_ids or not whole or report.get("images") != whole:
            continue
        entry = EvalResultEntry(
            dataset_id=hub_ids[name],
            task_id="default",
            value=round(report["mR"], 2),
            notes=f"mR in percent, {split} split, rerank {rerank_title(report)}",
        )
        entries.setdefault(name, []).append(entry)
    return entries


def data_title(report: Mapping[str, Any]) -> str:
    """Name a report's data set, and how much of the official split it is if not all.

    A path is own data, even where its last part is the name of a benchmark.
    """
    name = str(report.get("data") or "unknown")
    if name not in BENCHMARKS:
        return OTHER_SETS.get(name) or data_name(report)
    title, images = BENCHMARKS[name].title, report.get("images")
    official = BENCHMARKS[name].images.get(str(report.get("split")))
    if not official or images in (None, official):
        return title
    return f"{title}, {images:,} of {official:,} pictures"


def data_name(report: Mapping[str, Any]) -> str:
    """Return what a report calls its data set, of a path the last part, as no known set's name."""
    said = str(report.get("data") or "unknown")
    name = Path(said).name
    return f"{name} (own data)" if said != name and name in {*BENCHMARKS, *OTHER_SETS} else name


def rerank_title(report: Mapping[str, Any]) -> str:
    """Name a report's rerank, and over how many symmetries its pictures were averaged."""
    symmetries = report.get("symmetries") or 1
    return str(report["rerank"]) + (f", {symmetries} symmetries" if symmetries > 1 else "")
