"""Tables of any columns, by split, taken in as our columns; and the pictures that names lead to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import datasets
import pyarrow.compute as pc

from rsctir_hf.data.class_names import class_captions, read_templates
from rsctir_hf.data.columns import joined_tables, stored_cells, with_captions, with_pictures
from rsctir_hf.data.formats import shorten, split_of_word
from rsctir_hf.data.tables import (
    CATEGORY_COLUMNS,
    TableColumns,
    is_list,
    is_text,
    join_pictures,
    our_columns,
    pick,
    picture_column,
    row_captions,
)
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import NAME_COLUMNS, Columns, no_column, plain_name
from rsctir_hf.files.pictures import list_images

SPLIT = "split"  # a column that says of which split a row is


@dataclass(frozen=True)
class Asked:
    """How a source is to be read.

    Attributes:
        images: folder that names of pictures are relative to, if not where their table lies.
        columns: which hold pictures and captions.
        class_templates: file of sentences for classes, or ``default``; None: the default, and for
            folders of classes only.
    """

    images: Path | None = None
    columns: Columns = field(default_factory=Columns)
    class_templates: str | Path | None = None

    @property
    def classes(self) -> bool:
        """Captions may be made of classes wherever there are no others."""
        return self.class_templates is not None

    @cached_property
    def templates(self) -> tuple[str, ...]:
        """The sentences that a class is put into."""
        return read_templates(self.class_templates)


@dataclass
class Found:
    """What was read; a picture may still be absent and a row without a caption.

    Attributes:
        tables: with our columns, by split; "": of none.
        image_column: that the pictures or their names came from; "" in layouts without one.
        caption_column: likewise the captions.
        from_class_names: the captions were made of the names of classes.
    """

    tables: dict[str, datasets.Dataset] = field(default_factory=dict)
    image_column: str = ""
    caption_column: str = ""
    from_class_names: bool = False


class Finder:
    """Finds the pictures that a table names.

    Args:
        root: of the source; its tables lie in it.
        images: looked into first, and by the last part of a name too.
    """

    def __init__(self, root: Path, images: Path | None = None) -> None:
        self.root = root
        self.images = images

    def find(self, name: str, beside: Path) -> str:
        """Return the path of a picture, which leads to nothing where there is none.

        Raises:
            DataLayoutError: several pictures are called so.
        """
        name = plain_name(name)
        for folder in filter(None, (self.images, beside, self.root)):
            if os.path.isfile(folder / name):
                return str(folder / name)
        same = []
        if self.images is not None or not PurePath(name).parent.name:
            same = self._by_name.get(PurePath(name).name, [])
        if len(same) > 1:
            raise DataLayoutError(
                f"{name} is the name of {len(same)} pictures: {shorten(map(str, same))}. Write "
                "their folders into the names, relative to the table."
            )
        return str(same[0] if same else (self.images or beside) / name)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in list_images(self.images or self.root):
            found.setdefault(path.name, []).append(path)
        return found


class TableReader:
    """Takes in tables of ``datasets``.

    Args:
        source: for messages.
        asked: how to read them.
        finder: of pictures that a table only names; None: names mean nothing here.
    """

    def __init__(self, source: str, asked: Asked, finder: Finder | None = None) -> None:
        self.source = source
        self.asked = asked
        self.finder = finder
        self.found = Found()

    def add(
        self,
        split: str,
        table: datasets.Dataset,
        beside: Path | None = None,
        captions: Sequence[list[Any]] | None = None,
    ) -> None:
        """Take in a table of a split, or of those that its own column ``split`` names.

        Args:
            split: "" for none.
            table: with pictures or names of them.
            beside: folder that the names are relative to.
            captions: of each row, where no column holds them.

        Raises:
            DataLayoutError: it has no column of pictures or captions.
        """
        words = (
            [split_of_word(str(word)) for word in table[SPLIT]] if SPLIT in table.features else []
        )
        if not split and any(words):
            for each in dict.fromkeys(words):
                rows = [row for row, word in enumerate(words) if word == each]
                self.add(each, table.select(rows).remove_columns(SPLIT), beside)
            return
        if captions is not None:
            ours = our_columns(table, TableColumns("image", (), ""), source=self.source)
            said = [
                row_captions(cell, row=row, source=self.source) for row, cell in enumerate(captions)
            ]
            ours = with_captions(ours, said)
        else:
            ours = self._ours(table, beside)
        there = [self.found.tables[split]] if split in self.found.tables else []
        self.found.tables[split] = joined_tables([*there, ours])

    def _ours(self, table: datasets.Dataset, beside: Path | None) -> datasets.Dataset:
        columns, kinds = self.asked.columns, table.features
        image = picture_column(kinds, columns)
        if image is None:
            raise no_column(self.source, kinds, "image", named=columns.image)
        captions = columns.caption_columns(kinds)
        category = pick(kinds, CATEGORY_COLUMNS)
        if not captions and not (self.asked.classes and category):
            raise no_column(self.source, kinds, "caption", named=columns.caption)
        names = pick([name for name in kinds if name != image], NAME_COLUMNS) or ""
        table = self._with_pictures(table, image, beside)
        ours = our_columns(table, TableColumns(image, tuple(captions), names), source=self.source)
        if not captions:
            said = [class_captions(name, self.asked.templates) for name in ours["category"]]
            ours = with_captions(ours, said)
        if not any(is_list(kinds[name]) for name in captions):
            ours = join_pictures(ours)  # a row was a caption
        self.found.image_column, self.found.caption_column = image, ", ".join(captions)
        self.found.from_class_names = not captions
        return ours

    def _with_pictures(
        self, table: datasets.Dataset, column: str, beside: Path | None
    ) -> datasets.Dataset:
        """Return the table with pictures where it has names of them, or paths only."""
        if is_text(table.features[column]):
            names = table[column][:]
        else:
            cells = stored_cells(table, column)
            names = pc.struct_field(cells, "path").to_pylist()
            if pc.struct_field(cells, "bytes").null_count < len(names):
                return table
        if self.finder is None:
            raise DataLayoutError(
                f"{self.source} has names of pictures in its column {column!r} and no pictures. "
                "Say which column holds them: --image_column NAME; or download the data set with "
                "its pictures, and give their folder."
            )
        folder = beside or self.finder.root
        paths = [self.finder.find(name, folder) if name else None for name in names]
        return with_pictures(table, column, paths)
