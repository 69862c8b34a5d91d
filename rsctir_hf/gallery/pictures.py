"""A gallery: pictures, what is known about each, and their vectors, row by row."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from rsctir_hf.errors import DataLayoutError, IndexMismatchError, QueryError
from rsctir_hf.gallery.embedding import ImageSource
from rsctir_hf.gallery.index import ExactIndex
from rsctir_hf.gallery.manifest import Item, Manifest, placed_items
from rsctir_hf.imagery import IMAGE_SUFFIXES, list_images, read_image


class PictureGallery:
    """Items and their unit vectors; grows batch by batch while others search it."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.index = ExactIndex()
        self._pictures: dict[int, Image.Image] = {}  # only those that have no file

    @classmethod
    def restored(
        cls, manifest: Manifest, index: ExactIndex, *, images: str | Path | None = None
    ) -> "PictureGallery":
        """Return the gallery of a saved index.

        Args:
            manifest: as saved.
            index: as saved.
            images: where the pictures lie now, if not where the manifest says.

        Raises:
            IndexMismatchError: there are more or fewer vectors than pictures.
        """
        if len(index) != len(manifest.items):
            raise IndexMismatchError(
                f"The index lists {len(manifest.items)} pictures and holds {len(index)} vectors. "
                "Build it anew."
            )
        gallery = cls()
        gallery.items = placed_items(manifest, images)
        gallery.index = index
        return gallery

    def __len__(self) -> int:
        return len(self.index)

    def add(
        self, vectors: Tensor, sources: Sequence[ImageSource], captions: Sequence[str | None]
    ) -> None:
        """Append n pictures: vectors (n, D), where they come from, what is said about them."""
        # The items first, so that every vector has one at any time.
        for source, caption in zip(sources, captions, strict=True):
            if isinstance(source, Image.Image):
                self._pictures[len(self.items)] = source
                self.items.append(Item(path=None, caption=caption))
            else:
                self.items.append(Item(path=os.path.abspath(source), caption=caption))
        self.index.add(vectors)

    def read(self, item: int) -> Image.Image:
        """Read one picture again.

        Raises:
            ImageReadError: its file is gone or damaged.
            QueryError: it came from memory, and this is an index that was saved and loaded.
        """
        path = self.items[item].path
        if path is None and item not in self._pictures:
            raise QueryError(
                f"Picture {item} of the index was handed in from memory and is not stored. "
                "Index picture files to use rerank 'match' after loading."
            )
        return read_image(path or self._pictures[item])

    def positions_of(self, image: ImageSource | None) -> set[int]:
        """Return where this very file stands in the gallery."""
        if not isinstance(image, str | Path):
            return set()
        path = os.path.abspath(image)
        return {position for position, item in enumerate(self.items) if item.path == path}


def picture_sources(
    images: str | Path | Image.Image | Iterable[ImageSource],
) -> Sequence[ImageSource]:
    """List the pictures of a folder, or pass a sequence on; one picture alone is a list of one.

    Raises:
        DataLayoutError: the folder is missing or holds no picture.
        QueryError: the sequence holds something else, by its first element.
    """
    if isinstance(images, Image.Image) or (isinstance(images, str | Path) and is_picture(images)):
        return [images]
    if not isinstance(images, str | Path):
        # A lazy sequence, such as an image column, stays one.
        sources = images if isinstance(images, Sequence) else list(images)
        _check_first(sources)
        return sources
    found = list_images(images)
    if not found:
        raise DataLayoutError(
            f"{images} holds no picture. Looked in it and its subfolders for files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}. Name the folder that holds the pictures."
        )
    return found


def is_picture(path: str | Path) -> bool:
    """Tell whether this is a file that is named like a picture."""
    file = Path(path).expanduser()
    return file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()


def _check_first(sources: Sequence[ImageSource]) -> None:
    if len(sources) and not isinstance(sources[0], str | Path | Image.Image):
        raise QueryError(
            f"Pictures are given as a {type(sources[0]).__name__}; expected paths or PIL pictures. "
            "Of a data set pass its image column (dataset['image']), of arrays "
            "[Image.fromarray(array) for array in arrays]."
        )


def evenly_spaced(count: int, *, most: int) -> list[int]:
    """Return at most ``most`` evenly spaced positions below ``count``."""
    kept = min(count, most)
    return [position * count // kept for position in range(kept)]
