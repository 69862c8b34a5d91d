"""The pictures that a launch offers: drawn scenes, a folder, an index, or a data set of the Hub."""

import io
import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from datasets import Image as ImageFeature
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.constants import HF_HOME

from rsctir_hf.errors import DataLayoutError, ImageReadError, QueryError
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.files.metadata import (
    CAPTION_NAMES,
    CATEGORY_NAMES,
    PictureRow,
    read_metadata_below,
    read_row,
)
from rsctir_hf.files.names import named_path, path_of
from rsctir_hf.files.pictures import list_images, read_image
from rsctir_hf.geo.addresses import read_tile_address
from rsctir_hf.hub.space import HUB_GALLERY, SAMPLE_GALLERY
from rsctir_hf.loading.hub_files import could_be_dataset_id
from rsctir_hf.sample import sample_folder
from rsctir_hf.search.hits import Item
from rsctir_hf.search.retriever import Retriever

logger = logging.getLogger(__name__)

_SHOWN_NAMES = (*CAPTION_NAMES, *CATEGORY_NAMES, "geotransform", "crs")
_OTHER_NAMES = {"validation": "valid", "valid": "validation"}


@dataclass(frozen=True)
class Gallery:
    """The pictures that were launched.

    Attributes:
        name: short name for the badge.
        origin: one sentence on where the pictures come from.
        paths: the picture files, in index order.
        records: what is known of them, by path.
        drawn: drawn by our own code: no photographs, and the coordinates are made up.
        folder: that holds them all; None where they come with an index.
    """

    name: str
    origin: str
    paths: tuple[Path, ...]
    records: Mapping[str, PictureRow] = field(default_factory=dict)
    drawn: bool = False
    folder: Path | None = None

    def record(self, path: str) -> PictureRow:
        """Return what is known of a picture; an empty record if nothing is."""
        return self.records.get(named_path(path), PictureRow())

    @cached_property
    def root(self) -> str:
        """The folder that the pictures have in common; empty where there are none."""
        folders = [os.path.dirname(path) for path in self.paths]
        return os.path.commonpath(folders) if folders else ""

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The pictures' names below ``root``, by their paths."""
        return {
            path: Path(os.path.relpath(path, self.root)).as_posix() for path in map(str, self.paths)
        }

    @cached_property
    def named(self) -> Mapping[str, str]:
        """The pictures' paths by their names, and by what stands at the end of those alone."""
        ends = Counter(Path(name).name for name in self.names.values())
        short = {Path(name).name: path for path, name in self.names.items()}
        whole = {name: path for path, name in self.names.items()}
        return {name: path for name, path in short.items() if ends[name] == 1} | whole

    def path_of(self, name: str) -> str:
        """Return the path of a picture by its name.

        Raises:
            QueryError: there is none of this name; names those like it.
        """
        if name in self.named:
            return self.named[name]
        near = get_close_matches(name, self.named, n=3, cutoff=0.8)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise QueryError(f"There is no picture {name} in this gallery.{meant}")

    @cached_property
    def types(self) -> Mapping[str, tuple[str, ...]]:
        """The paths of the pictures of each scene type, by its name."""
        found: dict[str, list[str]] = {}
        for path in map(str, self.paths):
            if category := self.record(path).category:
                found.setdefault(category, []).append(path)
        return {name: tuple(found[name]) for name in sorted(found)}


def open_gallery(source: str, *, split: str = "test") -> Gallery:
    """Open the gallery that ``--gallery`` names.

    Args:
        source: ``sample``, a folder, or a Hub data set id with an image column.
        split: split of a Hub data set.

    Raises:
        DataLayoutError: nothing there, no pictures in it, or the Hub cannot be reached.
    """
    if source == SAMPLE_GALLERY:
        gallery = _open_folder(sample_folder())
        origin = "Drawn by this project's own code: these are not photographs."
        return replace(gallery, name="drawn scenes", origin=origin, drawn=True)
    if Path(source).expanduser().exists():
        # Hits name their pictures by absolute path, and records are found by that.
        return _open_folder(Path(os.path.abspath(Path(source).expanduser())))
    if could_be_dataset_id(source):
        return _open_hub(source, split)
    raise DataLayoutError(
        f"There is no gallery at {source}. Expected 'sample', a folder of pictures, an index, or a "
        f"Hub data set id such as {HUB_GALLERY}. Change --gallery or RSCTIR_GALLERY."
    )


