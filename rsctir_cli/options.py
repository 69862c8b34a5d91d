"""The options that several commands share, and the choices that they offer."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


class Rerank(StrEnum):
    """How the order by cosine is changed."""

    NONE = "none"
    SMR = "smr"
    MR = "mr"
    MATCH = "match"
    FINE = "fine"


class Task(StrEnum):
    """What a model is scored on."""

    CAPTIONS = "captions"
    LABELS = "labels"


class Layout(StrEnum):
    """What ``convert`` writes."""

    IMAGEFOLDER = "imagefolder"
    PARQUET = "parquet"


class StoredAs(StrEnum):
    """How the numbers of an embedding are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


class Activation(StrEnum):
    """What stands between the two layers of a CLIP's feed-forward parts."""

    GELU = "gelu"
    QUICK_GELU = "quick_gelu"


class Format(StrEnum):
    """What ``export`` writes."""

    ONNX = "onnx"


class Fold(StrEnum):
    """Which hits are folded into better ones."""

    ALL = "all"
    TILES = "tiles"
    NONE = "none"


class HitsFormat(StrEnum):
    """What hits are written as."""

    GEOJSON = "geojson"
    CSV = "csv"
    GEOPARQUET = "geoparquet"
    HTML = "html"
    ZIP = "zip"
    JSON = "json"
    STAC = "stac"


# Options of a kind stand together in --help.
model_option = partial(typer.Option, rich_help_panel="Model")
data_option = partial(typer.Option, rich_help_panel="Data")
tile_option = partial(typer.Option, rich_help_panel="Tiles")

Model = Annotated[str, model_option("--model", help="Model folder or Hub id.")]
Adapter = Annotated[
    str | None,
    model_option(help="Folder or Hub id of an adapter (LoRA) that was trained in the model."),
]
Threshold = Annotated[
    float | None, model_option(help="Least score of a detector's region, 0 to 1.")
]
Device = Annotated[str, model_option(help="Where the model runs: cpu, cuda, mps.")]
Trust = Annotated[
    bool, model_option("--trust-remote-code", help="Run Python code that model or detector brings.")
]
Bank = Annotated[
    Path | None, typer.Option(help="Caption bank, a sentence a line. Default: the one that ships.")
]
RerankOption = Annotated[Rerank, typer.Option(help="none, smr (our reading), mr, match or fine.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Threads of one processor each that read and embed. Default: as many as there are "
        "processors to use.",
    ),
]
Symmetries = Annotated[
    int, typer.Option(help="8: average each picture's turned and mirrored views. Or 1.")
]
Words = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Words to search by; repeatable.")
]
Pictures = Annotated[
    list[Path] | None, typer.Option(metavar="PATH", help="Picture to search by; repeatable.")
]
Unwanted = Annotated[
    list[str] | None,
    typer.Option("--not", metavar="TEXT", help="Words for what hits should not show; repeatable."),
]
UnwantedPictures = Annotated[
    list[Path] | None,
    typer.Option("--not-image", metavar="PATH", help="Picture that hits should be unlike."),
]
Weights = Annotated[
    list[float] | None,
    typer.Option(
        metavar="NUMBER",
        help="How much the --text, --image, --not or --not-image before it counts. Default: 1.",
    ),
]
Rebuild = Annotated[
    bool,
    typer.Option(
        "--rebuild",
        help="Embed all again where another model, preprocessing or format made the folder; its "
        "index serves until the new one is whole.",
    ),
]
TopK = Annotated[int, typer.Option("--top-k", help="How many hits.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
NewFolder = Annotated[Path, typer.Option(help="A new folder.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Only pictures whose metadata say so; repeat a name to allow several values. Also "
        "'NAME>=LEAST', 'NAME<=MOST', and 'NAME~=PART' of a text.",
    ),
]
Box = Annotated[
    str | None,
    typer.Option(
        metavar="MIN_LON,MIN_LAT,MAX_LON,MAX_LAT",
        help="Only pictures that touch this box, in degrees.",
    ),
]
After = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Only pictures of this date or later: 2024, 2024-05-31."),
]
Before = Annotated[
    str | None, typer.Option(metavar="DATE", help="Only pictures of this date or earlier.")
]
Output = Annotated[
    Path | None,
    typer.Option(help="Write the pictures here: .geojson, .parquet, .csv, .html or .zip."),
]
HitsForm = Annotated[
    HitsFormat | None,
    typer.Option("--format", help="Of --output. Default: by its suffix; stac is a new folder."),
]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
