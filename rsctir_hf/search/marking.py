"""Which pictures are meant by marks: entries of a gallery, or pictures from elsewhere."""

import logging
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path, PurePath

from PIL import Image
from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import QueryError
from rsctir_hf.files.names import as_text, path_of
from rsctir_hf.geo.addresses import read_tile_address
from rsctir_hf.search.concept import Mark
from rsctir_hf.search.gallery import PictureGallery, read_picture, written

logger = logging.getLogger(__name__)

#: A hit by its id or its path as the hit says it, a path below the folder of the pictures, or a
#: picture from elsewhere.
Marked = int | PictureSource
_MOST_SHOWN = 3
_MOST_NAMES = 20_000  # of a gallery that are looked through for one like a name that is unknown


class MarkReader:
    """Reads marks as vectors, from the gallery where the picture is there.

    Args:
        encoder: of pictures from elsewhere.
        gallery: of the others.
    """

    def __init__(self, encoder: Encoder, gallery: PictureGallery) -> None:
        self._encoder, self._gallery = encoder, gallery

    def read(self, good: Sequence[Marked], bad: Sequence[Marked]) -> tuple[Mark, ...]:
        """Return each marked picture once.

        Raises:
            QueryError: an unknown name, with names like it; a picture that is both good and bad.
            UnknownItemError: an id that the index does not hold.
            ImageReadError: a picture from elsewhere that cannot be read.
        """
        found = {kind: self._named(marked) for kind, marked in ((True, good), (False, bad))}
        if both := sorted(found[True].keys() & found[False].keys()):
            raise QueryError(f"Marked both good and bad: {', '.join(both)}. Mark each one way.")
        return tuple(
            Mark(path, kind, vector)
            for kind, marks in found.items()
            for path, vector in marks.values()
        )

    def ids_of(self, marks: Sequence[Mark]) -> dict[int, Mark]:
        """Return by id the marks whose pictures are in the gallery."""
        by_path = {mark.path: mark for mark in marks if mark.path}
        return {one: by_path[path] for path, one in self._gallery.ids_by_name(by_path).items()}

    def at_hand(self, marks: Sequence[Mark]) -> list[Mark]:
        """Return the marks whose pictures can be embedded again; says which cannot."""
        held = self._gallery.ids_by_name([mark.path for mark in marks if mark.path])
        there = [mark for mark in marks if mark.path in held or _is_there(mark.path)]
        if gone := [mark.path or "a picture from memory" for mark in marks if mark not in there]:
            shown = ", ".join(gone[:_MOST_SHOWN])
            logger.warning(
                "%d of %d marked pictures are gone and left out: %s", len(gone), len(marks), shown
            )
        return there

    def _named(self, marked: Sequence[Marked]) -> dict[str, tuple[str | None, Tensor]]:
        """Return path and vector of marked pictures, by what tells them apart."""
        names = [as_text(one) for one in marked if isinstance(one, str | Path)]
        held = self._gallery.ids_by_name(names)
        ids = [*held.values(), *(one for one in marked if isinstance(one, int))]
        inside = list(dict.fromkeys(ids))
        items = self._gallery.items_of(inside)
        vectors = self._gallery.index.vectors_of(inside)
        found: dict[str, tuple[str | None, Tensor]] = {
            item.path or f"picture {one}": (item.path, vector)
            for one, item, vector in zip(inside, items, vectors, strict=True)
        }
        for one in marked:
            if isinstance(one, Image.Image):
                found[f"picture in memory {id(one)}"] = None, self._encoder.image(one)
            elif not isinstance(one, int) and as_text(one) not in held:
                path = written(one)
                found[path] = path, self._from_elsewhere(path)
        return found

    def _from_elsewhere(self, path: str) -> Tensor:
        if not _is_there(path):
            raise QueryError(f"{path} is not in the index, and no such file.{self._like(path)}")
        return self._encoder.image(read_picture(path))

    def _like(self, path: str) -> str:
        """Name the pictures of the gallery whose names come nearest, as a sentence."""
        items = self._gallery.items_of(self._gallery.index.ids(most=_MOST_NAMES))
        paths = {PurePath(item.path).name: item.path for item in items if item.path}
        near = get_close_matches(PurePath(path).name, paths, n=3, cutoff=0.8)
        return f" Did you mean {' or '.join(paths[each] for each in near)}?" if near else ""


def _is_there(path: str | None) -> bool:
    """Tell whether a picture can be looked for: its file is there, or it is a tile's address."""
    if path is None:
        return False
    return read_tile_address(path_of(path)) is not None or os.path.exists(path_of(path))
