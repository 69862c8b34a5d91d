"""The address of a tile: a raster's path or address and, after a ``#``, what is read of it.

``/data/town.tif#window=672,336,224,224&size=224,224&bands=4,3,2`` can stand where a picture's path
does, so that an index holds tiles without holding their pixels.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

from rsctir_hf.errors import RasterError
from rsctir_hf.files.listing import state_of
from rsctir_hf.geo.gdal import is_address
from rsctir_hf.geo.raster import Raster, TileReader, open_raster, read_nodata
from rsctir_hf.geo.tiling import Size, Window

_ADDRESS = re.compile(
    r"(?P<path>.+)#window=(?P<window>\d+,\d+,\d+,\d+)&size=(?P<size>\d+,\d+)"
    r"(&bands=(?P<bands>\d+(,\d+)*))?(&nodata=(?P<nodata>[-+.\w]+))?",
    re.DOTALL,  # a name may hold line breaks
)

_BESIDE = (".aux.xml", ".msk", ".ovr")
_MOST_KNOWN = 32
_Asked = tuple[str, tuple[int, ...] | None, float | str | None]
# By path, bands and nodata: the raster, and the states that its files had. For all threads.
_KNOWN: dict[_Asked, tuple[Raster, list[tuple[int, int, int] | None]]] = {}


@dataclass(frozen=True)
class TileAddress:
    """A tile of a raster file.

    Attributes:
        path: of the raster.
        window: in pixels of the raster.
        size: width and height of the tile's picture.
        bands: see ``geo.raster.open_raster``; None for the default.
        nodata: likewise.
    """

    path: str
    window: Window
    size: Size
    bands: tuple[int, ...] | None = None
    nodata: float | str | None = None

    def __str__(self) -> str:
        window = self.window
        place = _joined((window.col, window.row, window.width, window.height))
        bands = f"&bands={_joined(self.bands)}" if self.bands else ""
        nodata = "" if self.nodata is None else f"&nodata={self.nodata}"
        return f"{self.path}#window={place}&size={_joined(self.size)}{bands}{nodata}"


def read_tile_address(text: str) -> TileAddress | None:
    """Return the tile that a text is the address of, or None where it is none."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    width, height = _split(found["size"])
    bands = tuple(_split(found["bands"])) if found["bands"] else None
    window, nodata = Window(*_split(found["window"])), read_nodata(found["nodata"])
    return TileAddress(found["path"], window, (width, height), bands, nodata)


def is_elsewhere_tile(text: str) -> bool:
    """Return whether a text is the address of a tile whose raster is no file of this machine."""
    tile = read_tile_address(text)
    if tile is None or (tile.path.startswith("/") and not tile.path.startswith("/vsi")):
        return False
    return is_address(tile.path)


def read_tile(tile: TileAddress, *, least_valid: float = 0.0) -> Image.Image:
    """Read the picture of a tile.

    Raises:
        MissingDependencyError: rasterio is absent.
        RasterError: the raster is gone, damaged, or holds no data here, or in a smaller share of
            the pixels than ``least_valid``.
    """
    with TileReader(_known_raster(tile.path, tile.bands, tile.nodata)) as reader:
        shown = reader.read(tile.window, tile.size)
    if shown.picture is None or shown.valid < least_valid:
        raise RasterError(
            f"{tile.path} holds no data in {1 - shown.valid:.0%} of its pixels {tile.window.box}."
        )
    return shown.picture


def _known_raster(path: str, bands: tuple[int, ...] | None, nodata: float | str | None) -> Raster:
    """Open a raster once for all its tiles, until it changes: measuring a stretch takes long."""
    raster, states = _KNOWN.get((path, bands, nodata), (None, None))
    if raster is not None and states == _states(raster):
        return raster
    opened = open_raster(path, bands=bands, nodata=nodata)
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.pop(next(iter(_KNOWN)), None)
    _KNOWN[path, bands, nodata] = opened, _states(opened)
    return opened


def _states(raster: Raster) -> list[tuple[int, int, int] | None]:
    """Return the state of each file of a raster, and of what may come to lie beside it."""
    files = raster.path, *raster.files
    return [state_of(file + beside) for file in files for beside in ("", *_BESIDE)]


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _split(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
