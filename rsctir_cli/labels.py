"""Commands and options about labels of what pictures show."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rsctir_cli.option_groups import WithModel
from rsctir_cli.options import AsJson, Workers

label_option = partial(typer.Option, rich_help_panel="Labels")

LabelHead = Annotated[
    Path | None,
    label_option(
        "--label-head", help="Label head that is asked. Of a search by default the model's own."
    ),
]


@dataclass(frozen=True, kw_only=True)
class WithLabels:
    """Labels that are searched by."""

    labels: Annotated[
        str | None,
        label_option(
            metavar="LABELS",
            help="Search by what pictures show: 'ship and dock and not sand'; with or, brackets.",
        ),
    ] = None
    label_head: LabelHead = None


@dataclass(frozen=True, kw_only=True)
class FitLabels(WithModel):
    """Fit a label head on labelled pictures, for 'rsctir search --labels'; the model stays as is.

    Takes seconds once the pictures are embedded.
    """

    data: Annotated[
        str,
        typer.Option(
            help="Folder with multilabels.jsonl or a metadata.jsonl whose rows have labels (also "
            ".csv: a list in one cell, or a column of 0 and 1 for each)."
        ),
    ]
    output: Annotated[Path, typer.Option(help="File of the label head, .safetensors.")]
    split: Annotated[str, typer.Option(help="To fit on; all pictures where none is named.")] = (
        "train"
    )
    validation: Annotated[
        str,
        typer.Option(help="Split that chooses; where there is none, a tenth that is held out."),
    ] = "validation"
    seed: Annotated[int, typer.Option(help="Of weights, batches and what is held out.")] = 0
    workers: Workers = None
    as_json: AsJson = False
