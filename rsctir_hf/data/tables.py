"""Data sets with the project's columns: built from records, from Parquet files or from the Hub.

The columns are ``image`` (Image feature), ``captions`` (list of str, at least one), ``file_name``
and, where the source has it, ``category``.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HTTPError
from tqdm.auto import tqdm

from rsctir_hf.data.collator import picture_bytes, picture_source, undecoded
from rsctir_hf.data.formats import SPLIT_ALIASES, CaptionRecord, shorten
from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files.metadata import (
    CAPTION_NAMES,
    CATEGORY_NAMES,
    NAME_COLUMNS,
    caption_texts,
    plain_name,
)
from rsctir_hf.files.pictures import read_image
from rsctir_hf.loading.hub_files import explain_refusal

logger = logging.getLogger(__name__)

# What published tables call the same thing besides; the first that is there is taken.
_CATEGORY_COLUMNS = (*CATEGORY_NAMES, "class_name", "label")
_COLUMNS = (
    f"image (Image), captions (texts or lists of them; or {', '.join(CAPTION_NAMES[1:])}), "
    f"{' or '.join(NAME_COLUMNS)}, optional category"
)
UNNAMED = "row "  # a picture that has a number for a name
#: What datasets raises where the Hub gives nothing or not all.
HUB_ERRORS = (HTTPError, OSError, ValueError, datasets.exceptions.DatasetsError)
#: A progress bar appears only where a pass takes longer than this many seconds.
BAR_DELAY = 1.0


def table_from_records(
    records: Sequence[CaptionRecord], pictures: Sequence[Path]
) -> datasets.Dataset:
    """Build a data set from records and the paths of their pictures.

    Pictures without any caption (four of RSITMD's are so released) are left out with a warning.
    """
    kept = [
        (record, str(path))
        for record, path in zip(records, pictures, strict=True)
        if record.captions
    ]
    _warn_blank([record.file_name for record in records if not record.captions])
    columns = {
        "image": [path for _, path in kept],
        "captions": [list(record.captions) for record, _ in kept],
        "file_name": [record.file_name for record, _ in kept],
    }
    features = datasets.Features(
        image=datasets.Image(),
        captions=datasets.List(datasets.Value("string")),
        file_name=datasets.Value("string"),
    )
    if any(record.category is not None for record, _ in kept):
        columns["category"] = [record.category or "" for record, _ in kept]
        features["category"] = datasets.Value("string")
    return datasets.Dataset.from_dict(columns, features=features)


def table_from_parquet(folder: Path, split: str) -> datasets.Dataset:
    """Read the Parquet files of one split, ``SPLIT.parquet`` or ``SPLIT-*.parquet``.

    Raises:
        DataLayoutError: there is no file of the split, or a column is missing.
    """
    files = sorted(
        str(file)
        for alias in SPLIT_ALIASES[split]
        for pattern in (f"{alias}.parquet", f"{alias}-*.parquet")
        for file in folder.rglob(pattern)
    )
    if not files:
        have = sorted(file.name for file in folder.rglob("*.parquet"))
        raise DataLayoutError(
            f"{folder} has no Parquet file of split {split!r}, only {shorten(have)}. "
            f"Expected data/{split}-00000-of-00001.parquet; choose a split that exists."
        )
    return standardise(datasets.Dataset.from_parquet(files), source=str(folder))


def hub_address(source: str) -> tuple[str, str | None]:
    """Return id and git revision of a Hub data set written as OWNER/NAME or OWNER/NAME@REVISION."""
    name, _, revision = (source, "", "") if Path(source).exists() else source.partition("@")
    return name, revision or None


def hub_splits(source: str) -> dict[str, str]:
    """Return our name and the Hub's name of each split of a Hub data set.

    Args:
        source: see ``hub_address``, as everywhere here.

    Raises:
        DataLayoutError: the data set cannot be reached.
    """
    name, revision = hub_address(source)
    try:
        names = datasets.get_dataset_split_names(name, revision=revision)
    except HUB_ERRORS as error:
        raise unreachable(source, error) from error
    return {
        split: name for split, aliases in SPLIT_ALIASES.items() for name in names if name in aliases
    }


def hub_request(source: str, split: str) -> tuple[str, dict[str, str | None]]:
    """Return how ``datasets.load_dataset`` is asked for one of our splits, which must be there."""
    splits = hub_splits(source)
    if split not in splits:
        raise DataLayoutError(
            f"{source} has no split {split!r}, only {', '.join(splits) or 'unknown ones'}. "
            "Choose one of these, or hold a part of train out (rsctir_hf.data.hold_out)."
        )
    name, revision = hub_address(source)
    return name, {"split": splits[split], "revision": revision}


def table_from_hub(source: str, split: str) -> datasets.Dataset:
    """Load one split of a captioned Hub data set.

    Raises:
        DataLayoutError: the data set cannot be reached, has no such split, or lacks a column.
    """
    return standardise(split_from_hub(source, split), source=source)


def split_from_hub(source: str, split: str) -> datasets.Dataset:
    """Load one split of a Hub data set as it is.

    Raises:
        DataLayoutError: the data set cannot be reached or has no such split.
    """
    name, asked = hub_request(source, split)
    try:
        return datasets.load_dataset(name, **asked)
    except HUB_ERRORS as error:
        raise unreachable(source, error) from error


def standardise(table: datasets.Dataset, *, source: str) -> datasets.Dataset:
    """Bring a published table to the project's columns; errors as of ``known_columns``.

    Where each row holds one caption, rows of the same picture, byte for byte, become one.
    """
    sentences, names = known_columns(table.features, source=source, remedy="Rename the columns.")
    captions = [
        list(row_captions(cell, row=row, source=source))
        for row, cell in enumerate(table[sentences])
    ]
    if not is_list(table.features[sentences]):
        table, captions = _by_picture(table, captions)
    category = _pick(table.column_names, _CATEGORY_COLUMNS)
    file_names = _file_names(table, names)
    columns: dict[str, list] = {"captions": captions, "file_name": file_names}
    if category is not None:
        columns["category"] = _category_names(table, category)
    words = datasets.Dataset.from_dict(columns)
    joined = datasets.concatenate_datasets([table.select_columns(["image"]), words], axis=1)
    _warn_blank([name for name, texts in zip(file_names, captions, strict=True) if not texts])
    return joined.select([row for row, texts in enumerate(captions) if texts])


def row_captions(cell: Any, *, row: int, source: str) -> tuple[str, ...]:  # noqa: ANN401
    """Return the captions in a cell, without what is None or blank.

    Raises:
        DataLayoutError: it holds something else; names the row, from 1.
    """
    try:
        return caption_texts([text for text in cell if text] if isinstance(cell, list) else cell)
    except ValueError as error:
        if cell is None:
            return ()
        raise DataLayoutError(f"Row {row + 1} of {source} {error}. Mend it.") from error


def is_list(feature: object) -> bool:
    """Tell whether a column holds lists."""
    return isinstance(feature, datasets.List | datasets.LargeList)


def _by_picture(
    table: datasets.Dataset, captions: list[list[str]]
) -> tuple[datasets.Dataset, list[list[str]]]:
    """Return the first row of each picture, and the captions of all of its rows."""
    joined: dict[bytes, tuple[int, list[str]]] = {}
    for row, cell in enumerate(with_bar(table, "Joining captions")):
        digest = hashlib.sha256(picture_bytes(cell["image"])).digest()
        joined.setdefault(digest, (row, []))[1].extend(captions[row])
    return table.select([row for row, _ in joined.values()]), [own for _, own in joined.values()]


def _file_names(table: datasets.Dataset, column: str) -> list[str]:
    """Return the name of each picture's file, or the number of its row where it has none."""
    if not column:
        named = [cell.get("path") or "" for cell in undecoded(table)["image"]]
        column_of = [name or f"{UNNAMED}{row}" for row, name in enumerate(named)]
    else:
        column_of = [str(name) for name in table[column]]
    return [Path(plain_name(name)).name for name in column_of]


def check_pictures(table: datasets.Dataset, *, source: str) -> None:
    """Decode every picture once, with a progress bar, and report those that cannot be.

    Raises:
        DataLayoutError: names the broken pictures, the reason of the first, and the remedy.
    """
    broken: list[str] = []
    reason = ""
    for row in with_bar(table, "Checking pictures"):
        try:
            read_image(picture_source(row["image"]))
        except ImageReadError as error:
            reason = reason or str(error)
            broken.append(row["file_name"])
    if broken:
        raise DataLayoutError(
            f"{source} holds {len(broken)} broken pictures of {len(table)}: {shorten(broken)}.\n"
            f"The first: {reason}\n"
            "Expected every picture to decode. Copy them again from the release, or take them out."
        )


def with_bar(table: datasets.Dataset, title: str) -> tqdm:
    """Pass over the rows of a table with a progress bar; pictures stay as the files they are."""
    return tqdm(undecoded(table), desc=title, unit="image", delay=BAR_DELAY, disable=None)


def known_columns(
    features: Mapping[str, Any], *, source: str, remedy: str, named: bool = False
) -> tuple[str, str]:
    """Return which columns hold the captions and, or "" without one, the names of the pictures.

    Raises:
        DataLayoutError: there is no image or caption column, or no name where there must be one.
    """
    captions, names = _pick(features, CAPTION_NAMES), _pick(features, NAME_COLUMNS) or ""
    if "image" not in features or captions is None or (named and not names):
        raise DataLayoutError(
            f"{source} has the columns {dict(features)}. Expected {_COLUMNS}. {remedy}"
        )
    return captions, names


def _pick(columns: Iterable[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _category_names(table: datasets.Dataset, column: str) -> list[str]:
    feature = table.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return [feature.int2str(number) for number in table[column]]
    return [str(value) for value in table[column]]


def _warn_blank(names: Sequence[str]) -> None:
    if names:
        logger.warning(
            "%d pictures have no caption but blank ones and are left out: %s",
            len(names),
            shorten(names),
        )


def unreachable(source: str, error: BaseException) -> DataLayoutError:
    """Say why a Hub data set could not be loaded; its cause may be deep in a chain."""
    refusal = error
    while not isinstance(refusal, HTTPError) and (refusal.__cause__ or refusal.__context__):
        refusal = refusal.__cause__ or refusal.__context__  # type: ignore[assignment]
    if isinstance(refusal, HTTPError):
        return DataLayoutError(explain_refusal(source, "data set", refusal))
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        gated = " It is gated: ask its owner for access." if "gated" in str(error) else ""
        return DataLayoutError(
            f"{source} is no folder here, and {ENDPOINT} has no data set of that name that you may "
            f"see.{gated} Check the spelling; a private or gated one needs `hf auth login` or "
            "HF_TOKEN; or download it and give its folder."
        )
    return DataLayoutError(
        f"{source} is no folder here, and the Hub data set of that name cannot be loaded "
        f"({type(error).__name__}: {error}). Check the spelling and the network, or download the "
        "data set and give its folder."
    )
