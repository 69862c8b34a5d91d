"""An index of a whole folder of rasters: every tile with its place, searched like any gallery."""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from PIL import Image
from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.prepare import Skipped
from rsctir_hf.embedding.provenance import RASTERS
from rsctir_hf.embedding.roles import BatchOptions, Progress
from rsctir_hf.embedding.store import EmbeddingStore, iterate_embeddings
from rsctir_hf.errors import DataLayoutError, QueryError, RasterError
from rsctir_hf.files.listing import stamp_of
from rsctir_hf.files.names import as_text
from rsctir_hf.files.pictures import list_imagery
from rsctir_hf.files.rows import decode
from rsctir_hf.geo.addresses import TileAddress, read_tile
from rsctir_hf.geo.gdal import address_of, is_address
from rsctir_hf.geo.raster import RASTER_SUFFIXES, Raster
from rsctir_hf.geo.tiling import Window
from rsctir_hf.scene.answer import OUTLINE, written_outline
from rsctir_hf.scene.plan import (
    LEAST_VALID,
    CuttingOptions,
    TilePlan,
    check_cutting,
    open_and_plan,
    window_box,
)
from rsctir_hf.scene.scene_pass import ScenePass
from rsctir_hf.search.folding import RASTER
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import BoundingBox

_SIDES = ("west", "south", "east", "north")


@dataclass(frozen=True)
class ArchiveReport:
    """What became of a folder of rasters.

    Attributes:
        rasters: how many were indexed.
        tiles: how many tiles of them.
        skipped: rasters that were left out, or tiles of a raster, and why.
        warnings: what to keep in mind of single rasters.
    """

    rasters: int
    tiles: int
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RasterTile:
    """A tile as the embedding pipeline takes it (``embedding.records.PictureRecord``).

    Attributes:
        id: its address, with the raster's path within the archive.
        address: where it is read.
        metadata: raster, window and bounding box.
        stamped: the stamp of all files that the raster is read from (``files.listing.stamp_of``).
        least_valid: a tile with a smaller share of pixels that hold data is left out.
    """

    id: str
    address: TileAddress
    metadata: Mapping[str, Any]
    stamped: str
    least_valid: float = LEAST_VALID

    def stamp(self) -> str:
        """Return that of the raster's files."""
        return self.stamped

    def load(self) -> Image.Image:
        """Read its picture.

        Raises:
            RasterError: the raster is damaged, or holds too little data here.
        """
        return read_tile(self.address, least_valid=self.least_valid)


@dataclass(frozen=True)
class _Planned:
    """A raster and how it is cut."""

    raster: Raster
    plan: TilePlan
    stamped: str

    def address(self, window: Window) -> TileAddress:
        return self.plan.address_of(self.raster, window)

    def metadata(self, window: Window) -> dict[str, Any]:
        return {
            RASTER: self.raster.name,
            "column": window.col,
            "row": window.row,
            "width": window.width,
            "height": window.height,
        }

    def box(self, window: Window) -> BoundingBox | None:
        found = window_box(self.raster, window)
        return None if found is None else BoundingBox(*found).of_entry

    def noted(self, windows: Sequence[Window]) -> PictureNotes:
        """Return what the gallery keeps of windows."""
        rings = [self.raster.place.ring(window) for window in windows]
        outlines = [{} if ring is None else {OUTLINE: written_outline(ring)} for ring in rings]
        about = [
            {**self.raster.capture, **self.metadata(window), **outline}
            for window, outline in zip(windows, outlines, strict=True)
        ]
        return PictureNotes([None] * len(windows), about, [self.box(window) for window in windows])

    def record(self, window: Window, root: Path, least_valid: float) -> RasterTile:
        address, box = self.address(window), window_box(self.raster, window)
        if Path(address.path).is_relative_to(root):
            inside = Path(address.path).relative_to(root).as_posix()
        else:
            inside = address.path  # named by itself, or an address
        name = as_text(str(replace(address, path=inside)))
        sides = dict(zip(_SIDES, box or [math.nan] * len(_SIDES), strict=True))
        about = {**self.metadata(window), **sides}
        return RasterTile(name, address, about, self.stamped, least_valid)


_Part = tuple[_Planned, list[Window], Tensor]  # windows of a raster with their vectors (n, D)


