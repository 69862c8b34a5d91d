"""The pictures that a launch offers: drawn scenes, a folder, or a data set of the Hub."""

import io
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from datasets import Image as ImageFeature
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.constants import HF_HOME

from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files.atomic import parse_json, write_atomically
from rsctir_hf.files.pictures import list_images, read_image
from rsctir_hf.hub.space import HUB_GALLERY, SAMPLE_GALLERY
from rsctir_hf.loading.hub_files import could_be_dataset_id
from rsctir_hf.sample import sample_folder
from rsctir_hf.search.annotations import ANNOTATIONS_FILE

logger = logging.getLogger(__name__)

_OTHER_NAMES = {"validation": "valid", "valid": "validation"}


@dataclass(frozen=True)
class ShownPicture:
    """What is known of one picture beside its pixels.

    Attributes:
        captions: its sentences, the first is shown.
        category: scene type, if one is named.
        geotransform: six numbers in GDAL's order (x of the corner, x per column, x per row, y of
            the corner, y per column, y per row), if the picture is placed on the earth.
        crs: reference system of the geotransform.
    """

    captions: tuple[str, ...] = ()
    category: str | None = None
    geotransform: tuple[float, ...] | None = None
    crs: str | None = None

    def centre(self, size: tuple[int, int]) -> tuple[float, float] | None:
        """Return x, y of the middle of a picture of ``size`` (W, H) in the units of ``crs``."""
        if self.geotransform is None:
            return None
        x0, dx, rx, y0, ry, dy = self.geotransform
        column, row = size[0] / 2, size[1] / 2
        return x0 + dx * column + rx * row, y0 + ry * column + dy * row


@dataclass(frozen=True)
class Gallery:
    """The pictures that were launched.

    Attributes:
        name: short name for the badge.
        origin: one sentence on where the pictures come from.
        paths: the picture files, in index order.
        records: what is known of them, by path.
        drawn: drawn by our own code: no photographs, and the coordinates are made up.
    """

    name: str
    origin: str
    paths: tuple[Path, ...]
    records: Mapping[str, ShownPicture] = field(default_factory=dict)
    drawn: bool = False

    def record(self, path: str) -> ShownPicture:
        """Return what is known of a picture; an empty record if nothing is."""
        return self.records.get(path, ShownPicture())


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
        return Gallery("drawn scenes", origin, gallery.paths, gallery.records, True)
    if Path(source).expanduser().exists():
        # Hits name their pictures by absolute path, and records are found by that.
        return _open_folder(Path(os.path.abspath(Path(source).expanduser())))
    if could_be_dataset_id(source):
        return _open_hub(source, split)
    raise DataLayoutError(
        f"There is no gallery at {source}. Expected 'sample', a folder of pictures, or a Hub data "
        f"set id such as {HUB_GALLERY}. Change --gallery or RSCTIR_GALLERY."
    )


def _open_folder(folder: Path) -> Gallery:
    paths = list_images(folder)
    if not paths:
        raise DataLayoutError(
            f"The gallery folder {folder} holds no pictures. Put .jpg, .png or .tif files into it, "
            "or launch with --gallery sample."
        )
    records: dict[str, ShownPicture] = {}
    for metadata in sorted(folder.rglob(ANNOTATIONS_FILE)):
        records |= _read_records(metadata)
    return Gallery(folder.name, f"Pictures of the folder {folder.name}.", tuple(paths), records)


def _read_records(metadata: Path) -> dict[str, ShownPicture]:
    records = {}
    lines = metadata.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
            path = str(metadata.parent / row["file_name"])
            records[path] = _record(row)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            logger.warning("%s, line %d is left out: %s", metadata, number, error)
    return records


def _record(row: Mapping[str, Any]) -> ShownPicture:
    captions = row.get("captions") or row.get("caption") or row.get("text") or ()
    texts = (captions,) if isinstance(captions, str) else captions
    transform, category = row.get("geotransform"), row.get("category")
    return ShownPicture(
        captions=tuple(text for text in texts if isinstance(text, str)),
        category=None if category is None else str(category),
        geotransform=tuple(map(float, transform)) if transform and len(transform) == 6 else None,
        crs=_system(row.get("crs")),
    )


def _system(crs: object) -> str | None:
    """Name a reference system: a bare number is an EPSG code."""
    return f"EPSG:{crs}" if isinstance(crs, int) else str(crs) if crs else None


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
    return Gallery(name, origin, tuple(map(Path, records)), records)


def _load_split(name: str, split: str) -> tuple[Dataset, str]:
    """Load a split under the name it has there: ``validation`` is also known as ``valid``."""
    try:
        return load_dataset(name, split=split), split
    except ValueError:
        if split not in _OTHER_NAMES:
            raise
        return load_dataset(name, split=_OTHER_NAMES[split]), _OTHER_NAMES[split]


def _write_pictures(dataset: Dataset, column: str, folder: Path) -> dict[str, ShownPicture]:
    """Lay the pictures of a data set out as files below the cache, once."""
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    for number, row in enumerate(dataset.cast_column(column, ImageFeature(decode=False))):
        path = folder / f"{number:06d}.jpg"
        if not path.is_file() and not _write_jpeg(row[column], path):
            continue
        records[str(path)] = _record(row)
    return records


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
