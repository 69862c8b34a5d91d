"""Pictures that nobody has described: a folder of them, or two folders of two sensors.

Whatever captions lie beside them are not read. Where a folder has splits, only train is taken.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import datasets

from rsctir_hf.data.formats import SPLITS, shorten, split_of_word
from rsctir_hf.data.tables import our_table
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.names import as_text
from rsctir_hf.files.pictures import band_count, list_images

logger = logging.getLogger(__name__)

TRAIN = SPLITS[0]


def picture_table(folder: str | Path) -> datasets.Dataset:
    """Return the pictures of a folder and its subfolders, in our columns, without captions.

    Raises:
        DataLayoutError: there is no such folder, or no picture in it.
    """
    return _table(folder, _pictures_of(folder).values())


def paired_tables(
    first: str | Path, second: str | Path, *, allow_missing: bool = False
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Return the pictures of two sensors, row by row of the same place.

    Partners have the same path within their folders; its ending may differ.

    Args:
        first: folder of one sensor.
        second: of the other.
        allow_missing: leave out the pictures without a partner.

    Raises:
        DataLayoutError: a folder is missing or empty, two files of one have the same name, pictures
            have no partner, or those of one folder differ in their number of bands.
    """
    left, right = _by_name(first), _by_name(second)
    shared = [name for name in left if name in right]
    alone = {
        str(folder): [as_text(path.name) for name, path in own.items() if name not in other]
        for folder, own, other in ((first, left, right), (second, right, left))
    }
    _refuse_alone(alone, shared, allow_missing=allow_missing)
    for folder, own in ((first, left), (second, right)):
        _refuse_mixed_bands(folder, [own[name] for name in shared])
    return (
        _table(first, [left[name] for name in shared]),
        _table(second, [right[name] for name in shared]),
    )


def _pictures_of(folder: str | Path) -> dict[str, Path]:
    """Return the picture files of a folder by their path within it."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataLayoutError(
            f"{folder} is no folder on this machine. Expected one of pictures, in subfolders or "
            "not; captions are not needed. Pictures of a Hub data set: save them as files first."
        )
    found = {path.relative_to(root).as_posix(): path for path in list_images(root)}
    splits = {name: split_of_word(name.partition("/")[0]) if "/" in name else "" for name in found}
    if TRAIN in splits.values():
        left_out = [name for name, split in splits.items() if split not in ("", TRAIN)]
        if left_out:
            logger.info("%s: %d pictures of other splits than train left out", root, len(left_out))
        found = {name: path for name, path in found.items() if name not in set(left_out)}
    if not found:
        raise DataLayoutError(f"{folder} holds no picture. Name the folder that holds them.")
    return found


def _by_name(folder: str | Path) -> dict[str, Path]:
    """Return the pictures of a sensor by their path without its ending."""
    found = _pictures_of(folder)
    bare = {name: Path(name).with_suffix("").as_posix() for name in found}
    twice = [name for name, count in Counter(bare.values()).items() if count > 1]
    if twice:
        raise DataLayoutError(
            f"{folder} holds several pictures of one name: {shorten(twice)}. Which of them belongs "
            "to that of the other sensor? Leave one of each."
        )
    return {bare[name]: path for name, path in found.items()}


def _refuse_alone(
    alone: Mapping[str, Sequence[str]], shared: Sequence[str], *, allow_missing: bool
) -> None:
    """Refuse pictures without a partner, by folder, or tell of them where they may be left out."""
    said = "; ".join(
        f"{len(names)} of {folder} ({shorten(names)})" for folder, names in alone.items() if names
    )
    if not said:
        return
    if shared and allow_missing:
        logger.warning("Pictures without a partner are left out, as was asked for: %s", said)
        return
    remedy = " To go on without them: --allow_missing true." if shared else ""
    raise DataLayoutError(
        f"Pictures without a partner of the same name in the other folder: {said}. {len(shared)} "
        f"pairs fit. Expected equal file names in both folders; rename or add them.{remedy}"
    )


def _refuse_mixed_bands(folder: str | Path, files: Iterable[Path]) -> None:
    """Refuse a sensor whose pictures differ in their number of bands."""
    by_count: dict[int, list[str]] = {}
    for file in files:
        if (count := band_count(file)) is not None:
            by_count.setdefault(count, []).append(as_text(file.name))
    if len(by_count) < 2:
        return
    said = "; ".join(
        f"{count} in {len(names)} ({shorten(names)})" for count, names in sorted(by_count.items())
    )
    raise DataLayoutError(
        f"The pictures of {folder} differ in their number of bands: {said}. Expected one sensor "
        "with the same bands throughout. Write all with the same bands, or take the others out."
    )


def _table(folder: str | Path, files: Iterable[Path]) -> datasets.Dataset:
    root, paths = Path(folder).expanduser(), list(files)
    return our_table(
        [str(path) for path in paths],
        captions=[()] * len(paths),
        names=[as_text(path.relative_to(root).as_posix()) for path in paths],
        categories=[None] * len(paths),
    )