def index_rasters(
    retriever: Retriever,
    rasters: str | Path | Sequence[str | Path],
    *,
    embeddings: str | Path | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    **cutting: Unpack[CuttingOptions],
) -> ArchiveReport:
    """Add the tiles of rasters, such as all below a folder, to a retriever's gallery.

    Each tile is an item whose path is its address (``geo.addresses``), with the bounding box of its
    window and, as metadata, ``raster``, ``column``, ``row``, ``width``, ``height``, ``outline``
    (longitude and latitude of its corners, for ``hits_geojson``) and, where the raster says so,
    ``date`` and ``sensor``. A tile over
    the antimeridian has the box of its wider part, since an entry has one box. A tile that is in
    the gallery already is replaced.

    Args:
        retriever: model and gallery.
        rasters: a folder of them, searched with its subfolders; a raster, or its address as text;
            a ``.txt`` file with one of these a line; or a list of any of them.
        embeddings: folder that keeps the vectors (``embedding.pipeline``): a run that was cut short
            goes on there, and rasters that have not changed are not read again.
        batch_size: tiles per forward pass; see ``encode.default_batch_size``.
        workers: threads that embed; see ``BatchOptions``.
        progress: called with (tiles done, tiles in all).
        cutting: see ``CuttingOptions``.

    Raises:
        DataLayoutError: a folder is missing or holds no raster.
        IndexMismatchError: ``embeddings`` are of another model or other rasters.
        IndexUnavailableError: the server that keeps the index does not answer.
    """
    config, least_valid = retriever.encoder.config, cutting.get("least_valid", LEAST_VALID)
    check_cutting(**cutting)
    named = rasters_of(rasters)
    files, skipped = without_twins([Path(each) for each in named if not is_address(each)])
    planned: list[_Planned] = []
    for file in [*map(str, files), *filter(is_address, named)]:
        try:
            raster, plan = open_and_plan(file, config, **cutting)
            planned.append(_Planned(raster, plan, stamp_of(raster.files)))
        except (RasterError, QueryError) as error:
            skipped.append(Skipped(as_text(file), f"{as_text(file)}: {error}"))
    shown_by = shown_twice([one.raster for one in planned])
    planned = [one for one in planned if one.raster.path not in shown_by]
    skipped += [Skipped(as_text(path), f"{as_text(path)}: {why}") for path, why in shown_by.items()]
    options: BatchOptions = {"batch_size": batch_size, "workers": workers, "progress": progress}
    run = _TilingRun(retriever.encoder, planned, skipped, least_valid, options)
    indexed: dict[str, int] = defaultdict(int)
    parts = run.at_once() if embeddings is None else run.kept(root_of(rasters), Path(embeddings))
    for one, windows, vectors in parts:
        retriever.add(
            vectors,
            [str(one.address(window)) for window in windows],
            one.noted(windows),
        )
        indexed[one.raster.path] += len(windows)
    cut: dict[str, Any] = {name: said for name, said in cutting.items() if said is not None}
    if cutting.get("bands"):
        cut["bands"] = ",".join(map(str, cutting["bands"] or ()))
    retriever.engine.record = {**retriever.engine.record, RASTERS: cut}
    retriever.finish_adding()
    return ArchiveReport(
        rasters=len(indexed),
        tiles=sum(indexed.values()),
        skipped=tuple(skipped),
        warnings=tuple(
            f"{one.raster.name}: {said}" for one in planned for said in one.plan.warnings
        ),
    )


def rasters_of(named: str | Path | Sequence[str | Path]) -> list[str]:
    """List the rasters that are named (``index_rasters``): paths in full, and addresses.

    Raises:
        DataLayoutError: a folder is missing or holds no raster.
    """
    if not isinstance(named, str | Path):
        return [raster for each in named for raster in rasters_of(each)]
    text = address_of(named)
    if is_address(text):
        return [text]
    path = Path(text).resolve()
    if path.is_file():
        return _listed_in(path) if path.suffix == ".txt" else [str(path)]
    if not path.exists():
        raise DataLayoutError(
            f"{as_text(text)} does not exist. Expected a raster, its address, or a folder or a "
            ".txt file of them."
        )
    remedy = "Name those that are rasters one by one."
    files = list_imagery(path, RASTER_SUFFIXES, what="rasters", remedy=remedy)
    if not files:
        raise DataLayoutError(
            f"{as_text(text)} is no folder with rasters. Looked in it and its subfolders for files "
            f"ending in {', '.join(sorted(RASTER_SUFFIXES))}."
        )
    return [str(file) for file in files]


def _listed_in(file: Path) -> list[str]:
    """Return the rasters that a text file names, also as seen from its folder; # is a comment.

    Files that are not there are passed on: those that are need not wait for them.
    """
    content = file.read_bytes()
    try:
        text = decode(content)
    except UnicodeDecodeError:  # names that are no UTF-8
        text = os.fsdecode(content)
    lines = [line.strip().strip('"') for line in text.split("\n")]
    found = list[str]()
    for name in filter(None, (line for line in lines if not line.startswith("#"))):
        there = name if is_address(name) or os.path.exists(name) else str(file.parent / name)
        one_file = not is_address(there) and not os.path.isdir(there)
        found += [os.path.abspath(there)] if one_file else rasters_of(there)
    if not found:
        raise DataLayoutError(f"{as_text(file)} names no raster. Expected one a line.")
    return found


def root_of(named: str | Path | Sequence[str | Path]) -> Path:
    """Return the folder that the ids of tiles begin in; the root of all where it is not one."""
    folder = Path(address_of(named)) if isinstance(named, str | Path) else Path("/")
    return folder.resolve() if folder.is_dir() else Path("/")


