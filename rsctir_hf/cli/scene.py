"""``rsctir scene``: where in a georeferenced raster is what you ask for."""

import sys
from pathlib import Path
from typing import Any

from rsctir_cli.commands import Scene
from rsctir_cli.option_groups import WithTiles
from rsctir_hf.cli.collection import check_taken_home, write_taken_home
from rsctir_hf.cli.output import (
    DOUBTS,
    Bar,
    check_writable,
    in_one_line,
    json_text,
    refuse_overwriting,
)
from rsctir_hf.cli.sources import asked_parts, load_options, pictures_of
from rsctir_hf.collection.features import TakenHome
from rsctir_hf.files.bands import in_words
from rsctir_hf.geo.gdal import address_of
from rsctir_hf.geo.placement import read_crs
from rsctir_hf.geo.raster import read_bands, read_nodata
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.scene import SceneAnswer, SceneHit, search_scene
from rsctir_hf.search.query import describe_parts
from rsctir_hf.search.retriever import Retriever


def scene(asked: Scene) -> None:
    """Search a raster and write the hits, and the heat map if one is asked for."""
    parts = asked_parts(asked)
    hint = describe_parts(parts)
    read = [Path(address_of(asked.raster)), *pictures_of(asked)]
    check_taken_home(asked.output, asked.form, read=read)
    if asked.heatmap is not None:
        refuse_overwriting("--heatmap", asked.heatmap, read=[*read, asked.output])
        check_writable("--heatmap", asked.heatmap)
    reading = reading_options(asked)
    retriever = Retriever.from_pretrained(
        asked.model, bank=read_caption_bank(asked.bank), **load_options(asked)
    )
    with Bar("searching", unit=" tiles") as bar:
        answer = search_scene(
            retriever,
            asked.raster,
            text=parts,
            top_k=asked.top_k,
            rerank=asked.rerank.value,
            tile=asked.tile,
            overlap=asked.overlap,
            gsd=asked.gsd,
            workers=asked.workers,
            things=asked.things,
            progress=bar.show,
            **reading,
        )
    write_taken_home(scene_taken_home(answer, asked), asked.output, asked.form)
    if asked.heatmap is not None:
        answer.write_heat_map(asked.heatmap)
    print_answer(answer, asked.output, hint=hint, as_json=asked.as_json)


def scene_taken_home(answer: SceneAnswer, asked: Scene) -> TakenHome:
    """Return the hits on a scene for a file."""
    title = " + ".join(filter(None, (answer.text, answer.image)))
    return TakenHome.of_scene(answer, title=title, made_by={"model": asked.model})


def reading_options(asked: WithTiles) -> dict[str, Any]:
    """Return how the rasters of a command are to be read, before any work.

    Raises:
        QueryError: no bands, no nodata value or no reference system.
    """
    if asked.crs is not None:
        read_crs(asked.crs)
    nodata = read_nodata(asked.nodata)
    return {"bands": read_bands(asked.bands), "nodata": nodata, "crs": asked.crs}


def print_answer(answer: SceneAnswer, output: Path, *, hint: str | None, as_json: bool) -> None:
    """Print the hits, one a line or as GeoJSON; warnings go to standard error."""
    for note in (hint, *answer.warnings, DOUBTS.get(answer.confidence)):
        if note:
            print(f"note: {in_one_line(note)}", file=sys.stderr)
    if as_json:
        print(json_text(answer.to_geojson()))
        return
    for hit in answer.hits:
        print(f"{hit.rank:>3}  {hit.score:+.3f}  {place_in_words(hit)}pixels {hit.window.box}")
    skipped = f", {answer.skipped} without data left out" if answer.skipped else ""
    searched = f"{len(answer.windows)} tiles searched{skipped}"
    print(f"{len(answer.hits)} hits in {output}; {searched}. {in_words(answer.raster.bands)}.")


def place_in_words(hit: SceneHit) -> str:
    """Write the middle of a hit in degrees, else in the raster's own coordinates, if any."""
    if hit.centre is not None:
        return f"{hit.centre[0]:.6f} {hit.centre[1]:.6f}  "
    if hit.map_corners is None:
        return ""
    x, y = (sum(axis) / len(axis) for axis in zip(*hit.map_corners, strict=True))
    return f"x {x:.10g} y {y:.10g}  "
