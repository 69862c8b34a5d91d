"""How a raster is cut for a model, and where a window of it lies on the map."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from rsctir_hf.errors import QueryError, RasterError
from rsctir_hf.files.pictures import MIN_SIDE
from rsctir_hf.geo.addresses import TileAddress
from rsctir_hf.geo.geojson import Box, Point, bounding_box
from rsctir_hf.geo.raster import Raster, open_raster
from rsctir_hf.geo.resolution import check_gsd, gsd_warning, training_gsd, working_gsd
from rsctir_hf.geo.tiling import Size, Window, tile_windows

TILE, OVERLAP = 224, 0.25
#: A window with a smaller share of pixels that hold data is not searched.
LEAST_VALID = 0.3
_LEAST_TILE, _LEAST_SIDE = 32, 8  # pixels of a tile, and of the raster under it
_CELLS_A_SIDE = 4  # cells of the heat map along a window: at overlap 0.25 windows end between cells
_NO_SCALE = (
    "How large its pixels are on the ground is not known, so it is searched as it is. Give the "
    "ground sample distance (gsd, metres a pixel) to search at the scale the model learned."
)


class CuttingOptions(TypedDict, total=False):
    """How a raster is cut and read.

    Attributes:
        tile: pixels a side of the tiles that the model sees; twice as many show it twice as much
            ground. Default: ``TILE``.
        overlap: share of a window that the next one covers too. Default: ``OVERLAP``.
        gsd: metres a pixel of the raster, if its own word is missing or wrong.
        bands: see ``geo.raster.open_raster``.
        nodata: likewise.
        crs: likewise.
        least_valid: windows with a smaller share of pixels that hold data are left out. Default:
            ``LEAST_VALID``.
    """

    tile: int
    overlap: float
    gsd: float | None
    bands: Sequence[int] | None
    nodata: float | str | None
    crs: str | None
    least_valid: float


@dataclass(frozen=True)
class TilePlan:
    """How a raster is cut.

    Attributes:
        windows: all of them, row by row.
        side: width and height of a window in pixels of the raster, before it is cut at the edge.
        tile: pixels a side of the pictures made of them.
        gsd: metres a pixel of those pictures; None where unknown.
        warnings: what to expect of this raster with this model.
    """

    windows: tuple[Window, ...]
    side: Size
    tile: int
    gsd: float | None
    warnings: tuple[str, ...]

    def size_of(self, window: Window) -> Size:
        """Return width and height of a window's picture; less than ``tile`` at a small raster."""
        across, down = window.width / self.side[0], window.height / self.side[1]
        return max(round(self.tile * across), 1), max(round(self.tile * down), 1)

    def address_of(self, raster: Raster, window: Window) -> TileAddress:
        """Return where the picture of a window can be read again."""
        path = os.path.abspath(raster.path) if os.path.exists(raster.path) else raster.path
        return TileAddress(path, window, self.size_of(window), raster.bands, raster.nodata)

    @property
    def cell(self) -> Size:
        """Width and height of a cell of the heat map in pixels of the raster."""
        return max(self.side[0] // _CELLS_A_SIDE, 1), max(self.side[1] // _CELLS_A_SIDE, 1)


def open_and_plan(
    raster: str | Path | Raster,
    config: Any,  # noqa: ANN401 - of any model
    **cutting: Unpack[CuttingOptions],
) -> tuple[Raster, TilePlan]:
    """Open a raster, where it is not open yet, and lay out its windows for a model.

    Raises:
        RasterError: no raster, damaged, or too small to be a picture.
        QueryError: options that make no sense.
    """
    laid: dict[str, Any] = {**cutting}
    laid.pop("least_valid", None)
    read = {name: laid.pop(name, None) for name in ("bands", "nodata", "crs")}
    scene = raster if isinstance(raster, Raster) else open_raster(raster, **read)
    return scene, plan_tiles(scene, config, **laid)


def check_cutting(
    *,
    tile: int = TILE,
    overlap: float = OVERLAP,
    gsd: float | None = None,
    **_: Any,  # noqa: ANN401 - the options of reading
) -> None:
    """Raise ``QueryError`` for options of cutting that make no sense for any raster."""
    check_gsd(gsd)
    tile_windows((1, 1), (1, 1), overlap=overlap)
    if tile < _LEAST_TILE:
        raise QueryError(f"The tile is {tile} pixels a side; expected {_LEAST_TILE} or more.")


def plan_tiles(
    raster: Raster,
    config: Any,  # noqa: ANN401 - of any model
    *,
    tile: int = TILE,
    overlap: float = OVERLAP,
    gsd: float | None = None,
) -> TilePlan:
    """Lay out the windows of a raster for a model.

    Args:
        raster: the scene.
        config: of the model, for the ground sample distances it was trained on.
        tile: see ``CuttingOptions``.
        overlap: likewise.
        gsd: likewise.

    Raises:
        QueryError: options that make no sense.
        RasterError: the raster is too small to be a picture.
    """
    check_cutting(tile=tile, overlap=overlap, gsd=gsd)
    own = _ground_pixel(raster, gsd)
    working: float | None = None
    warning: str | None = _NO_SCALE
    if own is None:
        side = tile, tile
    else:
        trained, pixel = training_gsd(config), math.sqrt(own[0] * own[1])
        learned, warning = working_gsd(pixel, trained), gsd_warning(pixel, trained)
        working = max(learned, _LEAST_SIDE * max(own) / tile)
        side = round(tile * working / own[0]), round(tile * working / own[1])
        if working > learned:
            warning = f"{warning or ''} {_enlarged(tile * working, tile * learned)}".strip()
    plan = TilePlan(
        windows=tuple(tile_windows(raster.size, side, overlap=overlap)),
        side=side,
        tile=tile,
        gsd=working,
        warnings=(*raster.notes, *([warning] if warning else [])),
    )
    shown = plan.size_of(plan.windows[0])  # all windows have one size
    if min(shown) < MIN_SIDE:
        raise RasterError(
            f"{raster.name} has {raster.size[0]} x {raster.size[1]} pixels, which is a picture of "
            f"{shown[0]} x {shown[1]}. Expected at least {MIN_SIDE} pixels a side."
        )
    return plan


def _enlarged(ground: float, learned: float) -> str:
    """Say that tiles cover more ground, in metres, than in training."""
    return (
        f"A tile covers {ground:.3g} m, {ground / learned:.2g} times as much as in training, since "
        f"it is cut at least {_LEAST_SIDE} of these pixels wide. A larger tile covers more of them."
    )


def window_places(raster: Raster, window: Window) -> tuple[Point, ...] | None:
    """Return longitude and latitude of the four corners and the middle, or None (no map)."""
    places = raster.to_lonlat(np.concatenate([window.corners, [window.centre]]))
    return None if places is None else tuple((float(x), float(y)) for x, y in places)


def map_corners(raster: Raster, window: Window) -> tuple[Point, ...] | None:
    """Return the four corners in the raster's own coordinates, or None where it has none."""
    if not raster.place.stated:
        return None
    return tuple((float(x), float(y)) for x, y in raster.place.to_map(window.corners))


def window_box(raster: Raster, window: Window) -> Box | None:
    """Return west, south, east, north (EPSG:4326) of a window, or None (no map)."""
    ring = raster.place.ring(window)
    return None if ring is None else bounding_box(ring)


def _ground_pixel(raster: Raster, gsd: float | None) -> tuple[float, float] | None:
    """Return metres a pixel across and down; ``gsd`` is their mean where it is given."""
    if gsd is None:
        return raster.gsd
    if raster.gsd is None:
        return gsd, gsd
    scale = gsd / math.sqrt(raster.gsd[0] * raster.gsd[1])
    return raster.gsd[0] * scale, raster.gsd[1] * scale
