"""What a saved index says about itself: which model made it, from which regions, of which files.

The manifest is written last and in one step, and names the folder that holds the vectors, so a
crash while saving leaves the older index whole.
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.protocols import MODEL_REGIONS, NO_REGIONS, DetectorRecord, VectorIndex

MANIFEST_FILE = "index.json"
FORMAT = 1
# Any other name could lead out of the index folder, and an older one is deleted.
_VECTORS_NAME = re.compile(r"vectors-[0-9a-f]{8}")


@dataclass(frozen=True)
class Item:
    """One indexed picture.

    Attributes:
        path: of the picture file; None for a picture that was handed in from memory.
        caption: what the gallery says about it, if anything.
    """

    path: str | None
    caption: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Describes a saved index.

    Attributes:
        model_id: folder or Hub id of the model.
        model_revision: commit on the Hub, or None.
        fingerprint: of the model's weights.
        regions: ``model``, ``none`` or a detector's name.
        detector: what identifies the detector; None where there is none or it said no more than
            its name, and in indexes of before detectors were recorded.
        items: one for each row of the vectors; paths are relative to ``root``.
        root: folder that holds all pictures, so that gallery and index can move.
        vectors: name of the folder that holds the vectors, beside the manifest.
        format: version of this layout.
    """

    model_id: str
    model_revision: str | None
    fingerprint: str
    regions: str
    items: tuple[Item, ...]
    root: str = ""
    vectors: str = ""
    detector: DetectorRecord | None = None
    format: int = FORMAT


def relative_items(items: Sequence[Item]) -> tuple[str, tuple[Item, ...]]:
    """Return the folder that holds all pictures, and the items relative to it."""
    paths = [item.path for item in items if item.path]
    root = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    return root, tuple(
        replace(item, path=Path(os.path.relpath(item.path, root)).as_posix()) if item.path else item
        for item in items
    )


def placed_items(manifest: Manifest, images: str | Path | None = None) -> list[Item]:
    """Return the items with whole paths, below ``images`` or where the manifest says."""
    root = str(images) if images is not None else manifest.root
    return [
        replace(item, path=os.path.join(root, item.path)) if item.path else item
        for item in manifest.items
    ]


def write_index(folder: Path, manifest: Manifest, index: VectorIndex) -> None:
    """Write ``index`` and its manifest below ``folder``, replacing what an earlier call wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        older = read_manifest(folder).vectors
    except IndexMismatchError:  # nothing there yet, or nothing that could be read
        older = None
    name = f"vectors-{uuid.uuid4().hex[:8]}"
    index.save(folder / name)
    text = json.dumps({**asdict(manifest), "vectors": name}, indent=1, ensure_ascii=False)
    unfinished = folder / f"{MANIFEST_FILE}.{os.getpid()}.part"
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, folder / MANIFEST_FILE)
    if older:
        shutil.rmtree(folder / older, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a saved index.

    Raises:
        IndexMismatchError: no index there, or one that this version cannot read.
    """
    path = folder / MANIFEST_FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        items = tuple(Item(**item) for item in fields.pop("items"))
        if fields.get("detector") is not None:
            fields["detector"] = DetectorRecord(**fields["detector"])
        manifest = Manifest(items=items, **fields)
    except OSError as error:
        raise IndexMismatchError(
            f"{folder} holds no index ({MANIFEST_FILE} cannot be read). Make one with: "
            f"rsctir index --model MODEL --images FOLDER --index {folder}"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IndexMismatchError(f"{path} is damaged ({error}). Build the index anew.") from error
    if manifest.format != FORMAT:
        raise IndexMismatchError(
            f"{path} has format {manifest.format}; this version reads {FORMAT}. Build it anew."
        )
    if not _VECTORS_NAME.fullmatch(str(manifest.vectors)):
        raise IndexMismatchError(
            f"{path} is damaged: it names its vectors {manifest.vectors!r}; expected a folder such "
            "as vectors-0123abcd beside it. Build the index anew."
        )
    return manifest


def own_regions(manifest: Manifest, folder: Path) -> str:
    """Return the regions of an index where they need no detector: ``model`` or ``none``.

    Raises:
        IndexMismatchError: it was made with a detector; says how to hand that in.
    """
    if manifest.regions not in (MODEL_REGIONS, NO_REGIONS):
        raise IndexMismatchError(
            f"The index in {folder} was made with the regions of {_regions_of(manifest)}. Load "
            "that detector and hand it in: regions=load_detector(ID_OR_FOLDER, threshold=...)."
        )
    return manifest.regions


def check_same_maker(manifest: Manifest, here: Manifest, folder: Path) -> None:
    """Refuse an index that other weights or other regions made than those at hand.

    Args:
        manifest: of the saved index.
        here: what the model and regions at hand would write.
        folder: of the saved index, for the message.

    Raises:
        IndexMismatchError: names both.
    """
    if manifest.fingerprint == here.fingerprint and _same_regions(manifest, here):
        return
    raise IndexMismatchError(
        f"The index in {folder} was made with {manifest.model_id or 'an unnamed model'} "
        f"(weights {manifest.fingerprint}, regions {_regions_of(manifest)}); the model at hand "
        f"is {here.model_id or 'unnamed'} (weights {here.fingerprint}, regions "
        f"{_regions_of(here)}). Build the index anew or load the model and regions that made it."
    )


def _same_regions(one: Manifest, other: Manifest) -> bool:
    if one.detector is not None and other.detector is not None:
        return one.detector.finds_the_same(other.detector)
    return (one.regions, one.detector) == (other.regions, other.detector)


def _regions_of(manifest: Manifest) -> str:
    return manifest.regions if manifest.detector is None else str(manifest.detector)
