"""Lists of pairs to leave out of a training: a CSV with a picture and a caption a row.

``rsctir audit-captions`` writes such lists. A person may take rows out of one, or write it by hand:
only the columns ``picture`` and ``caption`` are read.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import datasets

from rsctir_hf.data.columns import with_captions
from rsctir_hf.data.formats import shorten
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import plain_name
from rsctir_hf.files.rows import read_rows, without_apostrophe
from rsctir_hf.files.sentences import normalise_caption

logger = logging.getLogger(__name__)

PICTURE, CAPTION = "picture", "caption"
#: Greatest share of the pairs that is left out unasked.
MOST = 0.5

#: Name of a picture, and a sentence as ``normalise_caption`` compares them.
Pair = tuple[str, str]


def read_pairs(file: str | Path) -> set[Pair]:
    """Read a list of pairs.

    Raises:
        DataLayoutError: it cannot be read, or a row lacks one of the two columns.
    """
    path, pairs = Path(file).expanduser(), set[Pair]()
    if not path.is_file():
        raise DataLayoutError(f"There is no list at {path}; `rsctir audit-captions` writes one.")
    for number, row in read_rows(path, texts=(PICTURE, CAPTION)):
        said = [row.get(name) if isinstance(row, dict) else None for name in (PICTURE, CAPTION)]
        picture, caption = (
            without_apostrophe(each) if isinstance(each, str) else "" for each in said
        )
        if not (picture and caption):
            raise DataLayoutError(
                f"{path}, row {number} has {PICTURE} {said[0]!r} and {CAPTION} {said[1]!r}. "
                "Expected a name and a sentence, as `rsctir audit-captions` writes them."
            )
        pairs.add((plain_name(picture), normalise_caption(caption)))
    return pairs


def pairs_of(table: datasets.Dataset) -> list[list[Pair]]:
    """Return the pairs of each picture, as lists name them."""
    return [
        [(plain_name(name), normalise_caption(caption)) for caption in captions]
        for name, captions in zip(table["file_name"], table["captions"], strict=True)
    ]


def leave_out(
    train: datasets.Dataset,
    pairs: set[Pair],
    *,
    elsewhere: Sequence[datasets.Dataset] = (),
    source: str = "The list",
    most: bool = False,
) -> datasets.Dataset:
    """Return training pictures without the captions that a list names; one with none left goes.

    Args:
        train: to take them from.
        pairs: the list.
        elsewhere: other splits, from which nothing is taken: what is scored stays as it is.
        source: what errors call the list.
        most: leave out more than half, if the list says so.

    Raises:
        DataLayoutError: a pair stands in none of the tables, more than half are listed and not
            ``most``, or nothing would be left.
    """
    here = pairs_of(train)
    known = {pair for table in (train, *elsewhere) for row in pairs_of(table) for pair in row}
    if unknown := sorted(pairs - known):
        raise DataLayoutError(
            f"{source} names {len(unknown):,} of {len(pairs):,} pairs that are not in these data, "
            f"such as {unknown[0][0]} with {shorten([unknown[0][1]])!r}. Was it made of others, or "
            "before captions were changed? Run rsctir audit-captions on these."
        )
    total, listed = sum(map(len, here)), sum(pair in pairs for row in here for pair in row)
    if listed > MOST * total and not most:
        raise DataLayoutError(
            f"{source} names {listed:,} of the {total:,} training pairs, more than half: so many "
            "wrong captions mean that data or list are not what they should be. Look at some; to "
            "leave them out all the same: --leave_out_most true."
        )
    rows = zip(train["captions"], here, strict=True)
    kept = [
        [text for text, pair in zip(captions, row, strict=True) if pair not in pairs]
        for captions, row in rows
    ]
    left = [row for row, captions in enumerate(kept) if captions]
    if not left:
        raise DataLayoutError(f"{source} names every training pair. Nothing is left to learn from.")
    logger.info(
        "%s: %d of %d training pairs are left out, and with them %d of %d pictures; %d more of the "
        "list are not for training.",
        source, listed, total, len(kept) - len(left), len(kept),
        sum(pair not in {each for row in here for each in row} for pair in pairs),
    )  # fmt: skip
    return with_captions(train.select(left), [kept[row] for row in left])
