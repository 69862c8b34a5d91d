"""Hits as features of GeoJSON, and as the rows of tables made of these."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from rsctir_hf.errors import QueryError
from rsctir_hf.files.names import as_text, path_of
from rsctir_hf.geo.addresses import TileAddress, is_elsewhere_tile, read_tile_address
from rsctir_hf.geo.geojson import Box, bounding_box
from rsctir_hf.scene import SceneAnswer, hits_geojson
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.search.hits import Hit

Feature = Mapping[str, Any]
# In a table a "text" would be what stands in the picture: a caption.
_QUERIES = {"text": "query", "image": "query_image"}


@dataclass(frozen=True)
class TakenHome:
    """Hits on their way into a file.

    Attributes:
        features: of GeoJSON, with the properties of ``scene.hits_geojson``.
        title: what was asked, or the name of the collection.
        link: that asks it again (``search.permalink``), or empty.
        made_by: plain values about model and index.
        more: other members of their FeatureCollection, such as warnings.
        vectors: (n, D) unit vectors of the n features, where they are at hand.
        folder: below which files write the paths of pictures; empty: in full.
    """

    features: Sequence[Feature]
    title: str = ""
    link: str = ""
    made_by: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    vectors: Tensor | None = None
    folder: str = ""

    @classmethod
    def of_hits(cls, hits: Sequence[Hit], **about: Any) -> "TakenHome":  # noqa: ANN401
        """Return it for hits on an index; ``about`` are the other attributes, text and image."""
        asked = {name: about.pop(name, None) for name in ("text", "image")}
        whole = hits_geojson(hits, **asked)
        return cls(whole["features"], more=_other_members(whole), **about)

    @classmethod
    def of_scene(cls, answer: SceneAnswer, **about: Any) -> "TakenHome":  # noqa: ANN401
        """Return it for the hits on a scene, whose tiles can be read again."""
        raster, whole = answer.raster, answer.to_geojson()
        features = []
        for hit, feature in zip(answer.hits, whole["features"], strict=True):
            size = hit.window.width, hit.window.height
            tile = TileAddress(raster.path, hit.window, size, raster.bands, raster.nodata)
            read = {"path": as_text(raster.path), "tile": as_text(str(tile))}
            features.append({**feature, "properties": {**feature["properties"], **read}})
        return cls(features, more=_other_members(whole), **about)

    def of_ranks(self, ranks: Collection[int]) -> "TakenHome":
        """Return only the hits of some ranks.

        Raises:
            QueryError: there is no hit of one of them.
        """
        there = [each["properties"]["rank"] for each in self]
        unknown = sorted(set(ranks) - set(there))
        if unknown:
            raise QueryError(f"There is no hit of rank {unknown[0]}; there are {len(self)} hits.")
        rows = [row for row, rank in enumerate(there) if rank in ranks]
        vectors = None if self.vectors is None else self.vectors[rows]
        return replace(self, features=[self.features[row] for row in rows], vectors=vectors)

    def noted(self, note: str) -> "TakenHome":
        """Return it with a note on each of its pictures."""
        features = [{**each, "properties": {**each["properties"], "note": note}} for each in self]
        return replace(self, features=features)

    @property
    def written(self) -> list[Feature]:
        """The features as files write them: paths below ``folder`` without it."""
        return [{**each, "properties": self._without_folder(each["properties"])} for each in self]

    def _without_folder(self, said: Mapping[str, Any]) -> dict[str, Any]:
        named = {"path", "tile"} & said.keys()
        return {**said, **{name: self.shortened(str(said[name])) for name in named if said[name]}}

    def shortened(self, text: str) -> str:
        """Return a text without the folder."""
        return text.replace(f"{self.folder}/", "") if self.folder else text

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def gone(self) -> list[str]:
        """The paths of pictures whose file is not there any more."""
        return [key_of(each) for each in self if not is_there(each)]

    @property
    def without_place(self) -> int:
        """How many have no place on earth."""
        return sum(each["geometry"] is None for each in self)


def _other_members(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said for name, said in whole.items() if name not in ("type", "features")}


def key_of(feature: Feature) -> str:
    """Return what tells a picture from others: the address of a tile, or the path of a file.

    Empty for a picture that was handed in from memory.
    """
    said = feature["properties"]
    return str(said.get("tile") or said.get("path") or "")


def file_of(feature: Feature) -> str:
    """Return the path of the picture file, or of the raster that holds it."""
    return path_of(str(feature["properties"].get("path") or ""))


def is_tile(feature: Feature) -> bool:
    """Tell whether a picture is a window of a raster and no file of its own."""
    return read_tile_address(path_of(key_of(feature))) is not None


def is_there(feature: Feature) -> bool:
    """Tell whether the file is there; of one that is fetched by its address nobody knows."""
    return is_elsewhere_tile(key_of(feature)) or os.path.isfile(file_of(feature))


def picture_of(feature: Feature) -> Image.Image:
    """Read the picture; raises as ``search.gallery.read_picture`` does."""
    return read_picture(key_of(feature))


def box_of(feature: Feature) -> Box | None:
    """Return west, south, east, north of a feature; west above east over the antimeridian."""
    geometry = feature["geometry"]
    if geometry is None:
        return None
    rings = [ring for ring, *_ in parts_of(geometry)]
    boxes = [bounding_box(ring[:-1]) for ring in rings]
    south, north = min(box[1] for box in boxes), max(box[3] for box in boxes)
    return boxes[0][0], south, boxes[-1][2], north


def parts_of(geometry: Mapping[str, Any]) -> list[Any]:
    """Return the polygons of an area, each a list of rings."""
    found = geometry["coordinates"]
    return [found] if geometry["type"] == "Polygon" else list(found)


def middle_of(box: Box) -> tuple[float, float]:
    """Return longitude and latitude of the middle of a box."""
    west, south, east, north = box
    across = east - west if east >= west else east - west + 360
    longitude = west + across / 2
    return (longitude - 360 if longitude > 180 else longitude), (south + north) / 2


def rows_of(taken: TakenHome) -> list[dict[str, Any]]:
    """Return a flat row for each picture: all rows have all columns that say something."""
    rows = []
    for feature in taken.written:
        row = {
            _QUERIES.get(name, name): ",".join(map(str, said)) if isinstance(said, list) else said
            for name, said in feature["properties"].items()
        }
        box = box_of(feature)
        if box is not None:
            longitude, latitude = middle_of(box)
            row |= {
                "longitude": round(longitude, 8),
                "latitude": round(latitude, 8),
                "bounding_box": ",".join(map(str, box)),
            }
        rows.append(row)
    columns = dict.fromkeys(
        name for row in rows for name, said in row.items() if said not in (None, "")
    )
    return [{name: row.get(name) for name in columns} for row in rows]


def file_name_of(feature: Feature) -> str:
    """Return a short name of the picture, without its folder."""
    return Path(file_of(feature)).name
