"""The command line: evaluate, index, search, caption, convert, leakage, card, push.

Results go to standard output, hints, progress and errors to standard error. An error the user can
do something about is one line and exit code 2.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from rsctir_hf import data as captioned
from rsctir_hf.data.formats import detect_format
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.tables import table_from_hub
from rsctir_hf.drawn import read_caption_bank, sample_folder
from rsctir_hf.errors import DataLayoutError, QueryError, RsctirError
from rsctir_hf.evaluation import (
    RetrievalReport,
    evaluate_retrieval,
    library_versions,
    results_json,
)
from rsctir_hf.gallery.embedding import detector_record, regions_name
from rsctir_hf.gallery.loading import load_dual_encoder
from rsctir_hf.gallery.manifest import own_regions, read_manifest
from rsctir_hf.hub import push_model, write_card
from rsctir_hf.protocols import MODEL_REGIONS
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.retriever import Hit, Retriever, Skipped, describe_query
from rsctir_hf.weights import weights_fingerprint

SAMPLE = "sample"  # the gallery drawn by our own code

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find remote-sensing pictures by words, and words for pictures.",
)


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


@app.command()
def evaluate(  # noqa: PLR0913 - an argument is an option of the command
    model: Model,
    data: Annotated[
        str,
        typer.Option(help="Folder or Hub id of a captioned data set, or 'sample' (drawn scenes)."),
    ],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    benchmark: Annotated[
        str | None,
        typer.Option(help="ucm, rsicd, rsitmd or sydney: read --data as this benchmark."),
    ] = None,
    rerank: RerankOption = Rerank.NONE,
    temperature: Annotated[float | None, typer.Option(help="Of SMR. Default: the model's.")] = None,
    bank: Bank = None,
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    symmetries: Annotated[
        int, typer.Option(help="8: average each picture's turned and mirrored views. Or 1.")
    ] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report here ('-': standard output).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the model's training, recorded; nothing is drawn here.")
    ] = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Score a model on a captioned data set: R@1, R@5, R@10 both ways, and their mean mR."""
    chosen = choose_regions(regions, threshold, device=device, trust_remote_code=trust)
    rows = open_rows(data, split=split, benchmark=benchmark)
    loaded = load_dual_encoder(model, device=device, trust_remote_code=trust)
    with Bar("embedding") as bar:
        report = evaluate_retrieval(
            loaded.model,
            loaded.processor,
            rows,
            rerank=rerank.value,
            temperature=temperature,
            bank=read_bank(bank) if rerank in (Rerank.SMR, Rerank.MR) else None,
            progress=bar.show,
            regions=chosen,
            symmetries=symmetries,
        )
    revision = loaded.revision or f"weights:{weights_fingerprint(loaded.model)}"
    named = report.with_source(
        model=model, model_revision=revision, data=benchmark or data, split=split, seed=seed
    )
    write_report(named, json_file)


