"""Options that several commands share, and the words that some of them take."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Rerank(StrEnum):
    """How the order by cosine is changed."""

    NONE = "none"
    SMR = "smr"
    MR = "mr"
    MATCH = "match"


class Layout(StrEnum):
    """What ``convert`` writes."""

    IMAGEFOLDER = "imagefolder"
    PARQUET = "parquet"


Model = Annotated[str, typer.Option("--model", help="Model folder or Hub id.")]
Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that model or detector brings.")
]
Device = Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, mps.")]
Bank = Annotated[
    Path | None,
    typer.Option(help="Caption bank, a sentence a line. Default: the one that ships."),
]
RerankOption = Annotated[Rerank, typer.Option(help="none, smr (our reading), mr or match.")]
TopK = Annotated[int, typer.Option("--top-k", help="How many hits.")]
RegionsOption = Annotated[
    str, typer.Option("--regions", help="model, none, or a detector: its folder or Hub id.")
]
Threshold = Annotated[
    float | None, typer.Option(help="Least score of a detector's region, 0 to 1.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a model on the Hub. Default: main.")
]
