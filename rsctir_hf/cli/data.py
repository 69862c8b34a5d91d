"""``rsctir convert`` and ``leakage``: benchmarks as data sets, and what stands in them twice."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import typer

from rsctir_cli.commands import Convert, Leakage
from rsctir_hf.cli.output import json_text, print_result
from rsctir_hf.cli.sources import named_tables
from rsctir_hf.data.conversion import convert as convert_benchmark
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.publishing import push_benchmark
from rsctir_hf.errors import QueryError


def convert(asked: Convert) -> None:
    """Write a release to a folder, to the Hub, or to both."""
    if asked.output is None and asked.repo is None:
        raise QueryError("There is nowhere to write to. Give --output, --push, or both.")
    if asked.private and asked.repo is None:
        raise QueryError("--private is about --push. Leave it out, or say where to push to.")
    complete, result = not asked.partial, dict[str, Any]()
    say = (lambda said: None) if asked.as_json else print
    if asked.output is not None:
        written = convert_benchmark(
            asked.benchmark,
            asked.data,
            asked.output,
            format=asked.layout.value,
            images=asked.images,
            complete=complete,
        )
        say(f"{asked.output}: {count_pictures(written)}.")
        result |= {"output": str(asked.output), "pictures": written}
    if asked.repo is not None:
        pushed = push_benchmark(
            asked.benchmark,
            asked.data,
            asked.repo,
            private=asked.private,
            images=asked.images,
            complete=complete,
        )
        say(f"{asked.repo}: {count_pictures(pushed)}.")
        result |= {"repo": asked.repo, "pictures": pushed}
    if asked.as_json:
        print(json_text(result))


def count_pictures(counts: Mapping[str, int]) -> str:
    """Say how many pictures each split has."""
    return ", ".join(f"{split} {count}" for split, count in counts.items()) + " pictures"


def leakage(asked: Leakage) -> None:
    """Compare the pictures of all splits, and print those that stand in two."""
    tables = {name: table for data in asked.data for name, table in named_tables(data).items()}
    report = check_leakage(tables)
    print_result("\n".join(report.lines()), asdict(report), as_json=asked.as_json)
    if report.crossing:
        raise typer.Exit(1)
