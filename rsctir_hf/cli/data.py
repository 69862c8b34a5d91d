"""``rsctir convert`` and ``leakage``: benchmarks as data sets, and what stands in them twice."""

from collections.abc import Mapping

import typer

from rsctir_cli.commands import Convert, Leakage
from rsctir_hf.cli.sources import named_tables
from rsctir_hf.data.conversion import convert as convert_benchmark
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.publishing import push_benchmark
from rsctir_hf.errors import QueryError


def convert(asked: Convert) -> None:
    """Write a release to a folder, to the Hub, or to both."""
    if asked.output is None and asked.repo is None:
        raise QueryError("There is nowhere to write to. Give --output, --push, or both.")
    complete = not asked.partial
    if asked.output is not None:
        written = convert_benchmark(
            asked.benchmark,
            asked.data,
            asked.output,
            format=asked.layout.value,
            images=asked.images,
            complete=complete,
        )
        print(f"{asked.output}: {count_pictures(written)}.")
    if asked.repo is not None:
        pushed = push_benchmark(
            asked.benchmark,
            asked.data,
            asked.repo,
            private=asked.private,
            images=asked.images,
            complete=complete,
        )
        print(f"{asked.repo}: {count_pictures(pushed)}.")


def count_pictures(counts: Mapping[str, int]) -> str:
    """Say how many pictures each split has."""
    return ", ".join(f"{split} {count}" for split, count in counts.items()) + " pictures"


def leakage(asked: Leakage) -> None:
    """Compare the pictures of all splits, and print those that stand in two."""
    tables = {name: table for data in asked.data for name, table in named_tables(data).items()}
    report = check_leakage(tables)
    print("\n".join(report.lines()))
    if report.crossing:
        raise typer.Exit(1)
