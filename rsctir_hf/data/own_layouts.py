"""The layouts in which people keep captioned pictures of their own, each read into our columns."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path, PurePath

import datasets

from rsctir_hf.data.class_names import class_captions
from rsctir_hf.data.formats import (
    IMAGEFOLDER_TREE,
    KNOWN_SUFFIXES,
    caption_record,
    layout_error,
    list_splits,
    match_pictures,
    picture_folder,
    read_release,
    release_of,
    shorten,
    split_named,
    split_of_word,
)
from rsctir_hf.data.picture_shards import SHARD_SUFFIXES, is_saved, read_saved, read_shards
from rsctir_hf.data.picture_tables import SPLIT, Asked, Finder, Found, TableReader
from rsctir_hf.data.tables import (
    CATEGORY_COLUMNS,
    hub_splits,
    our_table,
    pick,
    split_from_hub,
    tell_blank,
)
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.listing import list_files
from rsctir_hf.files.metadata import (
    METADATA_FILES,
    PictureRow,
    PictureTable,
    chosen_metadata,
    metadata_folders,
    read_table,
)
from rsctir_hf.files.pictures import list_images
from rsctir_hf.files.rows import TEXT_SUFFIXES

LAYOUTS = f"""\
an imagefolder, with splits or without
{IMAGEFOLDER_TREE}
or a table of captions by any name: .csv, .tsv, .jsonl or .json
ROOT/captions.csv               file_name,caption: names relative to the table
or files with pictures inside: .parquet, .arrow, WebDataset's .tar, a folder of save_to_disk
or a Karpathy or precomp release, or a folder of classes whose names become captions
ROOT/airport/a.jpg ...          (or ROOT/train/airport/a.jpg ...)"""


def read_hub(source: str, asked: Asked, *, only: str) -> Found:
    """Read a data set on the Hub, or only one split of it.

    Raises:
        DataLayoutError: it cannot be reached, or lacks a column.
    """
    reader = TableReader(source, asked)
    for split in [only] if only else hub_splits(source):
        reader.add(split, split_from_hub(source, split))
    return reader.found


def read_local(path: Path, asked: Asked) -> Found:
    """Read a folder or file of any layout.

    Raises:
        DataLayoutError: it has none, or something in it is missing or damaged.
    """
    if path.is_dir() and is_saved(path):
        reader = TableReader(str(path), asked, Finder(path, asked.images))
        for name, table in read_saved(path).items():
            reader.add(split_of_word(name), table)
        return reader.found
    if path.is_dir() and (folders := metadata_folders("**", path)):
        files = [chosen_metadata(folder) for folder in folders]
        return _from_tables([_read(file, asked) for file in files], path, asked)
    if release := release_of(path):
        return _from_release(*release, asked)
    files = list_files(path, KNOWN_SUFFIXES, what="captioned pictures") if path.is_dir() else []
    files += [path] * path.is_file()
    root = path if path.is_dir() else path.parent
    shards = [file for file in files if file.suffix.lower() in SHARD_SUFFIXES]
    pictures = list_images(path) if path.is_dir() and not shards else []
    texts = [file for file in files if file.suffix.lower() in TEXT_SUFFIXES]
    needed = not shards and not (asked.classes and pictures)
    if tables := _usable(texts, root, asked, needed=needed):
        return _from_tables(tables, root, asked)
    if shards:
        return _from_shards(shards, path, asked)
    if pictures:
        return _from_classes(pictures, path, asked)
    problem = "does not hold a captioned picture set" if path.exists() else "does not exist"
    raise layout_error(path, problem, LAYOUTS, "Give what holds one of these, or a Hub id.")


def _read(file: Path, asked: Asked) -> PictureTable:
    return read_table(file, asked.columns, captioned=not asked.classes)


def _usable(files: Sequence[Path], root: Path, asked: Asked, *, needed: bool) -> list[PictureTable]:
    """Read those files that are tables of captioned pictures.

    Raises:
        DataLayoutError: there are files and none is, where one is ``needed``; or several are.
    """
    tables: list[PictureTable] = []
    refused: list[DataLayoutError] = []
    for file in files:
        try:
            table = _read(file, asked)
        except DataLayoutError as error:
            refused.append(error)
            continue
        if asked.columns.caption_columns(table.fields) or pick(table.fields, CATEGORY_COLUMNS):
            tables.append(table)
    if refused and not tables and needed:
        raise refused[0]
    kinds: dict[str, str] = {}  # by split: name without numbers, as shards share it
    for table in tables:
        name = re.sub(r"\d+", "", str(table.file))
        if kinds.setdefault(split_named(table.file.relative_to(root)), name) != name:
            several = shorten(each.file.name for each in tables)
            raise DataLayoutError(
                f"{root} holds several tables of captions: {several}. Give the file that you mean."
            )
    return tables


def _from_tables(tables: Sequence[PictureTable], root: Path, asked: Asked) -> Found:
    """Take pictures that tables name; those of imagefolders lie beside them and nowhere else."""
    finder = Finder(root, asked.images)
    fields = dict.fromkeys(chain.from_iterable(table.fields for table in tables))
    captions = asked.columns.caption_columns(fields)
    found = Found({}, pick(fields, asked.columns.names) or "", ", ".join(captions), not captions)
    by_split: dict[str, list[tuple[PictureRow, str]]] = {}
    for row in chain.from_iterable(table.rows for table in tables):
        if row.file.name in METADATA_FILES and asked.images is None:
            place = str(row.path)  # refuses those outside of the folder
        else:
            place = finder.find(row.file_name, row.file.parent)
        by_split.setdefault(_split_of(row, Path(place), root), []).append((row, place))
    tell_blank(sum(row.blank for table in tables for row in table.rows), root)
    for split, rows in by_split.items():
        found.tables[split] = our_table(
            [place for _, place in rows],
            captions=[
                _class_captions(row, asked) if not captions else caption_record(row).captions
                for row, _ in rows
            ],
            names=[row.file_name for row, _ in rows],
            categories=[row.category for row, _ in rows],
        )
    return found


def _class_captions(row: PictureRow, asked: Asked) -> tuple[str, ...]:
    return class_captions(row.category, asked.templates) if row.category else ()


def _split_of(row: PictureRow, place: Path, root: Path) -> str:
    """Return the split of a row: by its own word, its table's name or its picture's folder."""
    folders = place.relative_to(root).parts[:-1] if place.is_relative_to(root) else ()
    words = (str(row.metadata.get(SPLIT, "")), split_named(row.file.relative_to(root)), *folders)
    return next(filter(None, map(split_of_word, words)), "")


def _from_shards(files: Sequence[Path], source: Path, asked: Asked) -> Found:
    root = source if source.is_dir() else source.parent
    reader = TableReader(str(source), asked, Finder(root, asked.images))
    groups: dict[tuple[str, str, Path], list[Path]] = {}
    for file in files:
        key = (split_named(file.relative_to(root)), file.suffix.lower(), file.parent)
        groups.setdefault(key, []).append(file)
    for (split, _, folder), shards in groups.items():
        for found in read_shards(shards, asked.columns):
            reader.add(split, found.table, folder, found.captions)
    return reader.found


def _from_release(layout: str, source: Path, asked: Asked) -> Found:
    folder = asked.images or picture_folder(source)
    found = Found(caption_column="sentences" if layout == "karpathy" else "")
    for split in list_splits(source, layout):
        records = read_release(source, layout, split)
        names = [record.file_name for record in records]
        there, _ = match_pictures(names, folder, tree=LAYOUTS)
        found.tables[split] = our_table(
            [str(there.get(name, folder / name)) for name in names],
            captions=[record.captions for record in records],
            names=names,
            categories=[record.category for record in records],
        )
    return found


def _from_classes(pictures: Sequence[Path], root: Path, asked: Asked) -> Found:
    """Take pictures in folders that are called as what is in them."""
    names = [path.relative_to(root) for path in pictures]
    bare = [str(name) for name in names if len(name.parts) == 1 or split_of_word(name.parts[-2])]
    if bare:
        raise layout_error(
            root,
            f"holds pictures without a caption or a class: {shorten(bare)}",
            LAYOUTS,
            "Add a table of captions, or put the pictures into folders called as their classes.",
        )
    by_split: dict[str, list[PurePath]] = {}
    for name in names:
        split = next(filter(None, map(split_of_word, name.parts[:-2])), "")
        by_split.setdefault(split, []).append(name)
    tables = {split: _classes(root, rows, asked) for split, rows in by_split.items()}
    return Found(tables, from_class_names=True)


def _classes(root: Path, names: Sequence[PurePath], asked: Asked) -> datasets.Dataset:
    return our_table(
        [str(root / name) for name in names],
        captions=[class_captions(name.parent.name, asked.templates) for name in names],
        names=[str(name) for name in names],
        categories=[name.parent.name for name in names],
    )
