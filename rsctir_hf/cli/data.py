"""``rsctir convert`` and ``leakage``: benchmarks as data sets, and what stands in them twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from rsctir_hf.cli.options import Layout, Private
from rsctir_hf.cli.sources import check_benchmark, named_tables
from rsctir_hf.data.conversion import convert as convert_benchmark
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.publishing import push_benchmark
from rsctir_hf.errors import QueryError


def convert(
    benchmark: Annotated[str, typer.Option(help="ucm, rsicd, rsitmd or sydney.")],
    data: Annotated[str, typer.Option(help="Release folder, caption file or Hub id.")],
    output: Annotated[Path | None, typer.Option(help="A new folder to write to.")] = None,
    repo: Annotated[
        str | None,
        typer.Option("--push", help="OWNER/NAME of a data set on the Hub to push to (Parquet)."),
    ] = None,
    private: Private = False,
    images: Annotated[Path | None, typer.Option(help="Folder of the release's pictures.")] = None,
    layout: Annotated[Layout, typer.Option("--format", help="What to write.")] = Layout.IMAGEFOLDER,
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept a release that is not complete.")
    ] = False,
) -> None:
    """Turn a benchmark's release into an imagefolder or Parquet files, here or on the Hub."""
    check_benchmark(benchmark)
    if output is None and repo is None:
        raise QueryError("There is nowhere to write to. Give --output, --push, or both.")
    if output is not None:
        written = convert_benchmark(
            benchmark, data, output, format=layout.value, images=images, complete=not partial
        )
        print(f"{output}: {count_pictures(written)}.")
    if repo is not None:
        pushed = push_benchmark(
            benchmark, data, repo, private=private, images=images, complete=not partial
        )
        print(f"{repo}: {count_pictures(pushed)}.")


def count_pictures(counts: Mapping[str, int]) -> str:
    """Say how many pictures each split has."""
    return ", ".join(f"{split} {count}" for split, count in counts.items()) + " pictures"


def leakage(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="[BENCHMARK=]DATA[:SPLIT]...",
            help="Folders, Hub ids or 'sample'; without :SPLIT all splits of each.",
        ),
    ],
) -> None:
    """Look for pictures that stand in two splits or data sets; exit code 1 if there are any."""
    tables = {name: table for source in data for name, table in named_tables(source).items()}
    report = check_leakage(tables)
    print("\n".join(report.lines()))
    if report.crossing:
        raise typer.Exit(1)
