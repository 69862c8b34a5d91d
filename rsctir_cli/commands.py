"""The commands of ``rsctir`` as records: a field is an option, the docstring is the help.

Defaults and choices are those of the package, which is not loaded here; a test compares them.
"""

from dataclasses import dataclass
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


# Options of a kind stand together in --help.
model_option = partial(typer.Option, rich_help_panel="Model")
tile_option = partial(typer.Option, rich_help_panel="Tiles")

Model = Annotated[str, model_option("--model", help="Model folder or Hub id.")]
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
RerankOption = Annotated[Rerank, typer.Option(help="none, smr (our reading), mr or match.")]
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
Words = Annotated[str | None, typer.Option(help="Words to search by.")]
Picture = Annotated[Path | None, typer.Option(help="Picture to search by.")]
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
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]


@dataclass(frozen=True, kw_only=True)
class WithModel:
    """Which model, which regions of a picture it looks at, and where it runs."""

    model: Model
    regions: Annotated[
        str, model_option(help="model, none, or a detector: its folder or Hub id.")
    ] = "model"
    threshold: Threshold = None
    revision: Annotated[
        str | None, model_option(help="Branch, tag or commit of a model on the Hub. Default: main.")
    ] = None
    device: Device = "cpu"
    trust: Trust = False


@dataclass(frozen=True, kw_only=True)
class WithTiles:
    """How rasters are cut into tiles."""

    tile: Annotated[int, tile_option(help="Pixels a side of a tile as the model sees it.")] = 224
    overlap: Annotated[float, tile_option(help="Share of a tile that the next one covers too.")] = (
        0.25
    )
    gsd: Annotated[
        float | None, tile_option(help="Metres a pixel of the raster. Default: its own word.")
    ] = None
    bands: Annotated[
        str | None, tile_option(help="One or three bands from 1, red first, such as 4,3,2.")
    ] = None
    nodata: Annotated[
        str | None,
        tile_option(help="Value of pixels without data; 'none': all are data. Default: found out."),
    ] = None
    crs: Annotated[
        str | None,
        tile_option(help="Reference system, such as EPSG:32632. Default: the raster's own word."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Evaluate(WithModel):
    """Score a model on a captioned data set: R@1, R@5, R@10 both ways, and their mean mR."""

    data: Annotated[
        str,
        typer.Option(help="Folder or Hub id of a captioned data set, or 'sample' (drawn scenes)."),
    ]
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test"
    benchmark: Annotated[
        str | None,
        typer.Option(help="ucm, rsicd, rsitmd or sydney: read --data as this benchmark."),
    ] = None
    rerank: RerankOption = Rerank.NONE
    temperature: Annotated[float | None, typer.Option(help="Of SMR. Default: the model's.")] = None
    bank: Bank = None
    symmetries: Symmetries = 1
    workers: Workers = None
    output: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None
    seed: Annotated[
        int | None, typer.Option(help="Of the model's training, recorded; nothing is drawn here.")
    ] = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Embed(WithModel):
    """Embed pictures; run again after a stop or a change, and only what is new is embedded.

    Started by 'accelerate launch' or 'torchrun', the processes share the pictures.
    """

    images: Annotated[
        str, typer.Option(help="Folder of pictures, Hub id of a data set, or 'sample'.")
    ]
    output: Annotated[Path, typer.Option(help="Folder of the embeddings; run again to go on.")]
    split: Annotated[str, typer.Option(help="Of a data set on the Hub.")] = "train"
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Pictures per forward pass. Default: 4 on a CPU, 64 elsewhere."),
    ] = None
    workers: Workers = None
    dtype: Annotated[
        StoredAs, typer.Option(help="Stored numbers; float16 takes half the space.")
    ] = StoredAs.FLOAT32
    symmetries: Symmetries = 1
    rebuild: Rebuild = False
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Index(WithModel, WithTiles):
    """Embed pictures, or the tiles of rasters, to be searched; run again, only new ones are."""

    images: Annotated[
        str | None,
        typer.Option(
            help="Folder of pictures, or 'sample'. What a metadata.jsonl beside them says of each "
            "goes along."
        ),
    ] = None
    rasters: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of georeferenced rasters instead, whose tiles are indexed; or a raster, "
            "an address (https://, s3://, zip://), or a .txt file of them; repeatable."
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option("--output", "--index", help="Folder of the index; run again to go on."),
    ] = None
    engine: Annotated[
        str,
        typer.Option(
            help="exact, hnsw, or the server that keeps the index: postgresql://... or, of Milvus, "
            "http://... or FILE.db."
        ),
    ] = "exact"
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the vectors, so that only new pictures are embedded. Default: "
            "that of --output, where each is kept once."
        ),
    ] = None
    rebuild: Rebuild = False
    workers: Workers = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """Search an index by words, by a picture, or by both."""

    place: Annotated[
        str,
        typer.Option("--index", help="What 'rsctir index' or 'embed' wrote; a server's URI."),
    ]
    text: Words = None
    image: Picture = None
    top_k: TopK = 5
    rerank: RerankOption = Rerank.NONE
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Only pictures whose metadata say so; repeat a name to allow several values.",
        ),
    ] = None
    bbox: Annotated[
        str | None,
        typer.Option(
            metavar="MIN_LON,MIN_LAT,MAX_LON,MAX_LAT",
            help="Only pictures that touch this box, in degrees.",
        ),
    ] = None
    bank: Bank = None
    images: Annotated[
        str | None, typer.Option(help="Where the pictures lie now, if they moved.")
    ] = None
    output: Annotated[Path | None, typer.Option(help="GeoJSON file of the hits, for any GIS.")] = (
        None
    )
    as_json: AsJson = False
    model: Annotated[
        str | None, model_option(help="Where the index's model lies now, if it moved.")
    ] = None
    regions: Annotated[
        str | None,
        model_option(help="Where the index's detector lies now, if it moved. Others are refused."),
    ] = None
    threshold: Threshold = None
    device: Device = "cpu"
    trust: Trust = False


