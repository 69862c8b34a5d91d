"""Search one large georeferenced raster by words or by picture: tiles, scores, hits on the map.

A scene is cut into overlapping windows that each cover as much ground as ``tile`` pixels do at the
model's working resolution (``geo.resolution``). Their vectors are computed once, read ahead of the
model and never all in memory as pictures; each query then costs one product. Scores are cosines;
a rerank changes the order of the hits only. Windows that overlap a better hit are merged into it
(``geo.tiling.merge_windows``, our reading).
"""

from rsctir_hf.scene.answer import SceneAnswer, SceneHit, hits_geojson, write_geojson
from rsctir_hf.scene.archive import ArchiveReport, index_rasters
from rsctir_hf.scene.plan import OVERLAP, TILE
from rsctir_hf.scene.scene_search import TOP_K, SceneIndex, search_scene

__all__ = [
    "OVERLAP",
    "TILE",
    "TOP_K",
    "ArchiveReport",
    "SceneAnswer",
    "SceneHit",
    "SceneIndex",
    "hits_geojson",
    "index_rasters",
    "search_scene",
    "write_geojson",
]
