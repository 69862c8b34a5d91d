"""Rasters through rasterio: what a file holds, windows of it as RGB pictures.

A raster is read window by window, so it may be larger than memory. 8-bit values are taken as they
are; all others are stretched (``files.stretch``) by percentiles of the whole raster: the same for
every window, or neighbours would not match.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rsctir_hf.errors import QueryError, RasterError
from rsctir_hf.files.bands import (
    choose_bands,
    known_limits,
    mask_kinds,
    palette_of,
    shows_least_as_white,
)
from rsctir_hf.files.capture import capture_of_tags
from rsctir_hf.files.names import as_text
from rsctir_hf.files.stretch import (
    fill_missing,
    sample_step,
    stretch_range,
    stretch_to_bytes,
    undeclared_nodata,
)
from rsctir_hf.geo.gdal import (
    address_of,
    data_files,
    is_address,
    name_of,
    opened,
    require_rasterio,
    unreadable,
)
from rsctir_hf.geo.placement import Place, place_of
from rsctir_hf.geo.tiling import Size, Window

#: What may hold pixels of its own only. A VRT names other files, which an upload must not.
PLAIN_FORMATS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")
RASTER_SUFFIXES = frozenset((".tif", ".tiff", ".jp2", ".vrt", ".img"))
_VALUES_AT_ONCE = 16_000_000  # of the bands, while they are sampled
_MOST_NATIVE = 16_000_000  # pixels of a window that is resampled here and not by GDAL
NO_NODATA = "none"  # said of a raster: all of its pixels are data, whatever it says itself


@dataclass(frozen=True)
class Raster:
    """What a raster file holds.

    Attributes:
        path: of the file, or its address.
        driver: of GDAL that opens it.
        size: width and height in pixels.
        bands: the one or three bands, counted from 1, that make a picture.
        place: where it lies.
        palette: colours (256 or 65536, 3) of a paletted band, or None.
        least_is_white: its values are shown the other way around.
        stretch: (low, high) that become black and white; None for 8-bit values.
        nodata: value of pixels without data that a user named, or ``NO_NODATA``; None for the
            file's own word.
        fill: value that stands for missing data though nobody says so, or None.
        notes: what a user should know of the choices made here.
        capture: when and with what it was taken, as far as it says (``files.capture``).
        files: all that it is read from (``geo.gdal.data_files``), on this machine or elsewhere.
    """

    path: str
    driver: str
    size: Size
    bands: tuple[int, ...]
    place: Place
    palette: NDArray[np.uint8] | None = None
    least_is_white: bool = False
    stretch: tuple[float, float] | None = None
    nodata: float | str | None = None
    fill: float | None = None
    notes: tuple[str, ...] = ()
    capture: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name."""
        return name_of(self.path)

    @property
    def gsd(self) -> tuple[float, float] | None:
        """Metres a pixel on the ground, across and down, at the centre; None where unknown."""
        return self.place.gsd

    @property
    def missing(self) -> float | None:
        """The value of pixels without data that GDAL does not know of, if any."""
        return self.nodata if isinstance(self.nodata, float) else self.fill

    def to_lonlat(self, points: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return longitude and latitude (n, 2) in EPSG:4326 of columns and rows (n, 2).

        None where the raster has no place on the map, or these points have none on the earth.
        """
        return self.place.to_lonlat(points)


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

    def __enter__(self) -> "TileReader":
        with ExitStack() as opening:  # closes it where what follows fails
            self._source = opening.enter_context(opened(self.raster.path, [self.raster.driver]))
            kinds = mask_kinds(self._source, self.raster.bands)
            self._opening = opening.pop_all()
        self._masked = bool(kinds - ({"nodata"} if self.raster.nodata == NO_NODATA else set()))
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - its three arguments
        self._opening.__exit__(*error)

    def read(self, window: Window, size: Size) -> Tile:
        """Read a window, resampled to ``size`` (width, height) pixels.

        Raises:
            RasterError: the file is damaged here.
        """
        values, known = self._values(window, size)
        valid = np.asarray(known.any(axis=0))
        share = float(valid.mean())
        if share == 0:
            return Tile(None, 0.0)
        colours = Image.fromarray(self._colours(values))
        return Tile(fill_missing(colours, valid), share)

    def sample(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels at even steps through the raster: values, which are data; both (bands, n).

        All of it is read, some rows at a time: GDAL's own decimated read takes a hundred times as
        long where the file has no overviews.

        Raises:
            RasterError: the file is damaged.
        """
        width, height = self.raster.size
        step = sample_step(self.raster.size)
        rows = max(_VALUES_AT_ONCE // (width * len(self.raster.bands)), 1)
        parts = []
        for top in range(0, height, rows):
            window = Window(0, top, width, min(rows, height - top))
            kept = slice(None), slice(-top % step, None, step), slice(None, None, step)
            both = self._values(window, (width, window.height))
            parts.append([each[kept].reshape(len(each), -1) for each in both])
        values, known = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
        return values, known

    def _values(self, window: Window, size: Size) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return values and which are data, both (bands, height, width)."""
        smaller = window.width > size[0] or window.height > size[1]
        same = (window.width, window.height) == size
        how = "average" if smaller else "bilinear"
        if same or self.raster.palette is not None:
            how = "nearest"
        elif self.raster.missing is not None:  # GDAL would mix it into what lies around it
            if window.width * window.height <= _MOST_NATIVE:
                return _resampled(*self._values(window, (window.width, window.height)), size, how)
            how = "nearest"
        values, known = self._read(window, size, how)
        if self.raster.missing is not None:
            known &= values != self.raster.missing
        if np.issubdtype(values.dtype, np.floating):
            known &= np.isfinite(values).all(axis=0)
        return values, known

    def _read(self, window: Window, size: Size, how: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        bands = list(self.raster.bands)
        rasterio = require_rasterio()
        place = {
            "window": rasterio.windows.Window(window.col, window.row, window.width, window.height),
            "out_shape": (len(bands), size[1], size[0]),
        }
        try:
            how_to = {"resampling": rasterio.enums.Resampling[how], **place}
            if len({self._source.dtypes[band - 1] for band in bands}) == 1:
                values = self._source.read(bands, **how_to)
            else:  # of a VRT; rasterio reads bands of one type only
                how_to["out_shape"] = size[::-1]
                values = np.stack([self._source.read(band, **how_to) for band in bands])
            if not self._masked:
                return values, np.ones(values.shape, bool)
            return values, self._source.read_masks(bands, **place).astype(bool)
        except rasterio.errors.RasterioError as error:
            raise unreadable(self.raster.path, window.box, error) from error

    def _colours(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return RGB (h, w, 3) of values (1 or 3, h, w)."""
        if self.raster.palette is not None:
            return self.raster.palette[values[0]]
        if self.raster.stretch is not None:
            values = stretch_to_bytes(values, *self.raster.stretch)
        if self.raster.least_is_white:
            values = 255 - values
        return np.repeat(np.moveaxis(values, 0, 2), 3 // len(values), axis=2)


def open_raster(
    path: str | Path,
    *,
    bands: Sequence[int] | None = None,
    nodata: float | str | None = None,
    crs: str | None = None,
    formats: Sequence[str] | None = None,
    most_pixels: int | None = None,
) -> Raster:
    """Look into a raster file.

    Args:
        path: a file, or an address that GDAL fetches, as text; a file only where ``formats`` are
            given.
        bands: one or three bands, counted from 1. Default: red, green and blue by the file's own
            word, else the first three, else the first (``files.bands``).
        nodata: value of pixels without data, beside those that the file declares; ``NO_NODATA``:
            all are data. Default: the file's word, and what ``undeclared_nodata`` finds.
        crs: reference system of its coordinates, such as EPSG:32632. Default: the file's word.
        formats: GDAL drivers that may open it; all that are there by default.
        most_pixels: refuse a larger raster before its pixels are read; a file of some kilobytes
            may claim any size.

    Raises:
        MissingDependencyError: rasterio is absent.
        RasterError: no such file, no raster, damaged, too large, or without a pixel that holds
            data; it cannot be fetched.
        QueryError: there are no such bands, or no such reference system.
    """
    if formats and (is_address(str(path)) or address_of(path) != str(path)):
        raise RasterError(f"{path} is not a raster file of this machine; only such files are read.")
    with opened(path, formats) as source:
        if most_pixels is not None and source.width * source.height > most_pixels:
            raise RasterError(
                f"{name_of(path)} has {source.width:,} x {source.height:,} pixels; at most "
                f"{most_pixels / 1e6:,.0f} million are taken here. Cut it (gdal_translate "
                "-srcwin), or search it on the command line: rsctir scene --raster FILE."
            )
        chosen, band_note = choose_bands(source, bands)
        place = place_of(source, crs)
        raster = Raster(
            path=address_of(path),
            driver=source.driver,
            size=(source.width, source.height),
            bands=chosen,
            place=place,
            palette=palette_of(source, chosen),
            least_is_white=shows_least_as_white(source),
            nodata=read_nodata(nodata),
            notes=(*([band_note] if band_note else []), *place.notes),
            capture=capture_of_tags({**source.tags(), **source.tags(ns="IMAGERY")}),
            files=data_files(source),
        )
        kinds = {source.dtypes[band - 1] for band in chosen}
        limits = known_limits(source, chosen)
    _refuse_gone_sources(raster)
    if raster.palette is not None or limits == (0, 255):
        return raster
    if limits is not None:
        return replace(raster, stretch=limits)
    if any(kind.startswith("complex") for kind in kinds):
        raise RasterError(
            f"{raster.name} holds complex numbers. Choose bands of amplitudes or intensities."
        )
    return _stretched(raster)


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


def read_nodata(text: float | str | None) -> float | str | None:
    """Read a nodata value as a user writes it: a number, ``nan``, or ``none``; None stays None.

    Raises:
        QueryError: it is something else.
    """
    if text is None or text == NO_NODATA:
        return text
    try:
        return float(text)
    except ValueError as error:
        raise QueryError(
            f"The nodata value is {text!r}; expected a number, or {NO_NODATA!r} where all is data."
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


def _refuse_gone_sources(raster: Raster) -> None:
    """Raise ``RasterError`` for a VRT over files that are gone: read by threads, they are black."""
    gone = [file for file in raster.files if not (os.path.exists(file) or is_address(file))]
    if raster.driver == "VRT" and gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        raise RasterError(
            f"{raster.name} shows files that are not there: {', '.join(map(as_text, gone[:3]))}"
            f"{more}. Put them back, or make the VRT again without them."
        )


def _stretched(raster: Raster) -> Raster:
    """Return a raster with what becomes black and white, and without fill values."""
    with TileReader(raster) as reader:
        values, known = reader.sample()
    if not known.any():
        raise RasterError(_nothing(raster.name))
    pixels = values[:, known.any(axis=0)]
    fill = None if raster.nodata is not None else undeclared_nodata(pixels)
    if fill is not None:
        share = float((pixels == fill).all(axis=0).mean())
        note = (
            f"{share:.0%} of the pixels hold {fill:g}, far from all others: they are taken for "
            f"missing data, though the file does not say so. If they are data, say so: rsctir "
            f"scene --nodata {NO_NODATA}."
        )
        raster = replace(raster, fill=fill, notes=(*raster.notes, note))
        known &= values != fill
    return replace(raster, stretch=stretch_range(values[known]))


def _resampled(
    values: NDArray[Any], known: NDArray[np.bool_], size: Size, how: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Resample (bands, height, width) so that what is no data counts for nothing."""
    kind = Image.Resampling.BOX if how == "average" else Image.Resampling.BILINEAR

    def smooth(layer: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(Image.fromarray(layer.astype(np.float32)).resize(size, kind))

    shares = np.stack([smooth(each) for each in known])
    sums = np.stack([smooth(np.where(*each, 0)) for each in zip(known, values, strict=True)])
    means = np.divide(sums, shares, out=np.zeros_like(sums), where=shares > 0)
    if np.issubdtype(values.dtype, np.integer):
        means = np.round(means).astype(values.dtype)
    return means, shares > 0.5


def _nothing(name: str) -> str:
    return (
        f"{name} holds no data: every pixel is marked as missing (nodata, mask, alpha or NaN). "
        "Check the file, or its nodata value."
    )
