"""``rsctir index``: a gallery of pictures, or of the tiles of rasters, to be searched."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rsctir_cli.commands import Index
from rsctir_cli.option_groups import WithTiles
from rsctir_hf.cli.output import Bar, describe_skipped, in_one_line, list_skipped, print_result
from rsctir_hf.cli.scene import reading_options
from rsctir_hf.cli.sources import load_options, picture_folder, read_names
from rsctir_hf.embedding.records import picture_sources
from rsctir_hf.embedding.store import start_rebuild
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.scene import index_rasters
from rsctir_hf.search.annotations import read_annotations
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.search.scene_labels import SceneLabels
from rsctir_hf.vector_index.opening import ENGINES, server_of
from rsctir_hf.vector_index.recall import measure_recall

RECALL_AT = 10
MEASURED_UP_TO = 100_000  # pictures; more take long to read back from a server


def index(asked: Index) -> None:
    """Index what is asked for, measure how well the index finds its own, and save it."""
    check_index(asked)
    reading = reading_options(asked)
    retriever = Retriever.from_pretrained(asked.model, engine=asked.engine, **load_options(asked))
    retriever.scenes = SceneLabels.of(retriever.encoder, read_names(asked.classes))
    embeddings = asked.embeddings or asked.output  # where each vector is kept once
    if asked.rebuild and embeddings is not None:
        start_rebuild(embeddings, retriever.encoder.made_by)
    if asked.images is not None:
        done, result = index_pictures(retriever, asked.images, embeddings, workers=asked.workers)
    else:
        done, result = index_tiles(retriever, asked, embeddings=embeddings, reading=reading)
    if RECALL_AT < len(retriever) <= MEASURED_UP_TO:
        measure_recall(retriever.engine, top_k=RECALL_AT)
    if asked.output is not None:
        retriever.save(asked.output)
    if asked.tokens:
        said, counts = add_tokens(retriever)
        done, result = f"{done} {said}", {**result, **counts}
    place, recall = retriever.engine.place, str(retriever.engine.recall)
    folders = asked.rasters or [str(picture_folder(asked.images or ""))]
    # What a folder keeps is made anew, from what is there.
    gone = len(retriever.gone(folders)) if retriever.engine.persistent else 0
    left = f" {gone} of its entries are gone from there, and found still." if gone else ""
    print_result(
        f"{done} Kept in {place}. Search: {recall}.{left}",
        {"index": place, **result, "search": recall, "gone": gone},
        as_json=asked.as_json,
    )


def index_pictures(
    retriever: Retriever, images: str, embeddings: Path | None, *, workers: int | None
) -> tuple[str, dict[str, Any]]:
    """Index a folder of pictures, and return what was done, in words and for JSON."""
    pictures = picture_sources(picture_folder(images))
    known = read_annotations(picture_folder(images), pictures)
    with Bar("indexing") as bar:
        report = retriever.index(
            pictures,
            captions=known.captions,
            metadata=known.metadata,
            boxes=known.boxes,
            embeddings=embeddings,
            workers=workers,
            progress=bar.show,
        )
    list_skipped(report.skipped)
    if not report.indexed:
        raise DataLayoutError(f"None of the pictures in {images} can be read; see the list above.")
    said = f"{report.indexed} pictures indexed, {len(report.skipped)} skipped."
    return said, {"pictures": report.indexed, "skipped": describe_skipped(report.skipped)}


def index_tiles(
    retriever: Retriever, asked: Index, *, embeddings: Path | None, reading: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Index the tiles of a folder of rasters, and return what was done, as for pictures."""
    named = asked.rasters or []
    with Bar("indexing", unit=" tiles") as bar:
        report = index_rasters(
            retriever,
            named[0] if len(named) == 1 else named,
            embeddings=embeddings,
            tile=asked.tile,
            overlap=asked.overlap,
            gsd=asked.gsd,
            workers=asked.workers,
            progress=bar.show,
            **reading,
        )
    list_skipped(report.skipped)
    for warning in report.warnings:
        print(f"note: {in_one_line(warning)}", file=sys.stderr)
    if not report.tiles:
        raise DataLayoutError(
            f"None of the rasters in {', '.join(named)} can be searched; see above."
        )
    counts = {"tiles": report.tiles, "rasters": report.rasters}
    return (
        f"{report.tiles} tiles of {report.rasters} rasters indexed, {len(report.skipped)} skipped.",
        {**counts, "skipped": describe_skipped(report.skipped), "warnings": report.warnings},
    )


def add_tokens(retriever: Retriever) -> tuple[str, dict[str, Any]]:
    """Add the patch tokens that are missing, and return what was done, as for pictures."""
    with Bar("patch tokens") as bar:
        report = retriever.fine.add_patches(progress=bar.show)
    list_skipped(report.skipped)
    return f"Patch tokens of {report.indexed} added.", {"tokens": report.indexed}


def check_index(asked: Index) -> None:
    """Raise ``QueryError`` for options that make no sense together."""
    check_place(asked.engine, asked.output)
    if (asked.images is None) == (not asked.rasters):
        raise QueryError("Give one of --images and --rasters.")
    idle = [each.name for each in fields(WithTiles) if getattr(asked, each.name) != each.default]
    if asked.images is not None and idle:
        raise QueryError(
            f"--{', --'.join(idle)} is about rasters; pictures are taken as they are. Leave it "
            "out, or give --rasters in place of --images."
        )
    if asked.rebuild and asked.embeddings is None and asked.output is None:
        raise QueryError(
            "--rebuild is about a folder, and a server keeps this index. Make a new one beside it: "
            "name another table or collection in the URI of --engine."
        )
    if asked.tokens and asked.output is None:
        raise QueryError(
            "--tokens are kept in the folder of an index, and a server keeps this one. Leave them "
            "out, or index with --output FOLDER and the engine exact or hnsw."
        )


def check_place(engine: str, folder: Path | None) -> None:
    """Raise ``QueryError`` unless an index has exactly one place to live in."""
    if server_of(engine) is None and engine not in ENGINES:
        raise QueryError(
            f"The engine is {engine!r}; expected {', '.join(ENGINES)}, postgresql://..., "
            "http://... or FILE.db."
        )
    if folder is None and server_of(engine) is None:
        raise QueryError(f"The engine {engine} lives in memory: say where to save it, --output.")
    if folder is not None and server_of(engine) is not None:
        raise QueryError(
            "A server keeps this index, so there is no folder to write. Leave --output out here, "
            "and give the server's URI as --index of 'rsctir search'."
        )
