"""Copies of one picture among hits, which are folded into the best of them.

Copies are files whose bytes are equal, or whose pixels are as ``data.leakage`` compares them:
re-encoded, resized, slightly recoloured, turned. Only pictures whose vectors are near each other
are read and compared. Two pictures of different places are two, however alike; windows of rasters
are no copies (``search.folding`` sees to those).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rsctir_hf.data.leakage import SIDE, equal_files, equal_pixels
from rsctir_hf.errors import RsctirError
from rsctir_hf.files.names import path_of
from rsctir_hf.geo.addresses import read_tile_address
from rsctir_hf.search.gallery import PictureGallery
from rsctir_hf.search.hits import Hit

NEAR = 0.95  # cosine that copies have at least (our reading)


class CopyFinder:
    """Finds copies in one gallery; each picture is read once.

    Args:
        gallery: that the hits are of.
    """

    def __init__(self, gallery: PictureGallery) -> None:
        self._gallery = gallery
        self._looks: dict[int, tuple[bytes, NDArray[np.uint8]] | None] = {}

    def folded(self, hits: Sequence[Hit]) -> list[tuple[Hit, int]]:
        """Return hits without copies of an earlier one, each with how many it stands for."""
        best = list(range(len(hits)))
        for left, right in sorted(self._pairs(hits)):
            if best[left] == left and best[right] == right and _may_be_one(hits[left], hits[right]):
                best[right] = left
        return [(hit, best.count(row)) for row, hit in enumerate(hits) if best[row] == row]

    def _pairs(self, hits: Sequence[Hit]) -> set[tuple[int, int]]:
        """Return the rows (left, right), left < right, of pictures that look the same."""
        files = [row for row, hit in enumerate(hits) if not _is_tile(hit)]
        vectors = self._gallery.index.vectors_of([hits[row].item for row in files])  # (n, D)
        near = np.triu((vectors @ vectors.T).numpy() >= NEAR, k=1)  # (n, n)
        close = [files[row] for row in np.flatnonzero(near.any(axis=0) | near.any(axis=1))]
        looks = {row: look for row in close if (look := self._look(hits[row].item)) is not None}
        rows = list(looks)
        if not rows:
            return set()
        thumbnails = np.stack([looks[row][1] for row in rows])  # (m, 32, 32, 3)
        found = {*equal_files([looks[row][0] for row in rows]), *equal_pixels(thumbnails)}
        place = {row: at for at, row in enumerate(files)}
        pairs = {(rows[left], rows[right]) for left, right in found}
        return {(left, right) for left, right in pairs if near[place[left], place[right]]}

    def _look(self, item: int) -> tuple[bytes, NDArray[np.uint8]] | None:
        """Return digest and thumbnail (32, 32, 3) of a picture; None where it cannot be read."""
        if item not in self._looks:
            try:
                picture = self._gallery.read(item).convert("RGB")
                small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
                self._looks[item] = hashlib.sha256(picture.tobytes()).digest(), small
            except (RsctirError, OSError):
                self._looks[item] = None
        return self._looks[item]


def _may_be_one(first: Hit, second: Hit) -> bool:
    """Tell whether two pictures may lie at one place: their boxes overlap, or one has none."""
    if first.box is None or second.box is None:
        return True
    one, other = first.box, second.box
    across = min(one.max_x, other.max_x) > max(one.min_x, other.min_x)
    return across and min(one.max_y, other.max_y) > max(one.min_y, other.min_y)


def _is_tile(hit: Hit) -> bool:
    return read_tile_address(path_of(hit.path or "")) is not None
