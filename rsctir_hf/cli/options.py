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
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only pictures whose metadata say so; repeat a name to allow several values.",
    ),
]
Box = Annotated[
    str | None,
    typer.Option(
        "--bbox",
        metavar="MIN_LON,MIN_LAT,MAX_LON,MAX_LAT",
        help="Only pictures that touch this box, in degrees.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a model on the Hub. Default: main.")
]
Tile = Annotated[int, typer.Option(help="Pixels a side of a tile as the model sees it.")]
Overlap = Annotated[float, typer.Option(help="Share of a tile that the next one covers too.")]
Gsd = Annotated[
    float | None, typer.Option(help="Metres a pixel of the raster. Default: its own word.")
]
Bands = Annotated[
    str | None, typer.Option(help="One or three bands from 1, red first, such as 4,3,2.")
]
