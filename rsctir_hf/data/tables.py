"""Data sets with the project's columns: built from records, from Parquet files or from the Hub.

The columns are ``image`` (Image feature), ``captions`` (list of str, at least one), ``file_name``
and, where the source has it, ``category``.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HTTPError
from tqdm.auto import tqdm

from rsctir_hf.data.collator import picture_bytes, picture_source, undecoded
from rsctir_hf.data.columns import file_sizes, own_dataset, stored_cells, with_captions
from rsctir_hf.data.formats import SPLIT_ALIASES, CaptionRecord, shorten
from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files.metadata import (
    CAPTION_NAMES,
    CATEGORY_NAMES,
    NAME_COLUMNS,
    PICTURE_COLUMNS,
    USUAL,
    Columns,
    caption_texts,
    plain_name,
)
from rsctir_hf.files.pictures import read_image
from rsctir_hf.loading.hub_files import explain_refusal

logger = logging.getLogger(__name__)

# What published tables call the same thing besides; the first that is there is taken.
CATEGORY_COLUMNS = (*CATEGORY_NAMES, "class_name", "label")
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
    table = our_table(
        [str(path) for path in pictures],
        captions=[record.captions for record in records],
        names=[record.file_name for record in records],
        categories=[record.category for record in records],
    )
    return without_blank(table)


def our_table(
    pictures: Sequence[str | None],
    *,
    captions: Sequence[Sequence[str]],
    names: Sequence[str],
    categories: Sequence[str | None],
) -> datasets.Dataset:
    """Build a data set of files; a picture that is not there is None, and captions may be none."""
    columns: dict[str, list] = {
        "image": list(pictures),
        "captions": [list(each) for each in captions],
        "file_name": list(names),
    }
    if any(category is not None for category in categories):
        columns["category"] = [category or "" for category in categories]
    return own_dataset(columns)


def without_blank(table: datasets.Dataset) -> datasets.Dataset:
    """Leave out the pictures without a caption, and name them in the log."""
    kept = [row for row, captions in enumerate(table["captions"]) if captions]
    if len(kept) == len(table):
        return table
    blank = sorted({*range(len(table))}.difference(kept))
    names = table.select(blank)["file_name"][:]
    logger.warning(
        "%d pictures have no caption but blank ones and are left out: %s",
        len(names),
        shorten(names),
    )
    return table.select(kept)


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
    known = known_columns(table.features, source=source, remedy="Rename the columns.")
    ours = our_columns(table, known, source=source)
    one_each = not any(is_list(table.features[name]) for name in known.captions)
    return without_blank(join_pictures(ours) if one_each else ours)


def our_columns(table: datasets.Dataset, known: "TableColumns", *, source: str) -> datasets.Dataset:
    """Return ``image``, ``captions``, ``file_name`` and perhaps ``category`` of a published table.

    Captions without a word are left out and counted in the log; a row may be left with none.

    Raises:
        DataLayoutError: a cell holds no captions, or the column of pictures none.
    """
    captions: list[list[str]] = [[] for _ in range(len(table))]
    blank = 0
    for name in known.captions:
        for row, cell in enumerate(table[name]):
            texts = row_captions(cell, row=row, source=source)
            captions[row] += texts
            blank += (len(cell) if isinstance(cell, list) else 1) - len(texts)
    tell_blank(blank, source)
    try:
        pictures = table.select_columns([known.image]).cast_column(known.image, datasets.Image())
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise DataLayoutError(
            f"{source} has {table.features[known.image]} in its column {known.image!r}; expected "
            "pictures. Say which column holds them: --image_column NAME."
        ) from error
    if known.image != "image":
        pictures = pictures.rename_column(known.image, "image")
    columns: dict[str, list] = {"captions": captions}
    columns["file_name"] = _file_names(table, known.names, pictures)
    category = pick(table.column_names, CATEGORY_COLUMNS)
    if category is not None:
        columns["category"] = category_names(table, category)
    return datasets.concatenate_datasets([pictures, own_dataset(columns)], axis=1)


def tell_blank(count: int, source: object) -> None:
    """Say how many captions had no word."""
    if count:
        logger.warning("%s: %d captions without a word are left out.", source, count)


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


def join_pictures(table: datasets.Dataset) -> datasets.Dataset:
    """Make one row of all rows that hold the same picture, byte for byte, wherever they stand.

    Args:
        table: has the project's columns; pictures that are not there stay apart.
    """
    stored = undecoded(table)
    rows_of: dict[int, list[int]] = {}
    for row, size in enumerate(file_sizes(table)):
        if size is not None:
            rows_of.setdefault(size, []).append(row)
    first: dict[bytes, int] = {}  # of the rows of one picture
    leader = list(range(len(table)))
    alike = sorted(chain.from_iterable(rows for rows in rows_of.values() if len(rows) > 1))
    for row, cell in zip(alike, with_bar(stored.select(alike), "Joining captions"), strict=True):
        digest = hashlib.sha256(picture_bytes(cell["image"])).digest()
        leader[row] = first.setdefault(digest, row)
    kept = sorted(set(leader))
    if len(kept) == len(table):
        return table
    captions: list[list[str]] = [[] for _ in leader]
    for row, said in zip(leader, table["captions"], strict=True):
        captions[row] += said
    return with_captions(table, captions).select(kept)  # the other way round copies the pictures


def _file_names(table: datasets.Dataset, column: str, pictures: datasets.Dataset) -> list[str]:
    """Return the name of each picture's file, or the number of its row where it has none."""
    if column:
        named = list(map(str, table[column]))
    else:
        paths = pc.struct_field(stored_cells(pictures, "image"), "path")
        named = [name or "" for name in paths.to_pylist()]
        named = [name or f"{UNNAMED}{row}" for row, name in enumerate(named)]
    return [Path(plain_name(name)).name for name in named]


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


