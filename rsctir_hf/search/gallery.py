"""A gallery: pictures, what is known about each, and their vectors, in a vector index."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from rsctir_hf.embedding.prepare import Skipped
from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import IndexMismatchError, QueryError
from rsctir_hf.files.names import as_text, named_path, path_of
from rsctir_hf.files.pictures import read_image
from rsctir_hf.geo.addresses import is_elsewhere_tile, read_tile, read_tile_address
from rsctir_hf.search.hits import Item
from rsctir_hf.search.scene_labels import SceneLabels
from rsctir_hf.vector_index.contract import BoundingBox, Entry, Metadata, SearchFilter, VectorIndex

# What the gallery itself notes among the metadata of an entry, and about the index as a whole.
_PATH, _CAPTION = OWN_FIELDS = ("path", "caption")
_ROOT = "root"
_AT_ONCE = 10_000  # entries that are fetched from a server


@dataclass(frozen=True)
class IndexReport:
    """How many pictures were indexed, and which were skipped and why."""

    indexed: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class PictureNotes:
    """What is known about n pictures.

    Attributes:
        captions: what the gallery says about each.
        metadata: what else is known about each.
        boxes: where on the Earth each lies.
    """

    captions: Sequence[str | None]
    metadata: Sequence[Metadata]
    boxes: Sequence[BoundingBox | None]

    @classmethod
    def of(
        cls,
        count: int,
        *,
        captions: Sequence[str | None] | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> "PictureNotes":
        """Return it for ``count`` pictures, with nothing where nothing is given.

        Raises:
            QueryError: another number of one of them.
        """
        for name, given in (("captions", captions), ("metadata", metadata), ("boxes", boxes)):
            if given is not None and len(given) != count:
                raise QueryError(f"Got {len(given)} {name} for {count} pictures.")
        nothing = [None] * count
        return cls(
            nothing if captions is None else captions,
            [{}] * count if metadata is None else metadata,
            nothing if boxes is None else boxes,
        )

    def labelled(self, scenes: SceneLabels | None, vectors: Tensor) -> "PictureNotes":
        """Return it with the likeliest of some scenes for each of the vectors (n, D)."""
        if scenes is None:
            return self
        pairs = zip(self.metadata, scenes.metadata(vectors), strict=True)
        joined = [{**known, **scene} for known, scene in pairs]
        return PictureNotes(self.captions, joined, self.boxes)

    def at(self, rows: Sequence[int]) -> "PictureNotes":
        """Return what is known about some of them."""
        return PictureNotes(
            [self.captions[row] for row in rows],
            [self.metadata[row] for row in rows],
            [self.boxes[row] for row in rows],
        )

    def noted(self, row: int, path: str | None) -> dict[str, Any]:
        """Return the metadata of one with its path and caption, where it has them."""
        own = {_PATH: path, _CAPTION: self.captions[row]}
        given = {name: value for name, value in own.items() if value is not None}
        return {**self.metadata[row], **given}


def last_of_each(sources: Sequence[PictureSource]) -> list[int]:
    """Return the positions of n pictures without those whose file comes again later."""
    last = {
        position if isinstance(source, Image.Image) else os.path.abspath(source): position
        for position, source in enumerate(sources)
    }
    return list(last.values())


def written(path: str | Path) -> str:
    """Return how the index writes the path of a file: in full, as text (``files.names``).

    The address of a tile whose raster is elsewhere stays as it is.
    """
    if is_elsewhere_tile(str(path)):
        return str(path)
    return as_text(os.path.abspath(named_path(path)))


def read_picture(path: str) -> Image.Image:
    """Read a picture by its path as a gallery writes it; it may be a tile of a raster.

    Raises:
        ImageReadError: it is gone or damaged.
        MissingDependencyError: rasterio, which tiles need, is absent.
    """
    tile = read_tile_address(path_of(path))
    return read_image(path_of(path)) if tile is None else read_tile(tile)


class PictureGallery:
    """Pictures in a vector index; grows batch by batch while others search it.

    Args:
        index: any engine.
        images: where the pictures lie now, if not where the index says.

    Raises:
        IndexMismatchError: what the index says of its pictures is damaged.
    """

    def __init__(self, index: VectorIndex, *, images: str | Path | None = None) -> None:
        self.index = index
        self._images = None if images is None else written(images)
        self._root: str = index.record.get(_ROOT) or ""
        if not isinstance(self._root, str):
            raise IndexMismatchError(
                f"The record of the index in {index.place} is damaged: its {_ROOT} is "
                f"{self._root!r}, expected a folder. Build the index anew."
            )
        self._pictures: dict[int, Image.Image] = {}  # only those that have no file

    def __len__(self) -> int:
        return len(self.index)

    def add(self, vectors: Tensor, sources: Sequence[PictureSource], notes: PictureNotes) -> None:
        """Add n pictures; one whose file is in the gallery already takes the place of that.

        Args:
            vectors: (n, D) unit vectors.
            sources: where they come from.
            notes: what is known about them.
        """
        paths = [None if isinstance(one, Image.Image) else written(one) for one in sources]
        metadata = [notes.noted(row, path) for row, path in enumerate(paths)]
        self._widen_root(path for path in paths if path and not is_elsewhere_tile(path))
        held = self._ids_of_paths({path for path in paths if path})
        once = last_of_each(sources)
        for rows in (
            [row for row in once if paths[row] in held],
            [row for row in once if paths[row] not in held],
        ):
            about: dict[str, Any] = {
                "metadata": [metadata[row] for row in rows],
                "boxes": [notes.boxes[row] for row in rows],
            }
            if rows and paths[rows[0]] in held:
                self.index.upsert(vectors[rows], [held[str(paths[row])] for row in rows], **about)
            elif rows:
                ids = self.index.add(vectors[rows], **about).tolist()
                added = zip(ids, (sources[row] for row in rows), strict=True)
                self._pictures |= {
                    one: kept for one, kept in added if isinstance(kept, Image.Image)
                }

    def below(self, folders: Sequence[str | Path]) -> dict[int, str]:
        """Return by id the files, as text, that lie below folders or did: of a tile its raster."""
        places = [place for each in folders for place in (each, os.path.realpath(each))]
        roots = tuple(f"{written(place)}/" for place in places)
        found = dict[int, str]()
        for part in self.index.ids().split(_AT_ONCE):
            for entry in self.index.entries_of(part):
                path = str(entry.metadata.get(_PATH, ""))
                if path.startswith(roots):
                    tile = read_tile_address(path_of(path))
                    found[entry.id] = path if tile is None else as_text(tile.path)
        return found

    def items_of(self, ids: Sequence[int] | Tensor) -> list[Item]:
        """Return what is known about the pictures under ``ids``, with paths as they are now."""
        return [self._item(entry) for entry in self.index.entries_of(ids)]

    def read(self, item: int) -> Image.Image:
        """Read one picture again.

        Raises:
            ImageReadError: its file is gone or damaged; it may be a tile of a raster.
            IndexMismatchError: the index names a file outside of the folder of its pictures.
            QueryError: it came from memory, and this is an index that was saved and loaded.
        """
        path = self.items_of([item])[0].path
        if not path and item not in self._pictures:
            raise QueryError(
                f"Picture {item} of the index was handed in from memory and is not stored. "
                "Index picture files to use rerank 'match' after loading."
            )
        return read_picture(path) if path else read_image(self._pictures[item])

    def ids_of(self, image: PictureSource | None) -> list[int]:
        """Return the id of this very file, if it is in the gallery."""
        if not isinstance(image, str | Path):
            return []
        return list(self._ids_of_paths({self._indexed(image)}).values())

    def ids_by_name(self, names: Iterable[str]) -> dict[str, int]:
        """Return the ids of those files that are in the gallery.

        A name is a path, or else one below the folder of all pictures.
        """
        root = self._images or self._root
        tried = {
            name: (self._indexed(name), self._indexed(os.path.join(root, name))) for name in names
        }
        held = self._ids_of_paths({path for paths in tried.values() for path in paths})
        found = {name: held.get(path, held.get(below)) for name, (path, below) in tried.items()}
        return {name: one for name, one in found.items() if one is not None}

    @property
    def record(self) -> dict[str, Any]:
        """The record of the index, with the folder that holds all pictures: they may move."""
        return {**self.index.record, _ROOT: self._root}

    def _indexed(self, path: str | Path) -> str:
        """Return how the index writes the path of a file that lies where the pictures are now."""
        now = written(path)
        if self._images is None:
            return now
        return os.path.join(self._root, os.path.relpath(now, self._images))

    def _item(self, entry: Entry) -> Item:
        more: dict[str, Any] = dict(entry.metadata)
        path, caption = more.pop(_PATH, None), more.pop(_CAPTION, None)
        for name, found in ((_PATH, path), (_CAPTION, caption)):
            if not isinstance(found, str | None):
                raise IndexMismatchError(
                    f"The index in {self.index.place} is damaged: the {name} of entry {entry.id} "
                    f"is {found!r}, expected a text. Build the index anew."
                )
        if path:
            self._refuse_outside(path)
        if path and self._images is not None:
            path = os.path.join(self._images, os.path.relpath(path, self._root))
        return Item(path, caption, more, entry.box)

    def _refuse_outside(self, path: str) -> None:
        """Raise ``IndexMismatchError`` for a path that leads out of the folder of all pictures.

        Of an index in a folder only: that of a server may be growing at this moment.
        """
        if not self._root or self.index.persistent or is_elsewhere_tile(path):
            return
        if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(self._root)):
            raise IndexMismatchError(
                f"The index in {self.index.place} names {path!r}, which is outside of the folder "
                f"that holds its pictures, {self._root}. Build the index anew from the pictures."
            )

    def _ids_of_paths(self, paths: set[str]) -> dict[str, int]:
        """Return the id of each of these paths that is in the gallery."""
        if not paths or not len(self):
            return {}
        found = self.index.ids(SearchFilter({_PATH: paths}))
        return {str(entry.metadata[_PATH]): entry.id for entry in self.index.entries_of(found)}

    def _widen_root(self, paths: Iterable[str]) -> None:
        """Let the root hold these paths as well."""
        folders = {os.path.dirname(path) for path in paths} | ({self._root} - {""})
        self._root = os.path.commonpath(folders) if folders else ""
