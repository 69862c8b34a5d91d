"""Options of a search that learns from marked hits, and keeps what it learnt as a concept."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

mark_option = partial(typer.Option, rich_help_panel="Marks and concepts")


class Marked(StrEnum):
    """What becomes of marked pictures in an answer."""

    OUT = "out"
    FIRST = "first"


@dataclass(frozen=True, kw_only=True)
class WithMarks:
    """Which hits were good or bad, and which concept is looked for or saved."""

    good: Annotated[
        list[str] | None,
        mark_option(metavar="PATH", help="A hit that is right; repeatable. Or a picture of yours."),
    ] = None
    bad: Annotated[
        list[str] | None, mark_option(metavar="PATH", help="A hit that is wrong; repeatable.")
    ] = None
    concept: Annotated[
        Path | None,
        mark_option(help="File of a concept: look for it, or go on with it where more is marked."),
    ] = None
    save_concept: Annotated[
        Path | None, mark_option("--save-concept", help="Keep what was learnt in this file.")
    ] = None
    marked: Annotated[
        Marked | None,
        mark_option(
            help="Leave marked pictures out, or put the good ones first. Default: out while "
            "you mark, first for a concept that was saved.",
        ),
    ] = None
    remake: Annotated[
        bool,
        mark_option(
            "--remake", help="Make a concept of another model anew, from its marked pictures."
        ),
    ] = False
    also: Annotated[
        list[str] | None,
        mark_option("--also", metavar="INDEX", help="Search this index too; repeatable."),
    ] = None