def without_twins(files: Sequence[Path]) -> tuple[list[Path], list[Skipped]]:
    """Return files without further names of them (links, hard links), and what was left out."""
    kept: dict[tuple[int, int], Path] = {}
    skipped = []
    for file in sorted(files, key=lambda file: (file.is_symlink(), file)):
        try:
            found = file.stat()
        except OSError as error:
            skipped.append(Skipped(as_text(file), f"{as_text(file)}: {error.strerror}."))
            continue
        first = kept.setdefault((found.st_dev, found.st_ino), file)
        if first != file:
            why = f"{as_text(file)} is another name of {as_text(first)}, which is indexed."
            skipped.append(Skipped(as_text(file), why))
    return sorted(kept.values()), skipped


def shown_twice(rasters: Sequence[Raster]) -> dict[str, str]:
    """Return the paths of rasters whose pixels others show, each with what is done about it.

    A VRT that puts single bands together to a colour picture is taken and the bands are left out.
    Any other is left out where all that it shows is indexed: one of a part of a raster, or in
    another projection, would hide the rest of it or the pixels as they are (our reading).
    """
    of_file = {os.path.realpath(raster.path): raster for raster in rasters}
    left_out: dict[str, str] = {}
    for raster in rasters:
        behind = [of_file[file] for file in raster.files if file in of_file]
        sources = [source for source in behind if source.path != raster.path]
        if raster.driver != "VRT" or not sources:
            continue
        if len(raster.bands) > max(len(source.bands) for source in sources):
            why = f"is a band of {raster.name}, which is indexed instead."
            left_out |= {source.path: why for source in sources}
        elif all(_lies_beside(file, behind) for file in raster.files):
            names = ", ".join(source.name for source in sources[:3])
            more = f" and {len(sources) - 3} more" if len(sources) > 3 else ""
            left_out[raster.path] = f"shows {names}{more}, indexed instead."
    return left_out


def _lies_beside(file: str, rasters: Sequence[Raster]) -> bool:
    """Tell whether a file is one of some rasters or a side-car of one."""
    stems = (os.path.splitext(os.path.realpath(raster.path))[0] for raster in rasters)
    return any(file.startswith(f"{stem}.") for stem in stems)


@dataclass(frozen=True)
class _TilingRun:
    """One pass over planned rasters; what is left out is noted in ``skipped``."""

    encoder: Encoder
    planned: Sequence[_Planned]
    skipped: list[Skipped]
    least_valid: float
    options: BatchOptions

    def at_once(self) -> Iterator[_Part]:
        """Embed one raster after the other."""
        total, done = sum(len(one.plan.windows) for one in self.planned), 0
        batch_size, workers = self.options.get("batch_size"), self.options.get("workers")
        progress = self.options.get("progress")
        for one in self.planned:
            passing = ScenePass(one.plan, self.least_valid, _further(progress, done, total))
            done += len(one.plan.windows)
            try:
                vectors = passing.run(
                    self.encoder, one.raster, batch_size=batch_size, workers=workers
                )
            except RasterError as error:
                self.skipped.append(Skipped(one.raster.path, str(error)))
                continue
            why = passing.skipped[0].reason if passing.skipped else "too little data."
            self._note_left_out(one, len(one.plan.windows) - len(passing.windows), why)
            if passing.windows:
                yield one, passing.windows, vectors

    def kept(self, root: Path, embeddings: Path) -> Iterator[_Part]:
        """Embed what is not in the folder of embeddings yet, and read all vectors from there."""
        tiles = [
            (one, window, one.record(window, root, self.least_valid))
            for one in self.planned
            for window in one.plan.windows
        ]
        store = EmbeddingStore(embeddings, self.encoder.made_by, root=as_text(root))
        report = embed_pictures(
            self.encoder,
            [record for _, _, record in tiles],
            store,
            **self.options,
        )
        by_id = {record.id: (one, window) for one, window, record in tiles}
        found: dict[str, int] = defaultdict(int)
        for rows, vectors in iterate_embeddings(embeddings):
            for one, windows, places in _by_raster(rows["id"].to_pylist(), by_id):
                found[one.raster.path] += len(windows)
                yield one, windows, vectors[places]
        why = {by_id[each.path][0].raster.path: each.reason for each in report.skipped}
        for one in self.planned:
            path = one.raster.path
            self._note_left_out(one, len(one.plan.windows) - found[path], why.get(path, ""))

    def _note_left_out(self, one: _Planned, count: int, why: str) -> None:
        if count:
            whole = f"{one.raster.name}: {count} of {len(one.plan.windows)} tiles left out, {why}"
            self.skipped.append(Skipped(one.raster.path, whole))


def _by_raster(
    ids: Sequence[str], by_id: Mapping[str, tuple[_Planned, Window]]
) -> Iterator[tuple[_Planned, list[Window], list[int]]]:
    """Yield each raster of a shard with its windows and their rows."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(ids):
        rows[by_id[name][0].raster.path].append(row)
    for places in rows.values():
        yield by_id[ids[places[0]]][0], [by_id[ids[row]][1] for row in places], places


def _further(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Count on from ``before``."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
