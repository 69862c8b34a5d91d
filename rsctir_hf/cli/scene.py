"""``rsctir scene``: where in a georeferenced raster is what you ask for."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rsctir_hf.cli.options import (
    AsJson,
    Bands,
    Bank,
    Device,
    Gsd,
    Model,
    Overlap,
    RegionsOption,
    Rerank,
    RerankOption,
    Threshold,
    Tile,
    TopK,
    Trust,
)
from rsctir_hf.cli.output import Bar
from rsctir_hf.cli.sources import query_hint, read_bank
from rsctir_hf.errors import QueryError, StorageError
from rsctir_hf.geo.raster import read_bands
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.regions.proposer import MODEL_REGIONS
from rsctir_hf.scene import OVERLAP, TILE, TOP_K, SceneAnswer, search_scene
from rsctir_hf.search.retriever import Retriever


def scene(  # noqa: PLR0913 - an argument is an option of the command
    model: Model,
    raster: Annotated[Path, typer.Option(help="GeoTIFF or another raster that GDAL reads.")],
    output: Annotated[Path, typer.Option(help="GeoJSON file of the hits.")],
    text: Annotated[str | None, typer.Option(help="Words to search by.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to search by.")] = None,
    heatmap: Annotated[Path | None, typer.Option(help="GeoTIFF of the scores.")] = None,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    gsd: Gsd = None,
    bands: Bands = None,
    top_k: TopK = TOP_K,
    rerank: RerankOption = Rerank.NONE,
    bank: Bank = None,
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Search a georeferenced raster; the hits become a GeoJSON file for any GIS."""
    hint = query_hint(text, image)
    check_written(output, heatmap, read=[raster, *([image] if image else [])])
    chosen_bands = read_bands(bands)
    chosen = choose_regions(regions, threshold, device=device, trust_remote_code=trust)
    retriever = Retriever.from_pretrained(
        model, device=device, trust_remote_code=trust, bank=read_bank(bank), regions=chosen
    )
    with Bar("searching", unit=" tiles") as bar:
        answer = search_scene(
            retriever,
            raster,
            text=text,
            image=image,
            top_k=top_k,
            rerank=rerank.value,
            tile=tile,
            overlap=overlap,
            gsd=gsd,
            bands=chosen_bands,
            progress=bar.show,
        )
    answer.write_geojson(output)
    if heatmap is not None:
        answer.write_heat_map(heatmap)
    print_answer(answer, output, hint=hint, as_json=as_json)


def check_written(output: Path, heatmap: Path | None, *, read: Sequence[Path]) -> None:
    """Find out before any work what would keep the results from being written.

    Raises:
        QueryError: one file would be written over another of the same command.
        StorageError: a file cannot be made there.
    """
    taken = [path.resolve() for path in read]
    for name, path in (("--output", output), ("--heatmap", heatmap)):
        if path is not None and path.resolve() in taken:
            raise QueryError(f"{name} {path} would be written over another file of this command.")
        if path is not None:
            check_writable(name, path)
            taken.append(path.resolve())


def check_writable(name: str, file: Path) -> None:
    """Raise ``StorageError`` where ``file``, of an option ``name``, could not be written.

    Folders that are missing are made when it is, so the nearest one that is there counts.
    """
    if file.is_dir():
        raise StorageError(f"{name} {file} is a folder. Give the name of a file.")
    nearest = next(folder for folder in file.resolve().parents if folder.exists())
    if not nearest.is_dir():
        raise StorageError(f"{name} {file} cannot be written: {nearest} is a file, not a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StorageError(f"{name} {file} cannot be written: {nearest} may not be written to.")


def print_answer(answer: SceneAnswer, output: Path, *, hint: str | None, as_json: bool) -> None:
    """Print the hits, one a line or as GeoJSON; warnings go to standard error."""
    doubt = None if answer.confident else "No confident match; the nearest places are listed."
    for note in (hint, *answer.warnings, doubt):
        if note:
            print(f"note: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(answer.to_geojson(), indent=2))
        return
    for hit in answer.hits:
        lon_lat = "" if hit.centre is None else f"{hit.centre[0]:.6f} {hit.centre[1]:.6f}  "
        print(f"{hit.rank:>3}  {hit.score:+.3f}  {lon_lat}pixels {hit.window.box}")
    skipped = f", {answer.skipped} without data left out" if answer.skipped else ""
    print(f"{len(answer.hits)} hits in {output}; {len(answer.windows)} tiles searched{skipped}.")
