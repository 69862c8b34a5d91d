"""``rsctir index``, ``search`` and ``caption``: a gallery, and questions put to it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rsctir_hf.cli.options import (
    AsJson,
    Bands,
    Bank,
    Box,
    Device,
    Gsd,
    Model,
    Overlap,
    RegionsOption,
    Rerank,
    RerankOption,
    Revision,
    Threshold,
    Tile,
    TopK,
    Trust,
    Where,
)
from rsctir_hf.cli.output import Bar, list_skipped, print_hits
from rsctir_hf.cli.sources import picture_folder, query_hint, read_bank, read_filter
from rsctir_hf.embedding.provenance import own_regions, read_provenance
from rsctir_hf.embedding.records import picture_sources
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.geo.raster import read_bands
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.regions.proposer import MODEL_REGIONS
from rsctir_hf.scene import OVERLAP, TILE, index_rasters
from rsctir_hf.search.annotations import read_annotations
from rsctir_hf.search.retriever import EXACT_ENGINE, Retriever
from rsctir_hf.vector_index.opening import ENGINES, open_index, server_of
from rsctir_hf.vector_index.recall import measure_recall

RECALL_AT = 10
MEASURED_UP_TO = 100_000  # pictures; more take long to read back from a server


def index(  # noqa: PLR0913 - an argument is an option of the command
    model: Model,
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder of pictures, or 'sample'. What a metadata.jsonl beside them says of each "
            "goes along."
        ),
    ] = None,
    rasters: Annotated[
        Path | None,
        typer.Option(help="Folder of georeferenced rasters instead: their tiles are indexed."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--index", help="Where the index is written.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="exact, hnsw, or the server that keeps the index: postgresql://... or, of Milvus, "
            "http://... or FILE.db."
        ),
    ] = EXACT_ENGINE,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    gsd: Gsd = None,
    bands: Bands = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the vectors, so that only new pictures are embedded. Default: "
            "that of --index, where they are kept once."
        ),
    ] = None,
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    revision: Revision = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Embed pictures, or the tiles of rasters, to be searched; run again, only new ones are."""
    check_place(engine, folder)
    embeddings = embeddings or folder
    if (images is None) == (rasters is None):
        raise QueryError("Give one of --images and --rasters.")
    chosen_bands = read_bands(bands)
    chosen = choose_regions(regions, threshold, device=device, trust_remote_code=trust)
    retriever = Retriever.from_pretrained(
        model,
        device=device,
        trust_remote_code=trust,
        regions=chosen,
        engine=engine,
        revision=revision,
    )
    if images is not None:
        done = index_pictures(retriever, images, embeddings)
    else:
        cut = {"tile": tile, "overlap": overlap, "gsd": gsd, "bands": chosen_bands}
        done = index_tiles(retriever, rasters or Path(), embeddings, cut)
    if RECALL_AT < len(retriever) <= MEASURED_UP_TO:
        measure_recall(retriever.engine, top_k=RECALL_AT)
    if folder is not None:
        retriever.save(folder)
    print(f"{done} Kept in {retriever.engine.place}. Search: {retriever.engine.recall}.")


def index_pictures(retriever: Retriever, images: str, embeddings: Path | None) -> str:
    """Index a folder of pictures; return what was done, in words.

    Raises:
        DataLayoutError: none of them can be read.
    """
    pictures = picture_sources(picture_folder(images))
    known = read_annotations(picture_folder(images), pictures)
    with Bar("indexing") as bar:
        report = retriever.index(
            pictures,
            captions=known.captions,
            metadata=known.metadata,
            boxes=known.boxes,
            embeddings=embeddings,
            progress=bar.show,
        )
    list_skipped(report.skipped)
    if not report.indexed:
        raise DataLayoutError(f"None of the pictures in {images} can be read; see the list above.")
    return f"{report.indexed} pictures indexed, {len(report.skipped)} skipped."


def index_tiles(
    retriever: Retriever, rasters: Path, embeddings: Path | None, cut: Mapping[str, Any]
) -> str:
    """Index the tiles of a folder of rasters; return what was done, in words.

    Raises:
        DataLayoutError: none of them can be searched.
    """
    with Bar("indexing", unit=" tiles") as bar:
        report = index_rasters(retriever, rasters, embeddings=embeddings, progress=bar.show, **cut)
    list_skipped(report.skipped)
    for warning in report.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if not report.tiles:
        raise DataLayoutError(f"None of the rasters in {rasters} can be searched; see above.")
    return (
        f"{report.tiles} tiles of {report.rasters} rasters indexed, {len(report.skipped)} skipped."
    )


def search(  # noqa: PLR0913 - as above
    place: Annotated[
        str, typer.Option("--index", help="What 'rsctir index' wrote: a folder, or a server's URI.")
    ],
    text: Annotated[str | None, typer.Option(help="Words to search by.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to search by.")] = None,
    top_k: TopK = 5,
    rerank: RerankOption = Rerank.NONE,
    where: Where = None,
    bbox: Box = None,
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
    hint = query_hint(text, image)
    only = read_filter(where, bbox)
    opened = open_index(place, must_exist=True)
    made_with = read_provenance(opened.record, opened.place)
    if regions is None:
        found_by = made_with.detector
        regions = found_by.source if found_by else own_regions(made_with, opened.place)
    chosen = choose_regions(
        regions, threshold, like=made_with.detector, device=device, trust_remote_code=trust
    )
    retriever = Retriever.load(
        opened,
        model=model,
        images=images,
        device=device,
        trust_remote_code=trust,
        bank=read_bank(bank),
        regions=chosen,
    )
    query, beside = (image, None) if text is None else (text, image)
    hits = retriever.search(query, image=beside, top_k=top_k, rerank=rerank.value, only=only)
    asked = {"text": text, "image": str(image) if image else None, "rerank": rerank.value}
    print_hits(hits, retriever, query={**asked, "hint": hint}, as_json=as_json)


def caption(
    model: Model,
    image: Annotated[Path, typer.Option(help="The picture.")],
    bank: Bank = None,
    top_k: TopK = 5,
    rerank: Annotated[Rerank, typer.Option(help="none or match.")] = Rerank.NONE,
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    as_json: AsJson = False,
    revision: Revision = None,
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
        model,
        device=device,
        trust_remote_code=trust,
        bank=read_bank(bank),
        regions=chosen,
        revision=revision,
    )
    hits = retriever.caption_candidates(image, top_k=top_k, rerank=rerank.value)
    query = {"image": str(image), "rerank": rerank.value, "hint": None}
    print_hits(hits, retriever, query=query, as_json=as_json)


def check_place(engine: str, folder: Path | None) -> None:
    """Raise ``QueryError`` unless an index has exactly one place to live in."""
    if server_of(engine) is None and engine not in ENGINES:
        raise QueryError(
            f"The engine is {engine!r}; expected {', '.join(ENGINES)}, postgresql://..., "
            "http://... or FILE.db."
        )
    if folder is None and server_of(engine) is None:
        raise QueryError(f"The engine {engine} lives in memory: say where to save it, --index.")
    if folder is not None and server_of(engine) is not None:
        raise QueryError(
            "A server keeps this index, so there is no folder to write. Leave --index out here, "
            "and give the server's URI as --index of 'rsctir search'."
        )