@dataclass(frozen=True, kw_only=True)
class Caption(WithModel):
    """Find the sentences of a caption bank that suit a picture best."""

    image: Annotated[Path, typer.Option(help="The picture.")]
    bank: Bank = None
    top_k: TopK = 5
    rerank: Annotated[Rerank, typer.Option(help="none or match.")] = Rerank.NONE
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Scene(WithModel, WithTiles):
    """Search a georeferenced raster; the hits become a GeoJSON file for any GIS."""

    raster: Annotated[
        str,
        typer.Option(
            help="GeoTIFF or another raster that GDAL reads: a file, https://, s3://, zip://, ..."
        ),
    ]
    output: Annotated[Path, typer.Option(help="GeoJSON file of the hits.")]
    text: Words = None
    image: Picture = None
    heatmap: Annotated[Path | None, typer.Option(help="GeoTIFF of the scores.")] = None
    top_k: TopK = 20
    rerank: RerankOption = Rerank.NONE
    bank: Bank = None
    workers: Workers = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Turn a benchmark's release into an imagefolder or Parquet files, here or on the Hub."""

    benchmark: Annotated[str, typer.Option(help="ucm, rsicd, rsitmd or sydney.")]
    data: Annotated[str, typer.Option(help="Release folder, caption file or Hub id.")]
    output: Annotated[Path | None, typer.Option(help="A new folder to write to.")] = None
    repo: Annotated[
        str | None,
        typer.Option("--push", help="OWNER/NAME of a data set on the Hub to push to (Parquet)."),
    ] = None
    private: Private = False
    images: Annotated[Path | None, typer.Option(help="Folder of the release's pictures.")] = None
    layout: Annotated[Layout, typer.Option("--format", help="What to write.")] = Layout.IMAGEFOLDER
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept a release that is not complete.")
    ] = False
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Look for pictures that stand in two splits or data sets; exit code 1 if there are any."""

    data: Annotated[
        list[str],
        typer.Argument(
            metavar="[BENCHMARK=]DATA[:SPLIT]...",
            help="Folders, Hub ids or 'sample'; without :SPLIT all splits of each.",
        ),
    ]
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Card:
    """Write a model folder's README.md, LICENSE and .eval_results from its results files."""

    model: Annotated[Path, typer.Option(help="Model folder with results.json.")]
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A further results file, such as evaluate --output wrote; repeatable."),
    ] = None
    name: Annotated[
        str | None, typer.Option(help="Name in the card, OWNER/NAME. Default: the folder's.")
    ] = None
    template: Annotated[
        Path | None, typer.Option(help="Default: model_cards/FAMILY.md of the repository.")
    ] = None
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="BENCHMARK=OWNER/NAME: where a data set lies on the Hub; repeatable."),
    ] = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Push:
    """Upload a model folder to the Hugging Face Hub, as it stands."""

    model: Annotated[Path, typer.Option(help="Model folder.")]
    repo: Annotated[str, typer.Option(help="OWNER/NAME on the Hub.")]
    private: Private = False
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class DeploySpace:
    """Upload what the demo needs, from a checkout, to a Space; the Space is made if need be."""

    repo: Annotated[str, typer.Option(help="OWNER/NAME of the Space.")]
    private: Private = False
    hardware: Annotated[
        str | None, typer.Option(help="cpu-basic, t4-small, ... Default: as it is.")
    ] = None
    variables: Annotated[
        list[str] | None,
        typer.Option(help="Environment variable KEY=VALUE of the Space; repeatable."),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files with their sizes; upload nothing.")
    ] = False
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class ImportClip:
    """Make a model folder of RemoteCLIP, GeoRSCLIP or other weights in open_clip's format."""

    weights: Annotated[
        Path, typer.Option(help="open_clip's .pt or .safetensors, such as RemoteCLIP-ViT-B-32.pt.")
    ]
    output: NewFolder
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or Hub id of CLIP's tokenizer. Default: one made of --vocabulary."
        ),
    ] = None
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="bpe_simple_vocab_16e6.txt.gz. Default: that beside the weights or of the package "
            "open_clip_torch; where there is none, openai/clip-vit-base-patch32 is asked for."
        ),
    ] = None
    activation: Annotated[
        Activation | None,
        typer.Option(help="Default: quick_gelu, as OpenAI's weights; gelu for towers above ViT-L."),
    ] = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write both towers of a model as files that run without PyTorch."""

    model: Model
    output: NewFolder
    form: Annotated[Format, typer.Option("--format", help="onnx.")] = Format.ONNX
    trust: Trust = False
    as_json: AsJson = False
