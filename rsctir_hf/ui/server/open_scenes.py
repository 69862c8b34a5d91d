"""One visitor's open scene: the raster, its tiles once embedded, and what was asked last."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.constants import HF_HOME
from PIL import Image

from rsctir_hf.errors import QueryError
from rsctir_hf.geo.map_output import write_geotiff
from rsctir_hf.geo.placement import Place
from rsctir_hf.geo.raster import PLAIN_FORMATS, Raster, open_raster, overview, read_bands
from rsctir_hf.sample import sample_folder
from rsctir_hf.scene import TILE, SceneAnswer, SceneHit, SceneIndex
from rsctir_hf.scene.plan import plan_tiles
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.time_left import TimeLeft, in_words
from rsctir_hf.ui.server.limits import MAX_SCENE_PIXELS

logger = logging.getLogger(__name__)

#: Most tiles that the app embeds for one visitor; a larger scene belongs on the command line.
MOST_TILES = 4000
OVERVIEW_SIDE = 1200
_SAMPLE_ACROSS, _SAMPLE_CELL, _SAMPLE_GSD = 5, 256, 0.3
_SAMPLE_SEED = 2  # of the gallery's drawn scenes that make up the sample
_SAMPLE_PLACE = (500_000.0, 5_930_000.0)  # metres in UTM zone 32; made up
_SAMPLE_CRS = "EPSG:32632"

#: Told (share done 0..1, what to say).
Report = Callable[[float, str], object]


@dataclass(frozen=True)
class Cut:
    """How a visitor wants a raster read and cut.

    Attributes:
        tile: pixels a side of a tile as the model sees it.
        gsd: metres a pixel of the raster; None for its own word.
        bands: one or three bands; None for the file's own order.
    """

    tile: int = TILE
    gsd: float | None = None
    bands: tuple[int, ...] | None = None

    @classmethod
    def read(cls, tile: float | None, gsd: float | None, bands: str | None) -> "Cut":
        """Read what stands in the controls; empty ones mean the default.

        Raises:
            QueryError: the bands are no numbers.
        """
        return cls(int(tile or TILE), gsd or None, read_bands(bands or None))


@dataclass(frozen=True)
class OpenScene:
    """A scene and what is known of it; lives in one visitor's state.

    Attributes:
        raster: the file.
        picture: all of it, small.
        drawn: drawn by our own code, at a made-up place.
        cut: how ``index`` was made.
        index: its tiles as vectors; None before the first query.
        answer: to the last query.
    """

    raster: Raster
    picture: Image.Image
    drawn: bool = False
    cut: Cut = Cut()
    index: SceneIndex | None = None
    answer: SceneAnswer | None = None

    @property
    def hits(self) -> tuple[SceneHit, ...]:
        """The hits that are shown; none before a search."""
        return self.answer.hits if self.answer is not None else ()

    def indexed(self, retriever: Retriever, cut: Cut, report: Report) -> "OpenScene":
        """Return the scene with its tiles embedded as ``cut`` says; at once where they are.

        Raises:
            QueryError: more tiles than the app embeds, or a cut that makes no sense.
            RasterError: the file is damaged, or holds no data.
        """
        if self.index is not None and self.cut == cut:
            return self
        shown = self
        if cut.bands != self.cut.bands:
            raster = open_raster(self.raster.path, bands=cut.bands, formats=PLAIN_FORMATS)
            shown = replace(self, raster=raster, picture=overview(raster, side=OVERVIEW_SIDE))
        plan = plan_tiles(shown.raster, retriever.encoder.config, tile=cut.tile, gsd=cut.gsd)
        count = len(plan.windows)
        if count > MOST_TILES:
            raise QueryError(
                f"This scene makes {count:,} tiles; the app searches at most {MOST_TILES:,}. Use "
                "larger tiles, or search it on the command line: rsctir scene --raster FILE."
            )
        index = SceneIndex.build(
            retriever,
            shown.raster,
            tile=cut.tile,
            gsd=cut.gsd,
            progress=timed(report),
        )
        return replace(shown, cut=cut, index=index, answer=None)

    def asked(self, **question: Any) -> "OpenScene":  # noqa: ANN401 - of SceneIndex.search
        """Return the scene with its answer to a question; as it is where nothing is embedded."""
        return self if self.index is None else replace(self, answer=self.index.search(**question))


def open_scene(path: str | Path, *, drawn: bool = False) -> OpenScene:
    """Open a raster and look at all of it.

    Raises:
        RasterError: no raster, damaged, or without data.
    """
    raster = open_raster(path, formats=PLAIN_FORMATS, most_pixels=MAX_SCENE_PIXELS)
    return OpenScene(raster, overview(raster, side=OVERVIEW_SIDE), drawn)


def sample_scene() -> Path:
    """Return a GeoTIFF of drawn scenes, one of each type, made at first use and kept.

    Raises:
        DataLayoutError: the drawn scenes are not installed.
        OSError: the cache cannot be written to.
    """
    file = Path(HF_HOME) / "rsctir_hf" / "scenes" / "drawn_scene_v1.tif"
    if not file.is_file():
        one_of_each = sorted(sample_folder().glob(f"*_{_SAMPLE_SEED:02d}.jpg"))
        cells = [_cell(path) for path in one_of_each]
        rows = [
            np.concatenate(cells[start : start + _SAMPLE_ACROSS], axis=1)
            for start in range(0, len(cells), _SAMPLE_ACROSS)
        ]
        east, north = _SAMPLE_PLACE
        write_geotiff(
            file,
            np.moveaxis(np.concatenate(rows), 2, 0),
            place=Place((_SAMPLE_GSD, 0.0, east, 0.0, -_SAMPLE_GSD, north), _SAMPLE_CRS),
        )
        logger.info("The sample scene was written to %s", file)
    return file


def timed(report: Report) -> Callable[[int, int], None]:
    """Return a progress callback that tells the count and the time left."""
    left = TimeLeft()

    def progress(done: int, total: int) -> None:
        seconds = left.seconds(done, total)
        report(done / total, f"{done:,} of {total:,} tiles{in_words(seconds)}")

    return progress


def _cell(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB").crop((0, 0, _SAMPLE_CELL, _SAMPLE_CELL)))
