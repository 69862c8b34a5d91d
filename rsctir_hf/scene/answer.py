"""What a scene answers to a query: hits with their places, a heat map, and both as files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.files.atomic import replacing
from rsctir_hf.geo.geojson import Point, polygon
from rsctir_hf.geo.map_output import write_grid
from rsctir_hf.geo.raster import Raster
from rsctir_hf.geo.tiling import Size, Window
from rsctir_hf.search.confidence import Level


@dataclass(frozen=True)
class SceneHit:
    """One place in a scene that suits the query.

    Attributes:
        rank: from 1.
        score: cosine with the query, -1..1.
        window: where it lies, in pixels of the raster.
        corners: longitude and latitude (EPSG:4326) of upper left, lower left, lower right and
            upper right; None where the raster has no place on the map.
        centre: longitude and latitude of the middle, or None.
        merged: how many windows it stands for, itself among them.
        rerank_score: what the rerank ordered by; None without a rerank.
        level: how well it fits; None where that was not judged.
        map_corners: the corners in the raster's own coordinates; None where it has none.
    """

    rank: int
    score: float
    window: Window
    corners: tuple[Point, ...] | None
    centre: Point | None
    merged: int
    rerank_score: float | None = None
    level: Level | None = None
    map_corners: tuple[Point, ...] | None = None


@dataclass(frozen=True)
class SceneAnswer:
    """What a scene answers to one query.

    Attributes:
        raster: the scene.
        hits: the best places, merged, best first.
        windows: the n windows that were searched.
        scores: (n,) cosines.
        heat: (rows, columns) mean score on a grid of cells; NaN where nothing was searched.
        cell: width and height of a cell in pixels of the raster.
        warnings: what to keep in mind when reading the hits.
        skipped: windows left out, since too few of their pixels hold data.
        confidence: how well the best place fits; None where that was not judged.
        fits_from: the cosine from which a place fits, likewise.
        text: the words asked for, or None.
        image: name of the picture asked for, or None.
    """

    raster: Raster
    hits: tuple[SceneHit, ...]
    windows: tuple[Window, ...]
    scores: NDArray[np.float32]
    heat: NDArray[np.float32]
    cell: Size
    warnings: tuple[str, ...]
    skipped: int
    confidence: Level | None = None
    fits_from: float | None = None
    text: str | None = None
    image: str | None = None

    def to_geojson(self) -> dict[str, Any]:
        """Return the hits as a GeoJSON FeatureCollection, a polygon each (RFC 7946).

        Without a place on earth a feature has no geometry but its ``corners`` in the raster's own
        coordinates, where it has any.
        """
        return {
            "type": "FeatureCollection",
            "features": [self._feature(hit) for hit in self.hits],
            "bands": list(self.raster.bands),
            "warnings": list(self.warnings),
            "confidence": self.confidence,
        }

    def _feature(self, hit: SceneHit) -> dict[str, Any]:
        ring = self.raster.place.ring(hit.window)
        own = {} if ring is not None or hit.map_corners is None else {"corners": hit.map_corners}
        return {
            "type": "Feature",
            "geometry": None if ring is None else polygon(ring),
            "properties": {
                "rank": hit.rank,
                "score": round(hit.score, 6),
                "rerank_score": hit.rerank_score,
                "level": hit.level,
                "text": self.text,
                "image": self.image,
                "file": self.raster.name,
                "pixels": list(hit.window.box),
                "windows": hit.merged,
                **own,
            },
        }

    def write_geojson(self, path: str | Path) -> None:
        """Write ``to_geojson``; the file appears whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        with replacing(path) as unfinished:
            unfinished.write_text(json.dumps(self.to_geojson(), indent=1), encoding="utf-8")

    def write_heat_map(self, path: str | Path) -> None:
        """Write the heat map as a GeoTIFF over the scene; the file appears whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        write_grid(path, self.heat, self.raster, cell=self.cell)
