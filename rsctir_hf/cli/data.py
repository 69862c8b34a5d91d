"""``rsctir convert`` and ``leakage``: benchmarks as data sets, and what stands in them twice."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import typer

from rsctir_cli.commands import Convert, Leakage
from rsctir_hf.cli.output import json_text, print_result
from rsctir_hf.cli.sources import captioned_source, named_tables, owners_words
from rsctir_hf.data.conversion import convert as convert_benchmark
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.own_terms import OwnersWords
from rsctir_hf.data.publishing import push_benchmark, push_own
from rsctir_hf.errors import QueryError
from rsctir_hf.training.own_data import check_own_name, own_name


def convert(asked: Convert) -> None:
    """Write a release to a folder, to the Hub, or to both."""
    if asked.output is None and asked.repo is None:
        raise QueryError("There is nowhere to write to. Give --output, --push, or both.")
    if asked.private and asked.repo is None:
        raise QueryError("--private is about --push. Leave it out, or say where to push to.")
    said = owners_words(asked)
    if said and (asked.benchmark or asked.repo is None):
        raise QueryError(
            "--data_name, --data_licence and --data_source are for the card of own data that is "
            "pushed. Leave them out, or say where to push to, without --benchmark."
        )
    result = dict[str, Any]()
    say = (lambda said: None) if asked.as_json else print
    if asked.output is not None:
        written = convert_benchmark(
            asked.benchmark or "",
            asked.data if asked.benchmark else captioned_source(asked.data, asked),
            asked.output,
            format=asked.layout.value,
            images=asked.images,
            complete=not asked.partial,
        )
        say(f"{asked.output}: {count_pictures(written)}.")
        result |= {"output": str(asked.output), "pictures": written}
    if asked.repo is not None:
        pushed = _publish(asked, asked.repo, said)
        say(f"{asked.repo}: {count_pictures(pushed)}.")
        result |= {"repo": asked.repo, "pictures": pushed}
    if asked.as_json:
        print(json_text(result))


def _publish(asked: Convert, repo: str, said: OwnersWords) -> dict[str, int]:
    """Push a benchmark, or own data with what its owner says; return the pictures of each split."""
    if asked.benchmark:
        return push_benchmark(
            asked.benchmark,
            asked.data,
            repo,
            private=asked.private,
            images=asked.images,
            complete=not asked.partial,
        )
    source, name = captioned_source(asked.data, asked), said.name or own_name(asked.data)
    check_own_name(name)
    return push_own(source, repo, said=replace(said, name=name), private=asked.private)


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
