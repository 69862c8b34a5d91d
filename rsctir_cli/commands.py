"""The commands of ``rsctir`` as records: a field is an option, the docstring is the help.

Defaults and choices are those of the package, which is not loaded here; a test compares them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rsctir_cli.labels import LabelHead, WithLabels
from rsctir_cli.marks import WithMarks
from rsctir_cli.option_groups import WithColumns, WithModel, WithOwner, WithQuery, WithTiles
from rsctir_cli.options import (
    Activation,
    Adapter,
    After,
    AsJson,
    Bank,
    Before,
    Box,
    Device,
    Fold,
    Format,
    HitsForm,
    Layout,
    Model,
    NewFolder,
    Output,
    Private,
    Rebuild,
    Rerank,
    RerankOption,
    StoredAs,
    Symmetries,
    Task,
    Threshold,
    TopK,
    Trust,
    Where,
    Workers,
    model_option,
)


@dataclass(frozen=True, kw_only=True)
class Evaluate(WithModel, WithColumns):
    """Score a model on captions (R@1, R@5, R@10 both ways, their mean mR), or on labels (mAP)."""

    data: Annotated[
        str,
        typer.Option(
            help="Captioned data set: folder, table of captions, Parquet file, ..., or Hub id; or "
            "'sample' (drawn scenes)."
        ),
    ]
    split: Annotated[
        str,
        typer.Option(help="train, validation or test; all pictures where there are no splits."),
    ] = "test"
    benchmark: Annotated[
        str | None,
        typer.Option(help="ucm, rsicd, rsitmd or sydney: read --data as this benchmark."),
    ] = None
    task: Annotated[
        Task,
        typer.Option(
            help="captions; or labels: mAP of pictures found by the labels that --data, a folder "
            "with multilabels.jsonl, says they show."
        ),
    ] = Task.CAPTIONS
    label_head: LabelHead = None
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
    classes: Annotated[
        str | None,
        typer.Option(
            help="Names of scenes, 'harbor,airport,forest' or a .txt file with one a line: each "
            "picture gets the likeliest of them, which hits show and 'search --class' asks for. "
            "Default: those that the model was trained to tell apart, if any."
        ),
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
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens",
            help="Keep the patch tokens of each picture too, some 25 kB, for 'search --rerank "
            "fine'; an index that has none gets them.",
        ),
    ] = False
    rebuild: Rebuild = False
    workers: Workers = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Search(WithQuery, WithMarks, WithLabels):
    """Search an index by words and pictures, wanted or not, by labels, or by marked hits."""

    place: Annotated[
        str,
        typer.Option("--index", help="What 'rsctir index' or 'embed' wrote; a server's URI."),
    ]
    top_k: TopK = 5
    rerank: RerankOption = Rerank.NONE
    scenes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="Only pictures that the index holds for such a scene; repeatable."
        ),
    ] = None
    where: Where = None
    bbox: Box = None
    after: After = None
    before: Before = None
    bank: Bank = None
    images: Annotated[
        str | None, typer.Option(help="Where the pictures lie now, if they moved.")
    ] = None
    fold: Annotated[
        Fold,
        typer.Option(
            help="all: copies of a picture, and windows of a raster that overlap, are one hit; "
            "tiles: only windows are; none."
        ),
    ] = Fold.ALL
    output: Output = None
    form: HitsForm = None
    collect: Annotated[Path | None, typer.Option(help="A collection (JSON) that hits go to.")] = (
        None
    )
    pick: Annotated[str | None, typer.Option(help="Keep only hits such as 1,3-5.")] = None
    note: Annotated[str | None, typer.Option(help="A note on what is kept.")] = None
    heat: Annotated[
        Path | None,
        typer.Option(
            help="Folder for each hit under the query's heat map; --output and --json then place "
            "the thing, not the picture."
        ),
    ] = None
    link: Annotated[str | None, typer.Option(help="Ask again: '?text=a+pier&where=x%3D1'.")] = None
    as_json: AsJson = False
    model: Annotated[
        str | None, model_option(help="Where the index's model lies now, if it moved.")
    ] = None
    regions: Annotated[
        str | None,
        model_option(help="Where the index's detector lies now, if it moved. Others are refused."),
    ] = None
    threshold: Threshold = None
    adapter: Annotated[
        str | None, model_option(help="Where the index's adapter lies now, if it moved.")
    ] = None
    device: Device = "cpu"
    trust: Trust = False


@dataclass(frozen=True, kw_only=True)
class Caption(WithModel):
    """Find the sentences of a caption bank that suit a picture best."""

    image: Annotated[Path, typer.Option(help="The picture.")]
    bank: Bank = None
    top_k: TopK = 5
    rerank: Annotated[Rerank, typer.Option(help="none, match or fine.")] = Rerank.NONE
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Scene(WithModel, WithTiles, WithQuery):
    """Search a georeferenced raster; the hits become a GeoJSON file for any GIS."""

    raster: Annotated[
        str,
        typer.Option(
            help="GeoTIFF or another raster that GDAL reads: a file, https://, s3://, zip://, ..."
        ),
    ]
    output: Annotated[
        Path, typer.Option(help="File of the hits: .geojson, .parquet, .csv, .html or .zip.")
    ]
    form: HitsForm = None
    heatmap: Annotated[Path | None, typer.Option(help="GeoTIFF of the scores.")] = None
    things: Annotated[
        bool, typer.Option("--things", help="Outline the thing in each hit, not its tile.")
    ] = False
    top_k: TopK = 20
    rerank: RerankOption = Rerank.NONE
    bank: Bank = None
    workers: Workers = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Convert(WithColumns, WithOwner):
    """Turn a benchmark's release or own captions into an imagefolder or Parquet files."""

    benchmark: Annotated[
        str | None,
        typer.Option(help="ucm, rsicd, rsitmd or sydney; none: own captions in any layout."),
    ] = None
    data: Annotated[str, typer.Option(help="Release, own captions, or Hub id of a data set.")]
    output: Annotated[Path | None, typer.Option(help="A new folder to write to.")] = None
    repo: Annotated[
        str | None,
        typer.Option("--push", help="OWNER/NAME of a data set on the Hub to push to (Parquet)."),
    ] = None
    private: Private = False
    layout: Annotated[Layout, typer.Option("--format", help="What to write.")] = Layout.IMAGEFOLDER
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept a release that is not complete.")
    ] = False
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class AuditCaptions(WithModel, WithColumns):
    """List the captions that look wrong, worst first: a page with pictures, and a CSV."""

    data: Annotated[
        str,
        typer.Option(
            help="Captioned data set: folder, table of captions, Parquet file, ..., or Hub id; or "
            "'sample' (drawn scenes)."
        ),
    ]
    split: Annotated[
        str,
        typer.Option(help="train, validation or test; all pictures where there are no splits."),
    ] = "train"
    benchmark: Annotated[
        str | None,
        typer.Option(help="ucm, rsicd, rsitmd or sydney: read --data as this benchmark."),
    ] = None
    output: NewFolder = Path("caption_audit")
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
class Card(WithOwner):
    """Write a model folder's README.md, LICENSE and .eval_results from its results files.

    What is said here of own data goes into results.json as well, where the next card finds it.
    """

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
    adapter: Adapter = None
    form: Annotated[Format, typer.Option("--format", help="onnx.")] = Format.ONNX
    trust: Trust = False
    as_json: AsJson = False