@dataclass(frozen=True)
class TableColumns:
    """What the columns of a table hold.

    Attributes:
        image: pictures.
        captions: one sentence each, or lists of them.
        names: of the pictures; "" where there are none.
    """

    image: str
    captions: tuple[str, ...]
    names: str


def known_columns(
    features: Mapping[str, Any],
    *,
    source: str,
    remedy: str,
    named: bool = False,
    columns: Columns = USUAL,
) -> TableColumns:
    """Return which columns hold what.

    Raises:
        DataLayoutError: there is no image or caption column, or no name where there must be one.
    """
    # A text names a file, and only whoever knows where the table lies can open it.
    pictures = {name: kind for name, kind in features.items() if not is_text(kind)}
    image = picture_column(pictures, columns)
    captions = tuple(columns.caption_columns(features))
    names = pick(features, NAME_COLUMNS) or ""
    if image is None or not captions or (named and not names):
        raise DataLayoutError(
            f"{source} has the columns {', '.join(features) or '(none)'}. Expected {_COLUMNS}. "
            f"{remedy} Or say which they are: --image_column NAME, --caption_column NAME."
        )
    return TableColumns(image, captions, names)


def picture_column(features: Mapping[str, Any], columns: Columns) -> str | None:
    """Return which column holds pictures or their names: by its name, else by what it holds."""
    if columns.image:
        return columns.image if columns.image in features else None
    pictures = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    return pick(features, (*PICTURE_COLUMNS, *pictures, *NAME_COLUMNS))


def is_text(feature: object) -> bool:
    """Tell whether a column holds texts."""
    return isinstance(feature, datasets.Value) and "string" in feature.dtype


def pick(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """Return the first of some names that a table has."""
    return next((name for name in names if name in columns), None)


def category_names(table: datasets.Dataset, column: str) -> list[str]:
    """Return the class of each row, by its name where there is one."""
    feature = table.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return [feature.int2str(number) for number in table[column]]
    return [str(value) for value in table[column]]


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