@app.command()
def index(
    model: Model,
    images: Annotated[str, typer.Option(help="Folder of pictures, or 'sample'.")],
    folder: Annotated[Path, typer.Option("--index", help="Where the index is written.")],
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Embed a folder of pictures, so that it can be searched."""
    chosen = choose_regions(regions, threshold, device=device, trust_remote_code=trust)
    retriever = Retriever.from_pretrained(
        model, device=device, trust_remote_code=trust, regions=chosen
    )
    with Bar("indexing") as bar:
        report = retriever.index(picture_folder(images), progress=bar.show)
    list_skipped(report.skipped)
    if not report.indexed:
        raise DataLayoutError(f"None of the pictures in {images} can be read; see the list above.")
    retriever.save(folder)
    print(f"{report.indexed} pictures indexed in {folder}, {len(report.skipped)} skipped.")


@app.command()
def search(  # noqa: PLR0913 - as above
    folder: Annotated[Path, typer.Option("--index", help="What 'rsctir index' wrote.")],
    text: Annotated[str | None, typer.Option(help="Words to search by.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to search by.")] = None,
    top_k: TopK = 5,
    rerank: RerankOption = Rerank.NONE,
    bank: Bank = None,
    model: Annotated[
        str | None, typer.Option(help="Where the index's model lies now, if it moved.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Where the pictures lie now, if they moved.")
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(help="Where the index's detector lies now, if it moved. Others are refused."),
    ] = None,
    threshold: Threshold = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Search an index by words, by a picture, or by both."""
    if text is None and image is None:
        raise QueryError("There is no query. Give --text, --image, or both.")
    hint = None if text is None else describe_query(text)
    made_with = read_manifest(folder)
    if regions is None:
        found_by = made_with.detector
        regions = found_by.source if found_by else own_regions(made_with, folder)
    chosen = choose_regions(
        regions, threshold, like=made_with.detector, device=device, trust_remote_code=trust
    )
    retriever = Retriever.load(
        folder,
        model=model,
        images=images,
        device=device,
        trust_remote_code=trust,
        bank=read_bank(bank),
        regions=chosen,
    )
    hits = retriever.search(text=text, image=image, top_k=top_k, rerank=rerank.value)
    query = {"text": text, "image": str(image) if image else None, "rerank": rerank.value}
    print_hits(hits, retriever, query={**query, "hint": hint}, as_json=as_json)


@app.command()
def caption(
    model: Model,
    image: Annotated[Path, typer.Option(help="The picture.")],
    bank: Bank = None,
    top_k: TopK = 5,
    rerank: Annotated[Rerank, typer.Option(help="none or match.")] = Rerank.NONE,
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Find the sentences of a caption bank that suit a picture best."""
    if rerank in (Rerank.SMR, Rerank.MR):
        raise QueryError(
            f"rerank {rerank.value!r} of captions needs a gallery of other pictures, which this "
            "command has not. Use none or match, or Retriever.caption_candidates in Python."
        )
    chosen = choose_regions(regions, threshold, device=device, trust_remote_code=trust)
    retriever = Retriever.from_pretrained(
        model, device=device, trust_remote_code=trust, bank=read_bank(bank), regions=chosen
    )
    hits = retriever.caption_candidates(image, top_k=top_k, rerank=rerank.value)
    query = {"image": str(image), "rerank": rerank.value, "hint": None}
    print_hits(hits, retriever, query=query, as_json=as_json)


@app.command()
def convert(
    benchmark: Annotated[str, typer.Option(help="ucm, rsicd, rsitmd or sydney.")],
    data: Annotated[str, typer.Option(help="Release folder, caption file or Hub id.")],
    output: Annotated[Path, typer.Option(help="A new folder.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the release's pictures.")] = None,
    layout: Annotated[Layout, typer.Option("--format", help="What to write.")] = Layout.IMAGEFOLDER,
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept a release that is not complete.")
    ] = False,
) -> None:
    """Turn a benchmark's release into an imagefolder or Parquet files."""
    check_benchmark(benchmark)
    written = captioned.convert(
        benchmark, data, output, format=layout.value, images=images, complete=not partial
    )
    counts = ", ".join(f"{split} {count}" for split, count in written.items())
    print(f"{output}: {counts} pictures.")


@app.command()
def leakage(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="[BENCHMARK=]DATA[:SPLIT]...",
            help="Folders, Hub ids or 'sample'; without :SPLIT all splits of each.",
        ),
    ],
) -> None:
    """Look for pictures that stand in two splits or data sets; exit code 1 if there are any."""
    tables = {name: table for source in data for name, table in named_tables(source).items()}
    report = check_leakage(tables)
    print("\n".join(report.lines()))
    if report.crossing:
        raise typer.Exit(1)


