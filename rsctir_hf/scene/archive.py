"""An index of a whole folder of rasters: every tile with its place, searched like any gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsctir_hf.entries import BoundingBox, Metadata
from rsctir_hf.errors import DataLayoutError, QueryError, RasterError
from rsctir_hf.gallery.embedding import Progress, Skipped
from rsctir_hf.gallery.pictures import Known
from rsctir_hf.geo.raster import RASTER_SUFFIXES, Raster, list_rasters, open_raster
from rsctir_hf.geo.tiling import Window
from rsctir_hf.retriever import Retriever
from rsctir_hf.scene.plan import OVERLAP, TILE, TilePlan, plan_tiles, window_box
from rsctir_hf.scene.tiles import BATCH, LEAST_VALID, ScenePass


@dataclass(frozen=True)
class ArchiveReport:
    """What became of a folder of rasters.

    Attributes:
        rasters: how many were indexed.
        tiles: how many tiles of them.
        skipped: rasters that could not be read or searched, and why.
        warnings: what to keep in mind of single rasters.
    """

    rasters: int
    tiles: int
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]


def index_rasters(
    retriever: Retriever,
    folder: str | Path,
    *,
    tile: int = TILE,
    overlap: float = OVERLAP,
    gsd: float | None = None,
    bands: Sequence[int] | None = None,
    least_valid: float = LEAST_VALID,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> ArchiveReport:
    """Add the tiles of every raster below a folder to a retriever's gallery.

    Each tile is an item whose path is its address (``geo.addresses``), with the bounding box of its
    window and, as metadata, ``raster``, ``column``, ``row``, ``width`` and ``height``. A tile that
    is in the gallery already is replaced. Options are those of ``SceneIndex.build``; ``progress``
    is told windows done and windows in all.

    Raises:
        DataLayoutError: the folder is missing or holds no raster.
        IndexUnavailableError: the server that keeps the index does not answer.
    """
    skipped: list[Skipped] = []
    plans: list[tuple[Raster, TilePlan]] = []
    for file in rasters_of(folder):
        try:
            raster = open_raster(file, bands=bands)
            config = retriever.model.config
            plan = plan_tiles(raster, config, tile=tile, overlap=overlap, gsd=gsd)
            plans.append((raster, plan))
        except (RasterError, QueryError) as error:
            skipped.append(Skipped(str(file), f"{file}: {error}"))
    total, done, indexed, tiles = sum(len(plan.windows) for _, plan in plans), 0, 0, 0
    for raster, plan in plans:
        one = ScenePass(plan, least_valid, _further(progress, done, total))
        try:
            vectors = one.run(retriever, raster, batch_size)
        except RasterError as error:
            skipped.append(Skipped(raster.path, str(error)))
            continue
        finally:
            done += len(plan.windows)
        if one.windows:
            addresses = [str(plan.address_of(raster, window)) for window in one.windows]
            retriever.add(vectors, addresses, _known(raster, one.windows))
            indexed, tiles = indexed + 1, tiles + len(one.windows)
        else:
            skipped.append(Skipped(raster.path, f"{raster.name} holds no data to search."))
    retriever.finish_adding()
    warnings = [f"{raster.name}: {text}" for raster, plan in plans for text in plan.warnings]
    return ArchiveReport(indexed, tiles, tuple(skipped), tuple(warnings))


def rasters_of(folder: str | Path) -> list[Path]:
    """List the rasters below a folder.

    Raises:
        DataLayoutError: it is missing or holds none.
    """
    files = list_rasters(folder) if Path(folder).is_dir() else []
    if not files:
        raise DataLayoutError(
            f"{folder} is no folder with rasters. Looked in it and its subfolders for files ending "
            f"in {', '.join(sorted(RASTER_SUFFIXES))}."
        )
    return files


def _known(raster: Raster, windows: Sequence[Window]) -> Known:
    boxes = [window_box(raster, window) for window in windows]
    metadata: list[Metadata] = [
        {
            "raster": raster.name,
            "column": window.col,
            "row": window.row,
            "width": window.width,
            "height": window.height,
        }
        for window in windows
    ]
    placed = [None if box is None else BoundingBox(*box) for box in boxes]
    return Known([None] * len(windows), metadata, placed)


def _further(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Count on from ``before``."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
