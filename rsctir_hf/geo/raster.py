"""Rasters through rasterio: what a file holds, windows of it as RGB pictures.

A raster is read window by window, so it may be larger than memory. 8-bit values are taken as they
are; all others are stretched, band by band, so that the 2nd and 98th percentile of the whole raster
become black and white: the same for every window, or neighbours would not match.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rsctir_hf.errors import QueryError, RasterError
from rsctir_hf.files.bands import choose_bands, palette_of
from rsctir_hf.files.names import as_text
from rsctir_hf.files.stretch import STRETCH_PERCENTILES
from rsctir_hf.geo.gdal import data_files, is_address, opened, require_rasterio
from rsctir_hf.geo.placement import lonlat, place_of
from rsctir_hf.geo.tiling import Size, Transform, Window, map_points

#: What may hold pixels of its own only. A VRT names other files, which an upload must not.
PLAIN_FORMATS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
RASTER_SUFFIXES = frozenset((".tif", ".tiff", ".jp2", ".vrt", ".img"))
_SAMPLED_SIDE = 1024  # pixels along the longer side that the stretch is measured on
_VALUES_AT_ONCE = 16_000_000  # of the bands, while they are sampled
_NO_CRS = "This raster has no coordinates that could be put on a map: places are given in pixels."


@dataclass(frozen=True)
class Raster:
    """What a raster file holds.

    Attributes:
        path: of the file.
        driver: of GDAL that opens it.
        size: width and height in pixels.
        bands: the one or three bands, counted from 1, that make a picture.
        transform: from pixels to ``crs``; None where the raster has no place on the map.
        crs: coordinate reference system as WKT, or None.
        gsd: metres a pixel on the ground, across and down, at the centre; None where unknown.
        stretch: (low, high) of each band that become black and white; None for 8-bit values.
        palette: colours (256 or 65536, 3) of a paletted band, or None.
        notes: what a user should know of the choices made here.
        files: all that it is read from (``geo.gdal.data_files``), on this machine or elsewhere.
    """

    path: str
    driver: str
    size: Size
    bands: tuple[int, ...]
    transform: Transform | None
    crs: str | None
    gsd: tuple[float, float] | None
    stretch: tuple[tuple[float, float], ...] | None
    palette: NDArray[np.uint8] | None
    notes: tuple[str, ...]
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name, as text (``files.names``)."""
        return as_text(Path(self.path).name)

    def to_lonlat(self, points: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return longitude and latitude (n, 2) in EPSG:4326 of columns and rows (n, 2).

        None where the raster has no place on the map, or these points have none on the earth.
        """
        if self.transform is None or self.crs is None:
            return None
        places = lonlat(self.crs, map_points(points, self.transform))
        return places if np.isfinite(places).all() else None


@dataclass(frozen=True)
class Tile:
    """A window as a picture.

    Attributes:
        picture: RGB; pixels without data have the mean colour of the others. None without any.
        valid: share of the window's pixels that hold data, 0..1.
    """

    picture: Image.Image | None
    valid: float


class TileReader:
    """Reads windows of one raster; a context manager, for one thread at a time.

    Args:
        raster: of ``open_raster``.

    Raises:
        RasterError: the file is gone or damaged.
    """

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        self._opening = ExitStack()

    def __enter__(self) -> "TileReader":
        self._source = self._opening.enter_context(opened(self.raster.path, [self.raster.driver]))
        kinds = self._source.mask_flag_enums
        self._masked = any(
            "all_valid" not in [kind.name for kind in kinds[band - 1]] for band in self.raster.bands
        )
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - its three arguments
        self._opening.__exit__(*error)

    def read(self, window: Window, size: Size) -> Tile:
        """Read a window, resampled to ``size`` (width, height) pixels.

        Raises:
            RasterError: the file is damaged here.
        """
        values, valid = self._values(window, size)
        share = float(valid.mean())
        if share == 0:
            return Tile(None, 0.0)
        colours = self._colours(values, valid)  # (height, width, 3)
        if share < 1:
            mean = colours[valid].mean(axis=0)
            colours[~valid] = np.round(mean).astype(np.uint8)
        return Tile(Image.fromarray(colours), share)

    def sample(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels at even steps through the raster: values (bands, n), which are data (n,).

        All of it is read, some rows at a time: GDAL's own decimated read takes a hundred times as
        long where the file has no overviews.

        Raises:
            RasterError: the file is damaged.
        """
        width, height = self.raster.size
        step = -(-max(width, height) // _SAMPLED_SIDE)
        rows = max(_VALUES_AT_ONCE // (width * len(self.raster.bands)), 1)
        parts = []
        for top in range(0, height, rows):
            window = Window(0, top, width, min(rows, height - top))
            values, valid = self._values(window, (width, window.height))
            kept = slice(-top % step, None, step), slice(None, None, step)
            parts.append((values[:, *kept].reshape(len(values), -1), valid[kept].ravel()))
        return (
            np.concatenate([values for values, _ in parts], axis=1),
            np.concatenate([valid for _, valid in parts]),
        )

    def _values(self, window: Window, size: Size) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        bands = list(self.raster.bands)
        smaller = window.width > size[0] or window.height > size[1]
        same = (window.width, window.height) == size
        as_it_is = same or self.raster.palette is not None
        how = "nearest" if as_it_is else "average" if smaller else "bilinear"
        rasterio = require_rasterio()
        place = {
            "window": rasterio.windows.Window(window.col, window.row, window.width, window.height),
            "out_shape": (len(bands), size[1], size[0]),
        }
        try:
            values = self._source.read(bands, resampling=rasterio.enums.Resampling[how], **place)
            mask = self._source.read_masks(bands, **place).any(axis=0) if self._masked else None
        except rasterio.errors.RasterioError as error:
            raise RasterError(
                f"{self.raster.name} is damaged or cut short: pixels {window.box} cannot be read "
                f"({error.__cause__ or error}). Copy or download the file again."
            ) from error
        valid = np.ones(values.shape[1:], bool) if mask is None else mask
        if np.issubdtype(values.dtype, np.floating):
            valid &= np.isfinite(values).all(axis=0)
        return values, valid

    def _colours(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return RGB (h, w, 3) of values (1 or 3, h, w)."""
        if self.raster.palette is not None:
            return self.raster.palette[values[0]]
        if self.raster.stretch is not None:
            low, high = np.array(self.raster.stretch, np.float32).T[:, :, None, None]
            numbers = np.where(valid, values, low).astype(np.float32)
            values = (np.clip((numbers - low) / (high - low), 0, 1) * 255 + 0.5).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(np.moveaxis(values, 0, 2), (*valid.shape, 3)))


def open_raster(
    path: str | Path,
    *,
    bands: Sequence[int] | None = None,
    formats: Sequence[str] | None = None,
    most_pixels: int | None = None,
) -> Raster:
    """Look into a raster file.

    Args:
        path: a file, or an address that GDAL knows; a file only where ``formats`` are given.
        bands: one or three bands, counted from 1. Default: red, green and blue by the file's own
            word, else the first three, else the first.
        formats: GDAL drivers that may open it; all that are there by default.
        most_pixels: refuse a larger raster before its pixels are read; a file of some kilobytes
            may claim any size.

    Raises:
        MissingDependencyError: rasterio is absent.
        RasterError: no such file, no raster, damaged, too large, or without a pixel that holds
            data.
        QueryError: there are no such bands.
    """
    if formats and is_address(str(path)):
        raise RasterError(f"{path} is not a raster file of this machine; only such files are read.")
    with opened(path, formats) as source:
        if most_pixels is not None and source.width * source.height > most_pixels:
            raise RasterError(
                f"{Path(path).name} has {source.width:,} x {source.height:,} pixels; at most "
                f"{most_pixels / 1e6:,.0f} million are taken here. Cut it (gdal_translate "
                "-srcwin), or search it on the command line: rsctir scene --raster FILE."
            )
        chosen, band_note = choose_bands(source, bands)
        transform, crs, gsd = place_of(source)
        raster = Raster(
            path=str(path),
            driver=source.driver,
            size=(source.width, source.height),
            bands=chosen,
            transform=transform,
            crs=crs,
            gsd=gsd,
            stretch=None,
            palette=palette_of(source, chosen),
            notes=tuple(note for note in (band_note, None if crs else _NO_CRS) if note),
            files=data_files(source),
        )
        kinds = {source.dtypes[band - 1] for band in chosen}
    if kinds == {"uint8"} or raster.palette is not None:
        return raster
    if any(kind.startswith("complex") for kind in kinds):
        raise RasterError(
            f"{raster.name} holds complex numbers. Choose bands of amplitudes or intensities."
        )
    return replace(raster, stretch=_measure_stretch(raster))


def read_bands(text: str | None) -> tuple[int, ...] | None:
    """Read bands as a user writes them, such as ``4,3,2``; None stays None.

    Raises:
        QueryError: other than numbers with commas between them.
    """
    try:
        return None if text is None else tuple(int(band) for band in text.split(","))
    except ValueError as error:
        raise QueryError(
            f"The bands are {text!r}; expected one or three numbers with commas, red first, such "
            "as 4,3,2."
        ) from error


def overview(raster: Raster, *, side: int) -> Image.Image:
    """Return the whole raster as a picture of at most ``side`` pixels a side.

    Raises:
        RasterError: the file is damaged or holds no data.
    """
    scale = min(side / max(raster.size), 1.0)
    width, height = (max(round(length * scale), 1) for length in raster.size)
    with TileReader(raster) as reader:
        shown = reader.read(Window(0, 0, *raster.size), (width, height)).picture
    if shown is None:
        raise RasterError(_nothing(raster.name))
    return shown


def _measure_stretch(raster: Raster) -> tuple[tuple[float, float], ...]:
    """Return the percentiles of each band over the whole raster."""
    with TileReader(raster) as reader:
        values, valid = reader.sample()
    if not valid.any():
        raise RasterError(_nothing(raster.name))
    numbers = values[:, valid].astype(np.float64)  # (bands, n)
    low, high = np.percentile(numbers, STRETCH_PERCENTILES, axis=1)
    flat = high <= low  # nearly everything is one value: keep what little contrast there is
    low[flat], high[flat] = numbers[flat].min(axis=1), numbers[flat].max(axis=1)
    high = np.maximum(high, low + np.maximum(np.abs(low), 1.0) * 1e-6)
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _nothing(name: str) -> str:
    return (
        f"{name} holds no data: every pixel is marked as missing (nodata, mask, alpha or NaN). "
        "Check the file, or its nodata value."
    )