def gallery_of_index(retriever: Retriever) -> Gallery:
    """Return the pictures of an index that was opened.

    Raises:
        DataLayoutError: it holds none, or none whose files are there.
        IndexMismatchError: it names a picture outside of the folder that holds them.
    """
    place = retriever.engine.place
    items = retriever.items
    records = {path_of(item.path): _known_of(item) for item in items if item.path}
    if not records:
        held = f"{len(items)} entries without files" if items else "nothing"
        raise DataLayoutError(
            f"The index in {place} holds {held}, so there is nothing to show. Make one of picture "
            "files with rsctir index, or launch with another --gallery."
        )
    if not any(_is_there(path) for path in records):
        raise DataLayoutError(
            f"None of the pictures of the index in {place} is there; one is {next(iter(records))}. "
            "If they moved, say where to: --images FOLDER."
        )
    name = Path(place).name
    return Gallery(name, f"Pictures of the index {name}.", tuple(map(Path, records)), records)


def _is_there(path: str) -> bool:
    tile = read_tile_address(path)
    return Path(path if tile is None else tile.path).exists()


def _known_of(item: Item) -> PictureRow:
    category = next((item.metadata[name] for name in CATEGORY_NAMES if name in item.metadata), None)
    return PictureRow(
        captions=(item.caption,) if item.caption else None,
        category=None if category is None else str(category),
        metadata=item.metadata,
    )


def _open_folder(folder: Path) -> Gallery:
    paths = list_images(folder)
    if not paths:
        raise DataLayoutError(
            f"The gallery folder {folder} holds no pictures and no index. Put .jpg, .png or .tif "
            "files into it, name a folder that 'rsctir index' or 'rsctir embed' wrote, or launch "
            "with --gallery sample."
        )
    origin = f"Pictures of the folder {folder.name}."
    records = read_metadata_below(folder)
    return Gallery(folder.name, origin, tuple(paths), records, folder=folder)


def _open_hub(name: str, split: str) -> Gallery:
    try:
        dataset, split = _load_split(name, split)
    except (DatasetNotFoundError, OSError, ValueError, RuntimeError) as error:
        raise DataLayoutError(
            f"The Hub data set {name} ({split}) could not be loaded: {error}. Check the id, the "
            "split and the network, or launch with --gallery sample."
        ) from error
    column = next((k for k, v in dataset.features.items() if isinstance(v, ImageFeature)), None)
    if column is None:
        raise DataLayoutError(
            f"The Hub data set {name} has no image column (found {', '.join(dataset.features)})."
        )
    # The fingerprint changes with the data set, so that a new revision never meets old pictures.
    version = f"{split}-{dataset._fingerprint}"
    folder = Path(HF_HOME) / "rsctir_hf" / "galleries" / name.replace("/", "--") / version
    records = _write_pictures(dataset, column, folder)
    origin = f"{split} split of {name} on the Hugging Face Hub."
    return Gallery(name, origin, tuple(map(Path, records)), records, folder=folder)


def _load_split(name: str, split: str) -> tuple[Dataset, str]:
    """Load a split under the name it has there: ``validation`` is also known as ``valid``."""
    try:
        return load_dataset(name, split=split), split
    except ValueError:
        if split not in _OTHER_NAMES:
            raise
        return load_dataset(name, split=_OTHER_NAMES[split]), _OTHER_NAMES[split]


def _write_pictures(dataset: Dataset, column: str, folder: Path) -> dict[str, PictureRow]:
    """Lay the pictures of a data set out as files below the cache, once."""
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    for number, row in enumerate(dataset.cast_column(column, ImageFeature(decode=False))):
        path = folder / f"{number:06d}.jpg"
        if not path.is_file() and not _write_jpeg(row[column], path):
            continue
        records[str(path)] = _shown(row, path.name)
    return records


def _shown(row: Mapping[str, Any], file_name: str) -> PictureRow:
    """Read what a row says of its picture; a data set of others may say it in another way."""
    said = {name: row[name] for name in _SHOWN_NAMES if name in row}
    try:
        return read_row({**said, "file_name": file_name})
    except DataLayoutError as error:
        logger.warning("What the data set says of %s is not shown: %s", file_name, error)
        return PictureRow(file_name)


def _write_jpeg(cell: Mapping[str, Any], path: Path) -> bool:
    try:
        picture = read_image(cell["bytes"] if cell["bytes"] is not None else cell["path"])
    except ImageReadError as error:
        logger.warning("A picture is left out: %s", error)
        return False
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=95)
    write_atomically(path, buffer.getvalue(), durable=False)
    return True
