"""Hits folded into better ones: windows of a raster that overlap, and copies of a picture.

The rule of windows is that of a scene (``geo.tiling.merge_windows``), that of copies stands in
``search.copies``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from rsctir_hf.errors import QueryError
from rsctir_hf.files.names import path_of
from rsctir_hf.geo.addresses import read_tile_address
from rsctir_hf.geo.tiling import Window, merge_windows
from rsctir_hf.search.copies import CopyFinder
from rsctir_hf.search.gallery import PictureGallery
from rsctir_hf.search.hits import Hit, Item
from rsctir_hf.vector_index.contract import SearchFilter

#: What is folded: windows and copies, windows, nothing.
FOLDS = (ALL, TILES, NOTHING) = ("all", "tiles", "none")
RASTER = "raster"  # the metadata of a window of an archive name it
_DEEPER = 4  # times as many windows are looked at where too few places are left


def check_fold(fold: str) -> None:
    """Raise ``QueryError`` unless ``fold`` is one of ``FOLDS``."""
    if fold not in FOLDS:
        raise QueryError(f"fold is {fold!r}; expected {', '.join(FOLDS)}.")


def folded_hits(
    ranked: Callable[[int], Sequence[Hit]],
    gallery: PictureGallery,
    *,
    top_k: int,
    fold: str = TILES,
) -> list[Hit]:
    """Return the ``top_k`` best pictures and places, each with how many it stands for.

    All windows of the gallery are counted, and the copies among the hits that were looked at.

    Args:
        ranked: returns that many of the best pictures and windows, best first.
        gallery: that they are in.
        top_k: how many.
        fold: ``all``, ``tiles`` (windows only) or ``none``.
    """
    most, found = top_k, ranked(top_k)
    if fold == NOTHING:
        return list(found)
    copies = CopyFinder(gallery)

    def distinct() -> list[tuple[Hit, int]]:
        best = best_places(found)
        return copies.folded(best) if fold == ALL else [(hit, 1) for hit in best]

    best = distinct()
    while len(best) < top_k and len(found) >= most:
        most *= _DEEPER
        found = ranked(most)
        best = distinct()
    kept = [hit for hit, _ in best[:top_k]]
    merged = {place: count for place, (_, count) in enumerate(best[:top_k])}
    windows = _windows_of(kept)
    for places in windows.values():
        merged |= _counts([kept[place] for place in places], places, gallery)
    return [replace(hit, rank=at + 1, merged=merged[at]) for at, hit in enumerate(kept)]


def best_places(hits: Sequence[Hit]) -> list[Hit]:
    """Return hits, best first, without the windows that an earlier one covers."""
    left_out = set[int]()
    for places in _windows_of(hits).values():
        windows = [_window(hits[place])[1] for place in places]
        order = -np.arange(len(places), dtype=np.float32)
        for group in merge_windows(windows, order, top_k=len(places)):
            left_out |= {places[other] for other in group[1:]}
    return [hit for place, hit in enumerate(hits) if place not in left_out]


def _counts(kept: Sequence[Hit], places: Sequence[int], gallery: PictureGallery) -> dict[int, int]:
    """Return by place how many windows each hit on one raster covers, itself among them."""
    near = set[int]()
    for hit in kept:
        only = SearchFilter({RASTER: hit.metadata[RASTER]}, hit.box)
        near |= set(gallery.index.ids(only).tolist())
    others = sorted(near - {hit.item for hit in kept})
    raster = _window(kept[0])[0]
    found = [_window(item) for item in gallery.items_of(others)]
    windows = [_window(hit)[1] for hit in kept] + [one for path, one in found if path == raster]
    order = np.minimum(len(kept), np.arange(len(windows)))
    groups = merge_windows(windows, -order.astype(np.float32), top_k=len(kept))
    return {places[best]: 1 + len(rest) for best, *rest in groups if best < len(kept)}


def _windows_of(hits: Iterable[Hit]) -> dict[str, list[int]]:
    """Return by raster the places of the hits on its windows."""
    found = defaultdict[str, list[int]](list)
    for place, hit in enumerate(hits):
        if RASTER in hit.metadata and hit.path and read_tile_address(path_of(hit.path)):
            found[_window(hit)[0]].append(place)
    return found


def _window(found: Hit | Item) -> tuple[str, Window]:
    """Return raster and window of an item whose path is the address of a tile."""
    address = read_tile_address(path_of(found.path or ""))
    if address is None:
        return "", Window(0, 0, 0, 0)
    return address.path, address.window
