"""The layouts that captioned picture sets come in, each read into the same records.

- *imagefolder*: ``ROOT/SPLIT/metadata.jsonl``, or one in ``ROOT`` for all splits (or ``.csv``,
  ``.tsv``, ``.parquet``) with ``file_name`` and ``captions`` beside the pictures, as
  ``datasets.load_dataset("imagefolder", data_dir=ROOT)`` takes it.
- *Karpathy*: one ``dataset_NAME.json`` for all splits, and a folder of pictures.
- *precomp*: ``SPLIT_caps.txt`` and ``SPLIT_filename.txt``, and a folder of pictures. File names
  stand once per picture in some releases and once per caption in others.

Readers here check what is written in the files; :mod:`rsctir_hf.data.benchmarks` knows the
benchmarks, their official splits and counts.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from rsctir_hf.data.picture_shards import SHARD_SUFFIXES, is_saved
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.files.metadata import (
    CAPTION_NAMES,
    METADATA_FILE,
    PictureRow,
    caption_texts,
    metadata_file,
    metadata_folders,
    plain_name,
    read_metadata,
)
from rsctir_hf.files.pictures import list_images
from rsctir_hf.files.rows import TEXT_SUFFIXES, decode
from rsctir_hf.files.sentences import sound_captions

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
#: What the releases call each split.
SPLIT_ALIASES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
IMAGEFOLDER_TREE = """\
ROOT/train/metadata.jsonl       one line a picture: {"file_name": "a.jpg", "captions": ["...", ...]}
ROOT/train/a.jpg ...
ROOT/validation/...
ROOT/test/..."""
KARPATHY_TREE = """\
ROOT/dataset_NAME.json          {"images": [{"filename", "split", "sentences": [{"raw"}]}]}
ROOT/images/a.tif ...           (or give the folder of pictures as images=)"""
PRECOMP_TREE = """\
ROOT/train_caps.txt             captions, one a line, the same number for every picture
ROOT/train_filename.txt         names, one line a picture or one line a caption
ROOT/test_caps.txt, ROOT/test_filename.txt (and val_... where the release has them)
ROOT/images/a.tif ...           (or give the folder of pictures as images=)"""
#: Of files that tables of captioned pictures come in.
KNOWN_SUFFIXES = (*TEXT_SUFFIXES, *SHARD_SUFFIXES)
#: How many names an error lists before it says "and N more".
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class CaptionRecord:
    """One picture of a split, as a release names it.

    Attributes:
        file_name: the picture's name in the release.
        captions: its sentences, blank ones left out; may be empty.
        category: scene class, where the source has one.
    """

    file_name: str
    captions: tuple[str, ...]
    category: str | None = None


def split_of_word(word: str) -> str:
    """Return which split a word means; "" for none."""
    stem = word.strip().lower().removesuffix("ing")  # training, testing
    return next((split for split, aliases in SPLIT_ALIASES.items() if stem in aliases), "")


def split_named(path: PurePath) -> str:
    """Return which split a file is of, by a word of its name or a folder of its path."""
    words = (*re.split(r"[\W_]+", path.stem), *reversed(path.parts[:-1]))
    return next(filter(None, map(split_of_word, words)), "")


def detect_format(source: Path) -> str:
    """Say which layout a local source has.

    Args:
        source: a folder; or one ``dataset_NAME.json`` or ``SPLIT_caps.txt`` where a folder holds
            several kinds.

    Returns:
        ``imagefolder``, ``karpathy``, ``precomp``, or ``other`` for what ``reading`` alone knows.

    Raises:
        DataLayoutError: the source has none of these layouts.
    """
    if is_saved(source):
        return "other"
    if source.is_file() and source.suffix.lower() == ".json":
        return "karpathy"
    if source.is_file() and source.name.endswith("_caps.txt"):
        return "precomp"
    if metadata_folders("*", source) or root_splits(source):
        return "imagefolder"
    if any(source.glob("dataset*.json")):
        return "karpathy"
    if any(source.glob("*_caps.txt")):
        return "precomp"
    if any(file.suffix.lower() in KNOWN_SUFFIXES for file in (source, *source.rglob("*.*"))):
        return "other"
    raise layout_error(
        source,
        "does not hold a captioned picture set" if source.exists() else "does not exist",
        f"an imagefolder\n{IMAGEFOLDER_TREE}\nor a Karpathy release\n{KARPATHY_TREE}\n"
        f"or a precomp release\n{PRECOMP_TREE}",
        "Give the folder that holds one of these, or a Hub id such as arampacha/rsicd.",
    )


def list_splits(source: Path, layout: str) -> tuple[str, ...]:
    """List which of ``SPLITS`` a local source of a known layout holds.

    Raises:
        DataLayoutError: its caption file is damaged, or it holds several.
    """
    if layout == "karpathy":
        names = {entry["split"] for entry in _karpathy_entries(karpathy_file(source))}
    elif layout == "precomp":
        names = {path.name.removesuffix("_caps.txt") for path in precomp_root(source).glob("*")}
    else:
        names = _imagefolder_splits(source)
    return tuple(split for split in SPLITS if names.intersection(SPLIT_ALIASES[split]))


def karpathy_file(source: Path) -> Path:
    """Return the caption file of a Karpathy release, of which there must be just one."""
    if source.is_file():
        return source
    files = sorted(source.glob("dataset*.json"))
    if len(files) != 1:
        raise layout_error(
            source,
            f"holds {len(files)} caption files: {shorten(file.name for file in files)}",
            KARPATHY_TREE,
            "Give the path of the file you mean instead of the folder.",
        )
    return files[0]


def release_of(source: Path) -> tuple[str, Path] | None:
    """Return the layout of a release and where it lies, by the same rules; None: it is none."""
    if source.name.endswith("_caps.txt") or (source.is_dir() and any(source.glob("*_caps.txt"))):
        return "precomp", source
    files = [source] if source.is_file() else sorted(source.glob("*.json"))
    releases = [file for file in files if file.suffix.lower() == ".json" and _is_karpathy(file)]
    if not releases:
        return None
    return "karpathy", releases[0] if len(releases) == 1 else karpathy_file(source)


def _is_karpathy(file: Path) -> bool:
    with suppress(ValueError, KeyError, TypeError, IndexError):
        return "sentences" in parse_json(decode(file.read_bytes()))["images"][0]
    return False


def read_release(source: Path, layout: str, split: str) -> list[CaptionRecord]:
    """Read one split of a Karpathy or precomp release."""
    if layout == "karpathy":
        return read_karpathy(karpathy_file(source), split)
    return read_precomp(precomp_root(source), split)


def picture_folder(source: Path) -> Path:
    """Return where the pictures of a release lie: a folder beside its files, or that of these."""
    root = precomp_root(source)
    named = next((root / name for name in ("images", "imgs") if (root / name).is_dir()), None)
    return named or root


def precomp_root(source: Path) -> Path:
    """Return the folder of the text files."""
    return source.parent if source.is_file() else source


def read_imagefolder(root: Path, split: str) -> tuple[list[CaptionRecord], list[Path]]:
    """Read one split of an imagefolder.

    Args:
        root: the folder that holds one folder per split.
        split: train, validation or test; ``val``, ``valid`` and ``dev`` are found too.

    Returns:
        The records and, in the same order, the paths of their pictures.

    Raises:
        DataLayoutError: the split, a line of its metadata or a picture is missing or malformed.
    """
    folders = (root / alias for alias in SPLIT_ALIASES.get(split, (split,)))
    folder = next((each for each in folders if metadata_file(each)), root)
    rows = read_metadata(folder) if folder != root else _rows_of_split(root, split)
    if not rows and folder == root:
        raise layout_error(
            root,
            f"has no split {split!r} with a {METADATA_FILE}",
            IMAGEFOLDER_TREE,
            "Name the splits train, validation and test, or choose one that exists: "
            f"{', '.join(sorted(_imagefolder_splits(root)))}.",
        )
    records = [caption_record(row) for row in rows]
    paths = [row.path for row in rows]  # refuses those outside of the folder
    missing = [row.file_name for row in rows if not os.path.isfile(folder / row.file_name)]
    if missing:
        raise layout_error(
            folder,
            f"lacks {len(missing)} of its {len(records)} pictures: {shorten(missing)}",
            IMAGEFOLDER_TREE,
            f"Copy the pictures beside {METADATA_FILE}, or take out their rows.",
        )
    return records, paths


def _imagefolder_splits(root: Path) -> set[str]:
    return {folder.name for folder in metadata_folders("*", root)} | root_splits(root)


def root_splits(root: Path) -> set[str]:
    """Return the splits that one metadata file for all of them names: ``train/a.jpg``.

    None, where some picture does not lie in a folder called like a split.
    """
    rows = read_metadata(root) if metadata_file(root) else []
    firsts = {_first_folder(row) for row in rows}
    return firsts if firsts <= set(chain.from_iterable(SPLIT_ALIASES.values())) else set()


def _rows_of_split(root: Path, split: str) -> list[PictureRow]:
    wanted = root_splits(root).intersection(SPLIT_ALIASES.get(split, (split,)))
    return [row for row in read_metadata(root) if _first_folder(row) in wanted] if wanted else []


def _first_folder(row: PictureRow) -> str:
    return os.path.normpath(row.file_name).partition("/")[0] if "/" in row.file_name else ""


def read_karpathy(file: Path, split: str) -> list[CaptionRecord]:
    """Read one split of a Karpathy-style JSON file.

    Raises:
        DataLayoutError: the file is no such JSON or has no picture in ``split``.
    """
    entries = _karpathy_entries(file)
    records = [
        CaptionRecord(entry["filename"], caption_texts(entry["sentences"]))
        for entry in entries
        if entry["split"] in SPLIT_ALIASES[split]
    ]
    if not records:
        found = Counter(entry["split"] for entry in entries)
        raise layout_error(
            file,
            f"has no picture in split {split!r}, only {dict(found)}",
            KARPATHY_TREE,
            "Choose a split that the release has.",
        )
    return records


def read_precomp(root: Path, split: str) -> list[CaptionRecord]:
    """Read one split of a ``*_caps.txt`` + ``*_filename.txt`` release.

    Raises:
        DataLayoutError: a file is missing, or names and captions do not go together.
    """
    pairs = ((root / f"{a}_caps.txt", root / f"{a}_filename.txt") for a in SPLIT_ALIASES[split])
    found = next(((caps, names) for caps, names in pairs if caps.is_file()), None)
    if found is None or not found[1].is_file():
        lacking = found[1].name if found else f"{SPLIT_ALIASES[split][-1]}_caps.txt"
        have = sorted(path.name for path in root.glob("*_caps.txt"))
        raise layout_error(
            root,
            f"has no {lacking} for split {split!r} (caption files: {', '.join(have)})",
            PRECOMP_TREE,
            "Copy both text files of the split, or choose a split that exists.",
        )
    captions, names = (_lines(path) for path in found)
    return _join_precomp(names, captions, root=root, split=split)


def _join_precomp(
    names: Sequence[str], captions: Sequence[str], *, root: Path, split: str
) -> list[CaptionRecord]:
    if len(names) != len(captions):  # one name per picture: repeat it for each of its captions
        per_picture, rest = divmod(len(captions), max(len(names), 1))
        if rest or not per_picture or not names:
            raise layout_error(
                root,
                f"has {len(captions)} captions for {len(names)} names in split {split!r}",
                PRECOMP_TREE,
                "The captions must be a whole multiple of the names; compare both "
                "files with the release, a line may have been lost.",
            )
        names = [name for name in names for _ in range(per_picture)]
    grouped: dict[str, list[str]] = {}
    for name, caption in zip(names, captions, strict=True):
        grouped.setdefault(name.strip(), []).append(caption)
    if not grouped or "" in grouped:
        raise layout_error(
            root,
            f"has {'a blank name' if grouped else 'no pictures'} in split {split!r}",
            PRECOMP_TREE,
            "Download the text files again.",
        )
    return [CaptionRecord(name, sound_captions(texts)) for name, texts in grouped.items()]


def match_pictures(
    names: Iterable[str], folder: Path, *, tree: str
) -> tuple[dict[str, Path], list[str]]:
    """Find the picture of each released name.

    A name is matched exactly first, then without its suffix and in any case, because copies of a
    release often hold ``1.jpg`` or ``1.png`` for ``1.tif``.

    Args:
        names: file names as the caption files have them; folders in them are ignored.
        folder: searched with its subfolders.
        tree: the expected tree, for the error.

    Returns:
        The path of each name that was found, and the names that were not.

    Raises:
        DataLayoutError: ``folder`` is missing, or a name fits several pictures.
    """
    exact: dict[str, list[Path]] = {}
    stems: dict[str, list[Path]] = {}
    for path in list_images(folder):
        exact.setdefault(path.name, []).append(path)
        stems.setdefault(path.stem.lower(), []).append(path)
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in names:
        base = Path(plain_name(name)).name
        candidates = exact.get(base) or stems.get(Path(base).stem.lower(), [])
        if len(candidates) > 1:
            raise layout_error(
                folder,
                f"holds several pictures for {name}: {shorten(map(str, candidates))}",
                tree,
                "Give the one folder that holds the pictures of this release as images=.",
            )
        if candidates:
            found[name] = candidates[0]
        else:
            missing.append(name)
    return found, missing


def layout_error(root: Path, found: str, tree: str, remedy: str) -> DataLayoutError:
    """Say what is wrong below ``root``, what was expected and what to do."""
    return DataLayoutError(f"{root} {found}.\nExpected:\n{tree}\n{remedy}")


def shorten(names: Iterable[str]) -> str:
    """List the first few names and how many more there are."""
    listed = list(names)
    more = len(listed) - _NAMES_SHOWN
    return ", ".join(listed[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _karpathy_entries(file: Path) -> list[dict[str, Any]]:
    """Read the pictures of a Karpathy-style file; each has filename, split and raw sentences."""
    try:
        entries = parse_json(decode(file.read_bytes()))["images"]
        for entry in entries:
            if not isinstance(entry["filename"], str) or not isinstance(entry["split"], str):
                raise TypeError(f"filename and split are texts, not those of {entry}")
            caption_texts(entry["sentences"])
    except (ValueError, KeyError, TypeError) as error:
        raise layout_error(
            file,
            f"is not a Karpathy-style caption file ({type(error).__name__}: {error})",
            KARPATHY_TREE,
            "Download the file again, or convert it to this schema.",
        ) from error
    return entries


def caption_record(row: PictureRow) -> CaptionRecord:
    """Return what a row of metadata says, which must have a field for captions."""
    if row.captions is None:
        told = f"; it has {', '.join(row.metadata)}" if row.metadata else ""
        raise row.error(
            f"has no captions under any of {', '.join(CAPTION_NAMES)}{told}. Expected\n"
            f"{IMAGEFOLDER_TREE}"
        )
    return CaptionRecord(row.file_name, row.captions, row.category)


def _lines(file: Path) -> list[str]:
    """Read lines with any line end; blank lines count, since releases have blank captions."""
    content = file.read_bytes()
    try:
        text = decode(content)
    except UnicodeDecodeError:
        logger.warning("%s is not UTF-8; read as Latin-1", file)
        text = content.decode("latin-1")
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines
