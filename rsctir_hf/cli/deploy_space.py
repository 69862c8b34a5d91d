"""``rsctir deploy-space``: the demo on the Hugging Face Hub."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from rsctir_hf.cli.options import Private
from rsctir_hf.cli.sources import split_pair
from rsctir_hf.hub import space as spaces

_MEGABYTE = 1e6


def deploy_space(
    repo: Annotated[str, typer.Option(help="OWNER/NAME of the Space.")],
    private: Private = False,
    hardware: Annotated[
        str | None, typer.Option(help="cpu-basic, t4-small, ... Default: as it is.")
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option(help="Environment variable KEY=VALUE of the Space; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files with their sizes; upload nothing.")
    ] = False,
) -> None:
    """Upload what the demo needs, from a checkout, to a Space; the Space is made if need be."""
    given = dict(split_pair(each, empty=True) for each in variables or ())
    if dry_run:
        _list_files(spaces.space_parts(given))
    else:
        print(spaces.deploy_space(repo, variables=given, private=private, hardware=hardware))


def _list_files(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sizes = {
            name: (Path(folder) / name).stat().st_size for name in spaces.copy_space(folder, parts)
        }
    for name, size in sizes.items():
        print(f"{size:>12,}  {name}")
    print(f"{len(sizes)} files, {sum(sizes.values()) / _MEGABYTE:.1f} MB")