@app.command()
def card(
    model: Annotated[Path, typer.Option("--model", help="Model folder with results.json.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A further results file, such as evaluate --json wrote; repeatable."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name in the card, OWNER/NAME. Default: the folder's."),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="Default: model_cards/FAMILY.md of the repository.")
    ] = None,
) -> None:
    """Write a model folder's README.md and LICENSE from its results files."""
    print(write_card(model, results=results or (), model_id=name, template=template))


@app.command()
def push(
    model: Annotated[Path, typer.Option("--model", help="Model folder.")],
    repo: Annotated[str, typer.Option(help="OWNER/NAME on the Hub.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
) -> None:
    """Upload a model folder to the Hugging Face Hub, as it stands."""
    print(push_model(model, repo, private=private, revision=revision))


class Bar:
    """A progress bar on standard error that is told (done, total)."""

    def __init__(self, title: str) -> None:
        self._bar = tqdm(desc=title, unit=" pictures", file=sys.stderr)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)


def open_rows(data: str, *, split: str, benchmark: str | None = None) -> Any:  # noqa: ANN401
    """Open a captioned data set: the drawn gallery, a benchmark, a folder or a Hub id."""
    if data == SAMPLE:
        folder = sample_folder()
        return captioned.load_captioned_folder(folder.parent, folder.name)
    if benchmark is not None:
        check_benchmark(benchmark)
        return captioned.load_benchmark(benchmark, data, split=split)
    path = Path(data).expanduser()
    if not path.exists():
        if path.is_absolute() or data.count("/") != 1:
            raise DataLayoutError(f"{data} is neither a folder nor a Hub id such as owner/name.")
        return table_from_hub(data, split)
    if (path / "metadata.jsonl").is_file():
        return captioned.load_captioned_folder(path.parent, path.name)
    if detect_format(path) in ("karpathy", "precomp"):
        raise DataLayoutError(
            f"{data} is a benchmark's release. Say which one: --benchmark "
            f"{' | '.join(captioned.NAMES)}."
        )
    return captioned.load_captioned_folder(path, split)


def named_tables(source: str) -> dict[str, Any]:
    """Open ``[BENCHMARK=]DATA[:SPLIT]``: one table by name, or one for each split there is."""
    benchmark, _, place = source.rpartition("=")
    data, _, split = place.rpartition(":")
    if not data or "/" in split or Path(place).expanduser().exists():
        data, split = place, ""
    if split or data == SAMPLE or (Path(data).expanduser() / "metadata.jsonl").is_file():
        return {source: open_rows(data, split=split, benchmark=benchmark or None)}
    return {
        f"{source}:{part}": open_rows(data, split=part, benchmark=benchmark or None)
        for part in captioned.available_splits(data)
    }


def check_benchmark(name: str) -> None:
    """Raise ``QueryError`` unless ``name`` is a known benchmark."""
    if name not in captioned.NAMES:
        raise QueryError(
            f"The benchmark is {name!r}; expected one of {', '.join(captioned.NAMES)}."
        )


def picture_folder(images: str) -> Path:
    """Return the folder a gallery argument means."""
    return sample_folder() if images == SAMPLE else Path(images).expanduser()


def read_bank(file: Path | None) -> Sequence[str]:
    """Return the sentences of ``file``, or of the bank that ships."""
    return read_caption_bank(file)


def write_report(report: RetrievalReport, file: Path | None) -> None:
    """Print a report as a table; with a file, write it there as JSON."""
    text = results_json(report.to_dict())
    if str(file) == "-":
        print(text, end="")
        return
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    rows = [("metric", report.metrics), ("ties in file order", report.metrics_stable)]
    rows += [("caption-aware", report.caption_aware)]
    rows += [("t2i with the bank", report.bank_metrics)] if report.bank_metrics else []
    views = "" if report.symmetries == 1 else f", {report.symmetries} views of each picture"
    shown = f", regions {report.detector}" if report.detector else ""
    print(
        f"{report.images} pictures, {report.captions} captions, "
        f"rerank {report.rerank}{views}{shown}"
    )
    print(" " * 20 + "".join(f"{key:>9}" for key in report.metrics))
    for title, metrics in rows:
        print(f"{title:<20}" + "".join(f"{metrics[key]:9.2f}" for key in report.metrics))
    low, high = report.interval
    print(f"mR {low:.2f} to {high:.2f}: 95 % bootstrap interval over pictures")


def print_hits(
    hits: Sequence[Hit], retriever: Retriever, *, query: dict[str, Any], as_json: bool
) -> None:
    """Print hits as JSON or as one line each; hints go to standard error."""
    confident = retriever.is_confident(hits)
    if as_json:
        answer = {**query, **describe_retriever(retriever), "confident": confident}
        print(json.dumps({**answer, "hits": [asdict(hit) for hit in hits]}, indent=2))
        return
    if query["hint"]:
        print(query["hint"], file=sys.stderr)
    if not confident:
        print("No confident match; the nearest are:", file=sys.stderr)
    for hit in hits:
        moved = "" if hit.rerank_score is None else f"  (was {hit.rank_before})"
        shown = "  ".join(part for part in (hit.path, hit.caption) if part)
        print(f"{hit.rank:>3}  {hit.score:+.3f}  {shown}{moved}")


def describe_retriever(retriever: Retriever) -> dict[str, Any]:
    """Return what decides the hits besides the query: model, revision, regions and versions."""
    detector = detector_record(retriever.model, retriever.regions)
    return {
        "model": retriever.model_id,
        "model_revision": retriever.revision or f"weights:{weights_fingerprint(retriever.model)}",
        "regions": regions_name(retriever.model, retriever.regions),
        "detector": asdict(detector) if detector else None,
        "versions": library_versions(),
    }


def list_skipped(skipped: Sequence[Skipped]) -> None:
    """List on standard error which pictures were left out, and why."""
    for entry in skipped:
        print(f"skipped: {entry.reason}", file=sys.stderr)


def main() -> None:
    """Run the command line; an error that was foreseen becomes one line and exit code 2."""
    try:
        app()
    except (RsctirError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
