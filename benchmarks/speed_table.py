"""What the speed measurements in ``results/`` say, as one table; ``results_table.py`` writes it.

Each figure is a ratio to a named peer or limit of the same run, except where a unit stands.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from report import RESULTS, read

from rsctir_hf.hub.card_tables import markdown_table

MODELS = ("cmpagl-rs", "galr-rs")
MILLION = "1000000"
#: Goals of the search that its results file does not hold: share of a bare product, recall and
#: times the exact rate.
EXACT_GOAL, RECALL_GOAL, HNSW_GOAL = 0.85, 0.98, 20

Row = tuple[str, str, str]  # what, measured, goal


def table(*, goals: bool) -> str:
    """Return the table, with or without what we had set ourselves before."""
    columns = ["What", "Measured", "Goal"][: 3 if goals else 2]
    return markdown_table(columns, [list(row[: len(columns)]) for row in rows()])


def rows() -> Iterator[Row]:
    """Yield what was measured, how it came out, and the goal."""
    yield from embedding_rows(results("embedding_speed"), results("scene_speed"))
    yield from search_rows(results("vector_search"), results("rerank_speed"))
    imported, started = results("import_time"), results("space_start")
    yield (
        "`import rsctir_hf`, over the libraries it stands on",
        f"{imported['over_seconds']:.2f} s",
        f"{imported['limit_seconds']:g} s",
    )
    limits = started["limits"]
    yield (
        "The app: first result after its start; memory at its peak",
        f"{started['seconds_after_start']['first_result']:.1f} s; "
        f"{started['memory_gb']['at_its_peak']:.2f} GB",
        f"{limits['first_result_seconds']:g} s; {limits['memory_gb']:g} GB",
    )
    found = results("onnx_export")["rows"]
    spans = {
        tower: [row["ratio"] for row in found if row["tower"] == tower]
        for tower in ("image", "text")
    }
    yield (
        "onnxruntime, times PyTorch (one thread)",
        f"{min(spans['image']):.1f} to {max(spans['image']):.1f} for pictures, "
        f"{min(spans['text']):.1f} to {max(spans['text']):.1f} for sentences",
        "none",
    )


def embedding_rows(embedded: Mapping[str, Any], scenes: Mapping[str, Any]) -> Iterator[Row]:
    """Yield how fast pictures and scenes become vectors."""
    ratios = {row["model"]: row["ratio"] for row in scenes["rows"]}
    yield (
        "Indexing JPEG files from plain Python, of the bare image tower with freed memory kept",
        by_model(embedded["of_the_bare_tower"]),
        f"{embedded['bare_target']:.2f}",
    )
    yield (
        "The same, times a CLIP ViT-B/32 of transformers",
        by_model(embedded["times_as_fast_as_clip"]),
        f"{embedded['clip_target']:g}",
    )
    yield (
        "The same, beside a process that keeps one processor busy",
        by_model(embedded["times_as_fast_as_clip_beside"]),
        "none",
    )
    yield (
        "Indexing JPEG files, times slower beside such a process",
        by_model(embedded["times_slower_beside"]),
        f"at most {embedded['beside_target']:g}",
    )
    yield (
        f"A scene of {scenes['side']:,} x {scenes['side']:,} px, of the bare image tower",
        by_model(ratios),
        f"{scenes['target']:.2f}",
    )


def search_rows(search: Mapping[str, Any], rerank: Mapping[str, Any]) -> Iterator[Row]:
    """Yield how fast a million vectors are searched and candidates reordered."""
    bare = search["exact_against_bare"][MILLION]
    exact, hnsw = (search["rows"][f"{engine}/clustered/{MILLION}"] for engine in ("exact", "hnsw"))
    alone, together = (
        hnsw[rate] / exact[rate] for rate in ("queries_per_second", "queries_per_second_64")
    )
    yield (
        "Exact search over a million vectors, of a bare product and `topk`",
        f"{bare['batch_1']['ratio']:.2f}, 64 at once {bare['batch_64']['ratio']:.2f}",
        f"{EXACT_GOAL:g}",
    )
    yield (
        "HNSW over a million: recall@10, and times the exact rate",
        f"{hnsw['recall']:.3f}; {alone:.0f}, 64 at once {together:.0f}",
        f"{RECALL_GOAL:g}; {HNSW_GOAL}",
    )
    times = rerank["mr_times_as_fast"]
    yield (
        f"MR on {rerank['pictures']:,} x {rerank['captions']:,}, times the released loops",
        f"{times['paper']:.0f}, as released {times['released']:.0f}",
        f"{rerank['mr_target']:.0f}",
    )
    yield (
        "SMR, in softmax passes",
        f"{rerank['smr_softmax_passes']:.2f}",
        f"at most {rerank['smr_target']:.0f}",
    )


def results(name: str) -> Any:  # noqa: ANN401 - JSON
    """Return a results file."""
    return read(RESULTS / f"{name}.json")


def by_model(values: Mapping[str, float]) -> str:
    """Return the figures of both shipped models in one cell."""
    return ", ".join(f"{values[name]:.2f} `{name}`" for name in MODELS)
