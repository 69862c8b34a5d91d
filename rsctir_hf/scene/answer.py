"""What a scene answers to a query: hits with their places, a heat map, and both as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctir_hf.files.atomic import replacing
from rsctir_hf.files.names import as_text, path_of
from rsctir_hf.geo.addresses import read_tile_address
from rsctir_hf.geo.geojson import Point, polygon, unrolled
from rsctir_hf.geo.map_output import write_grid
from rsctir_hf.geo.raster import Raster
from rsctir_hf.geo.tiling import Size, Window
from rsctir_hf.search.confidence import Level
from rsctir_hf.search.folding import RASTER
from rsctir_hf.search.heat import SharedBox
from rsctir_hf.search.hits import Hit, confidence
from rsctir_hf.vector_index.contract import Metadata

OUTLINE = "outline"  # of a window, in the metadata of an archive
#: All metadata that only place a window in its raster.
OF_WINDOWS = frozenset((OUTLINE, RASTER, "column", "row", "width", "height"))


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
        thing: where in the window the query's heat map points; None where nobody looked.
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
    thing: Window | None = None


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
        ring = self.raster.place.ring(hit.thing or hit.window)
        own = {} if ring is not None or hit.map_corners is None else {"corners": hit.map_corners}
        asked = {"text": self.text, "image": self.image, "file": self.raster.name}
        thing = {} if hit.thing is None else {"thing": list(hit.thing.box)}
        return _feature(hit, ring, {**asked, "pixels": list(hit.window.box), **thing, **own})

    def write_geojson(self, path: str | Path) -> None:
        """Write ``to_geojson``; the file appears whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        write_geojson(path, self.to_geojson())

    def write_heat_map(self, path: str | Path) -> None:
        """Write the heat map as a GeoTIFF over the scene; the file appears whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        write_grid(path, self.heat, self.raster, cell=self.cell)


def hits_geojson(
    hits: Sequence[Hit], *, text: str | None = None, image: str | Path | None = None
) -> dict[str, Any]:
    """Return hits on an index as a GeoJSON FeatureCollection, as a scene's answer does.

    A window of an archive has its outline, any other hit its box, and one with a ``thing`` that of
    the thing; the geometry of one without a place on earth is null.

    Args:
        hits: of ``Retriever.search``.
        text: the words asked for.
        image: the picture asked for.
    """
    asked = {"text": text, "image": None if image is None else as_text(Path(image).name)}

    def said(hit: Hit) -> dict[str, Any]:
        thing = {} if hit.thing is None else {"thing": [round(share, 4) for share in hit.thing]}
        return {**asked, **_file_of(hit), **thing}

    return {
        "type": "FeatureCollection",
        "features": [_feature(hit, _ring(hit), said(hit), _said_of(hit)) for hit in hits],
        "warnings": [],
        "confidence": confidence(hits),
    }


def write_geojson(path: str | Path, collection: Mapping[str, Any]) -> None:
    """Write a FeatureCollection; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(collection, indent=1), encoding="utf-8")


def written_outline(ring: NDArray[np.float64]) -> str:
    """Return longitudes and latitudes (n, 2) as an index keeps them, to a millimetre."""
    return ", ".join(f"{longitude:.8f} {latitude:.8f}" for longitude, latitude in ring)


def _feature(
    hit: SceneHit | Hit,
    ring: NDArray[np.float64] | None,
    more: Mapping[str, Any],
    metadata: Metadata = MappingProxyType({}),
) -> dict[str, Any]:
    properties = {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "rerank_score": hit.rerank_score,
        "level": hit.level,
        **more,
        "windows": hit.merged,
    }
    taken = dict.fromkeys(properties)
    properties |= {
        f"metadata_{name}" if name in taken else name: said for name, said in metadata.items()
    }
    geometry = None if ring is None else polygon(ring)
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _ring(hit: Hit) -> NDArray[np.float64] | None:
    """Return the outline of a hit (n, 2) in degrees, or of the thing in it.

    Where the outline has more than four corners, it is that of the hit: the thing is not placed.
    """
    ring = _whole_ring(hit)
    if ring is None or hit.thing is None or len(ring) != 4:
        return ring
    return _within(ring, hit.thing)


def _whole_ring(hit: Hit) -> NDArray[np.float64] | None:
    if OUTLINE in hit.metadata:
        return np.array([each.split() for each in str(hit.metadata[OUTLINE]).split(", ")], float)
    if hit.box is None:
        return None
    west, south, east, north = hit.box.corners
    across = np.linspace(west, east, 2 if east - west < 180 else 5)  # less than 180 degrees apart
    sides = [(x, south) for x in across] + [(x, north) for x in across[::-1]]
    return np.roll(sides, 1, axis=0)  # from the upper left


def _within(corners: NDArray[np.float64], thing: SharedBox) -> NDArray[np.float64]:
    """Return the outline (4, 2) of a thing between corners (4, 2), the upper left first."""
    degrees = np.column_stack([unrolled(corners[:, 0]), corners[:, 1]])
    left, top, right, bottom = thing
    shares = np.array([(left, top), (left, bottom), (right, bottom), (right, top)])
    x, y = shares[:, :1], shares[:, 1:]
    upper, lower = (1 - x) * degrees[0] + x * degrees[3], (1 - x) * degrees[1] + x * degrees[2]
    return (1 - y) * upper + y * lower


def _file_of(hit: Hit) -> dict[str, Any]:
    """Return what a feature says of the file: name, path and, of a window, pixels and address."""
    tile = read_tile_address(path_of(hit.path or ""))
    path = (hit.path or "") if tile is None else as_text(tile.path)
    of_file = {"file": Path(path).name, "path": path, "caption": hit.caption}
    if tile is None:
        return {**of_file, "pixels": None}
    return {**of_file, "pixels": list(tile.window.box), "tile": hit.path}


def _said_of(hit: Hit) -> Metadata:
    """Return the metadata of a hit; of a window without what its pixels and outline say."""
    if RASTER not in hit.metadata:
        return hit.metadata
    return {name: value for name, value in hit.metadata.items() if name not in OF_WINDOWS}
