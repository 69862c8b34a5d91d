"""Captioned pictures in the layouts that people have, read into the project's own table.

A source is a folder, a file or a Hub id: an imagefolder with or without splits, a table of captions
beside or above the pictures, what ``save_to_disk`` wrote, Parquet or Arrow files, shards of
WebDataset, a Karpathy or precomp release, or folders of classes whose names become captions. Rows
that hold one picture become one, by its path or its bytes. Pictures stay the files they are, on
disk or in a memory map, until each is needed.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import datasets

from rsctir_hf.data.columns import file_sizes, joined_tables
from rsctir_hf.data.formats import SPLITS, shorten
from rsctir_hf.data.own_layouts import read_hub, read_local
from rsctir_hf.data.picture_tables import Asked, Found
from rsctir_hf.data.tables import join_pictures, without_blank
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import Columns
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.loading.hub_files import could_be_dataset_id

logger = logging.getLogger(__name__)

TRAIN, VALIDATION, TEST = SPLITS


@dataclass(frozen=True)
class CaptionedSplits:
    """What was read.

    Attributes:
        splits: by ``train``, ``validation`` and ``test``, those that the source holds; each has
            ``image``, ``captions`` (at least one), ``file_name`` and perhaps ``category``.
        named: the source says which splits there are. Otherwise all pictures are ``train``.
        image_column: that the pictures or their names came from; "" in layouts without one.
        caption_column: likewise the captions.
        from_class_names: the captions were made of the names of classes.
        missing: names of pictures that were not there, with ``allow_missing``.
    """

    splits: Mapping[str, datasets.Dataset]
    named: bool
    image_column: str = ""
    caption_column: str = ""
    from_class_names: bool = False
    missing: tuple[str, ...] = ()

    def one(self, split: str) -> datasets.Dataset:
        """Return one split.

        Raises:
            DataLayoutError: there is none of that name.
        """
        if split not in self.splits:
            raise DataLayoutError(
                f"There is no split {split!r}, only {', '.join(self.splits)}. Choose one of these."
            )
        return self.splits[split]


@dataclass(frozen=True)
class CaptionedSource:
    """Where captioned pictures are, and what is to be known to read them.

    Attributes:
        place: folder, file or Hub id, with ``@REVISION`` if need be.
        images: folder that the names of pictures are relative to, if not where their table lies.
        image_column: column of the pictures or their names; None: guessed by its name.
        caption_column: column of the captions; None: likewise.
        class_templates: file of sentences with ``{}`` in the place of a class, or ``default``, for
            pictures of which only a class is known; None: the default, for folders of classes only.
        allow_missing: go on without the pictures that are not there.
    """

    place: str | Path
    images: str | Path | None = None
    image_column: str | None = None
    caption_column: str | None = None
    class_templates: str | Path | None = None
    allow_missing: bool = False

    def read(self, only: str = "", *, join: bool = True) -> CaptionedSplits:
        """Read the source.

        Args:
            only: a split; of a source on the Hub no other is downloaded.
            join: make one row of equal pictures under different names, and refuse captions that
                are the same everywhere.

        Raises:
            DataLayoutError: it cannot be read, lacks captions or pictures, or says the same of
                every picture.
        """
        found = self._found(only)
        tables = self._present(_by_split(found, str(self.place)))
        missing = [name for _, names in tables.values() for name in names]
        splits = {
            split: kept
            for split, (table, _) in tables.items()
            if len(kept := without_blank(join_pictures(table) if join else table))
        }
        _refuse_silence(splits, str(self.place), same=join)
        named = splits.keys() != {""}
        return CaptionedSplits(
            splits if named else {TRAIN: splits[""]},
            named,
            found.image_column,
            found.caption_column,
            found.from_class_names,
            tuple(missing),
        )

    def _found(self, only: str) -> Found:
        asked = Asked(
            None if self.images is None else Path(self.images).expanduser(),
            Columns(self.image_column, self.caption_column),
            self.class_templates,
        )
        path = Path(self.place).expanduser()
        if not path.exists() and could_be_dataset_id(str(self.place)):
            return read_hub(str(self.place), asked, only=only)
        return read_local(path, asked)

    def _present(
        self, tables: Mapping[str, datasets.Dataset]
    ) -> dict[str, tuple[datasets.Dataset, list[str]]]:
        """Return the rows of each split whose pictures are there, and the names of the others."""
        present: dict[str, tuple[datasets.Dataset, list[str]]] = {}
        for split, table in tables.items():
            sizes = file_sizes(table)
            rows = [row for row, size in enumerate(sizes) if size is not None]
            absent = [row for row, size in enumerate(sizes) if size is None]
            names = list(dict.fromkeys(table.select(absent)["file_name"]))
            present[split] = (table if not absent else table.select(rows), names)
        missing = [name for _, names in present.values() for name in names]
        there = sum(len(table) for table, _ in present.values())
        if missing and not (self.allow_missing and there):
            raise DataLayoutError(
                f"{self.place} lacks {len(missing):,} of its {len(missing) + there:,} pictures: "
                f"{shorten(missing)}. Names are relative to the table, or to the folder given as "
                "--images." + (" To go on without them: --allow_missing true." if there else "")
            )
        if missing:
            logger.warning(
                "%s lacks %d pictures, which are left out as was asked for: %s",
                self.place, len(missing), shorten(missing),
            )  # fmt: skip
        return present


def read_captioned(
    place: str | Path,
    *,
    images: str | Path | None = None,
    image_column: str | None = None,
    caption_column: str | None = None,
    class_templates: str | Path | None = None,
    allow_missing: bool = False,
) -> CaptionedSplits:
    """Read every split of a source; see ``CaptionedSource``."""
    source = CaptionedSource(
        place, images, image_column, caption_column, class_templates, allow_missing
    )
    return source.read()


def _by_split(found: Found, source: str) -> dict[str, datasets.Dataset]:
    """Return the tables by split, or all of them under "" where there are no splits.

    Pictures that stand in none are training pictures, where there are no others.
    """
    tables = dict(found.tables)
    loose = tables.pop("", None)
    if loose is None:
        return {split: tables[split] for split in SPLITS if split in tables}
    if not tables or tables.keys() == {TRAIN}:  # which may be a class of pictures
        return {"": joined_tables([loose, *tables.values()])}
    if TRAIN in tables:
        raise DataLayoutError(
            f"{source} has splits ({', '.join(tables)}), and {len(loose):,} pictures in none of "
            f"them: {shorten(loose['file_name'])}. Put them into one, or take them out."
        )
    logger.info("%s: %d pictures of no split are for training.", source, len(loose))
    return {TRAIN: loose, **tables}


def _refuse_silence(splits: Mapping[str, datasets.Dataset], source: str, *, same: bool) -> None:
    """Refuse captions from which nothing can be learnt: none at all, or the same everywhere."""
    pictures = sum(map(len, splits.values()))
    if not pictures:
        raise DataLayoutError(f"{source} has no picture with a caption. Write some, and try again.")
    said = {
        frozenset(map(normalise_caption, captions))
        for table in splits.values()
        for captions in table["captions"]
    }
    if same and len(said) == 1 and pictures > 1:
        raise DataLayoutError(
            f"{source} says the same of all its {pictures:,} pictures: "
            f"{shorten(sorted(next(iter(said))))!r}. There is nothing to learn from that or to "
            "score by; expected captions that tell pictures apart."
        )
