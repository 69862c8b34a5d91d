"""Commands around a search: what an index can be filtered by, what is kept of its answers."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rsctir_cli.options import After, AsJson, Before, Box, HitsForm, Output, Where


@dataclass(frozen=True, kw_only=True)
class Facets:
    """List what an index can be filtered by: each column with its values and their counts."""

    place: Annotated[
        str,
        typer.Option("--index", help="What 'rsctir index' or 'embed' wrote; a server's URI."),
    ]
    where: Where = None
    bbox: Box = None
    after: After = None
    before: Before = None
    values: Annotated[int, typer.Option(min=0, help="Of each column, the most frequent.")] = 20
    as_json: AsJson = False


class Deed(StrEnum):
    """What is done with a collection."""

    LIST = "list"
    NOTE = "note"
    REMOVE = "remove"
    UNDO = "undo"
    REDO = "redo"
    MERGE = "merge"
    EXPORT = "export"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Look at, change or export a collection; 'rsctir search --collect FILE' adds to it."""

    deed: Annotated[Deed, typer.Argument(help="What to do.")]
    file: Annotated[Path, typer.Argument(help="The collection.")]
    picture: Annotated[
        list[str] | None,
        typer.Option(help="Of note and remove: path or file name, as listed; repeatable."),
    ] = None
    note: Annotated[str | None, typer.Option(help="Of note: the words; '' takes it away.")] = None
    other: Annotated[
        list[Path] | None, typer.Option(help="Of merge: another collection; repeatable.")
    ] = None
    output: Output = None
    form: HitsForm = None
    as_json: AsJson = False
