"""The four retrieval benchmarks of the field, with their official splits.

A benchmark can be loaded from an imagefolder, from Parquet files or a Hub data set of the same
columns, or from the files as they were released (see :mod:`rsctir_hf.data.formats`). The splits
are always those of the release; nothing here draws its own, except :func:`hold_out` on request.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np

from rsctir_hf.data.formats import (
    KARPATHY_TREE,
    PRECOMP_TREE,
    SPLITS,
    CaptionRecord,
    detect_format,
    layout_error,
    list_splits,
    match_pictures,
    picture_folder,
    read_imagefolder,
    read_release,
    shorten,
)
from rsctir_hf.data.reading import CaptionedSource
from rsctir_hf.data.tables import (
    UNNAMED,
    check_pictures,
    hub_splits,
    table_from_hub,
    table_from_records,
)
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.loading.hub_files import could_be_dataset_id

logger = logging.getLogger(__name__)

# What the doors call the same two things.
PARTIAL = "--partial of rsctir convert, --complete false of a training, complete=False in Python"
IMAGES = "--images, or images= in Python"
#: Share of the names of pictures that must be those of a benchmark.
MOST_OF = 0.9
DRAWN = "drawn"  # the name of scenes drawn by our own code among the training sets
#: Asks for both parts, as GaLR and most later work train on RSICD and RSITMD.
TRAIN_AND_VALIDATION = "train+validation"


@dataclass(frozen=True)
class Benchmark:
    """What is known of a benchmark.

    Attributes:
        name: as on the command line and in recipes.
        title: as in papers.
        images: pictures in each official split; 0 where the release has no such split.
        source: where the numbers come from.
        terms: of its pictures and captions, as far as they are known; for model cards.
        hub_id: of a public data set on the Hub that holds the whole release, if one is known.
        stems: what its pictures are called without suffix, as an expression; "" for any.
        numbered_once: the numbers in those names differ all over, not within a class only.
    """

    name: str
    title: str
    images: Mapping[str, int]
    source: str
    terms: str
    hub_id: str | None = None
    stems: str = ""
    numbered_once: bool = False

    def names_fit(self, file_names: Iterable[str]) -> bool:
        """Tell whether pictures are called as in the release, but for a few."""
        stems = [Path(name).stem for name in file_names]
        numbers = {re.sub(r"\D", "", stem) for stem in stems}
        fitting = sum(bool(re.fullmatch(self.stems, stem)) for stem in stems)
        distinct = not self.numbered_once or len(numbers) > MOST_OF * len(stems)
        return not self.stems or (fitting > MOST_OF * len(stems) and distinct)


BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "ucm",
            "UCM-Captions",
            {"train": 1680, "validation": 210, "test": 210},
            "Qu et al., CITS 2016",
            "pictures from the USGS National Map by way of UC Merced Land Use (Yang and Newsam "
            "2010), US cities at 0.3 m per pixel; captions without an explicit licence",
            # of the captions' release, or of the pictures': 1834, river95
            stems=r"[1-9]\d{0,3}|[a-z]+\d\d",
        ),
        Benchmark(
            "rsicd",
            "RSICD",
            {"train": 8734, "validation": 1094, "test": 1093},
            "Lu et al., TGRS 2017",
            "published for research; Google Earth imagery; terms not verified",
            hub_id="arampacha/rsicd",
            stems=r"[a-z]+_[1-9]\d{0,2}|00\d{3}",
        ),
        Benchmark(
            "rsitmd",
            "RSITMD",
            {"train": 4291, "validation": 0, "test": 452},
            "Yuan et al. (AMFMN), TGRS 2021; authors hold their validation out of train",
            "published for research; Google Earth imagery; terms not verified",
            stems=r"[a-z]+_[1-9]\d{0,3}",
            numbered_once=True,
        ),
        Benchmark(
            "sydney",
            "Sydney-Captions",
            {"train": 497, "validation": 58, "test": 58},
            "Qu et al., CITS 2016",
            "published for research; Google Earth imagery; terms not verified",
            stems=r"[1-6]?\d{1,2}",
        ),
    )
}
NAMES = tuple(BENCHMARKS)


def load_benchmark(
    name: str,
    source: str | Path,
    *,
    split: str,
    images: str | Path | None = None,
    complete: bool = True,
    verify: bool = True,
) -> datasets.Dataset:
    """Load one official split of a benchmark.

    Args:
        name: ``ucm``, ``rsicd``, ``rsitmd`` or ``sydney``.
        source: an imagefolder or another layout of ``rsctir_hf.data.reading``, a release folder
            (or one caption file in it), or a Hub id such as ``arampacha/rsicd``, with ``@REVISION``
            if need be.
        split: ``train``, ``validation``, ``test`` or ``train+validation``. In precomp releases
            ``train`` is official train + validation; that is said in the log.
        images: the picture folder of a release, if not ``images`` beside the caption files or the
            release folder itself. Suffixes may differ from the caption files'.
        complete: a release must have the official number of pictures and all their files. False
            allows a part of it, with a warning. Imagefolders, Parquet files and Hub data sets of
            another size only warn.
        verify: decode every picture once and report the broken ones.

    Returns:
        Columns ``image``, ``captions`` (list of str, at least one), ``file_name`` and, where the
        source has it, ``category``.

    Raises:
        DataLayoutError: files are missing, counts are wrong or pictures broken; the message names
            the root, the expected tree and the remedy.
        QueryError: unknown name or split.
    """
    benchmark = _benchmark(name)
    parts = split.split("+")
    if split not in (*SPLITS, TRAIN_AND_VALIDATION):
        raise QueryError(f"split is {split!r}; expected {', '.join(SPLITS)} or train+validation.")
    path = Path(source).expanduser()
    if not path.exists() and could_be_dataset_id(str(source)):
        tables = [table_from_hub(str(source), part) for part in parts]
    elif (layout := detect_format(path)) in ("karpathy", "precomp"):
        folder = None if images is None else Path(images).expanduser()
        release = _Release(benchmark, path, layout, complete=complete)
        tables = [release.load(split, folder)]
    elif layout == "imagefolder":
        tables = [table_from_records(*read_imagefolder(path, part)) for part in parts]
    else:
        tables = [CaptionedSource(path, images).read(part, join=False).one(part) for part in parts]
    table = tables[0] if len(tables) == 1 else datasets.concatenate_datasets(tables)
    expected = sum(benchmark.images[part] for part in parts)
    if len(table) != expected:
        logger.warning(
            "%s %s: %d pictures of the official %d; do not compare results with papers",
            benchmark.title,
            split,
            len(table),
            expected,
        )
    if verify:
        check_pictures(table, source=str(source))
    return table


def refuse_other_data(name: str, table: datasets.Dataset, *, split: str, source: str) -> None:
    """Refuse pictures that are not those of a benchmark; a part of them will do.

    As many pictures as the official split are taken for it, whatever they are called.

    Args:
        name: of the benchmark.
        table: has ``file_name``.
        split: that the table is said to be.
        source: where it comes from, for the message.

    Raises:
        DataLayoutError: there are more than the benchmark has, they are called otherwise, or they
            are as many as another benchmark has and called as there.
    """
    known, count = _benchmark(name), len(table)
    official = sum(known.images.get(part, 0) for part in split.split("+"))
    most = known.images["train"] + known.images["validation"] if "train" in split else official
    names = [each for each in table["file_name"] if not each.startswith(UNNAMED)]
    others = [other for other in BENCHMARKS.values() if other.images.get(split) == count]
    found = ""
    if official and count > most:
        found = f"holds {count:,} pictures of {official:,}"
    elif names and not known.names_fit(names):
        found = f"holds pictures that {known.title} does not have, such as {names[0]}"
    elif count != official and (taken := [each for each in others if each.names_fit(names)]):
        found = f"holds {count:,} pictures named as in {taken[0].title}, which has as many"
    if found and count != official:
        raise DataLayoutError(
            f"{source} is not {known.title} {split}: it {found}. Figures under its name would "
            f"mislead. Name the benchmark that it is ({', '.join(NAMES)}), or none."
        )


def load_captioned_folder(
    folder: str | Path, split: str, *, verify: bool = True
) -> datasets.Dataset:
    """Load one split of any imagefolder with captions, without asking for a benchmark's counts.

    Raises:
        DataLayoutError: as :func:`load_benchmark`.
    """
    root = Path(folder).expanduser()
    table = table_from_records(*read_imagefolder(root, split))
    if verify:
        check_pictures(table, source=str(root))
    return table


def available_splits(source: str | Path) -> tuple[str, ...]:
    """List which of train, validation and test a source holds.

    Raises:
        DataLayoutError: the source is none that :func:`load_benchmark` takes.
    """
    path = Path(source).expanduser()
    if not path.exists() and could_be_dataset_id(str(source)):
        return tuple(hub_splits(str(source)))
    if (layout := detect_format(path)) == "other":
        return tuple(CaptionedSource(path).read(join=False).splits)
    return list_splits(path, layout)


def every_split(
    name: str,
    source: str | Path | CaptionedSource,
    *,
    images: str | Path | None = None,
    complete: bool = True,
) -> Iterator[tuple[str, datasets.Dataset]]:
    """Yield name and rows of each split that a source holds; see :func:`load_benchmark`.

    A :class:`CaptionedSource` is somebody's own, and of no benchmark.

    Raises:
        DataLayoutError: see :func:`load_benchmark` and, where it is to be complete,
            :func:`refuse_other_data`.
    """
    if isinstance(source, CaptionedSource):
        yield from source.read().splits.items()
        return
    _benchmark(name)  # before the source is looked at, which may be far away
    for split in available_splits(source):
        table = load_benchmark(name, source, split=split, images=images, complete=complete)
        if complete:
            refuse_other_data(name, table, split=split, source=str(source))
        yield split, table


def hold_out(
    table: datasets.Dataset, *, share: float, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Split a training set at random, for benchmarks without an official validation split.

    Args:
        table: the training pictures.
        share: part held out for validation, between 0 and 1; 0.2 in GaLR's released code.
        seed: decides which.

    Returns:
        The rest and the part held out, both in the order of ``table``.
    """
    held = round(len(table) * share)
    if not 0 < held < len(table):
        raise QueryError(
            f"share is {share} of {len(table)} pictures; expected parts on both sides."
        )
    order = np.random.default_rng(seed).permutation(len(table))
    return table.select(np.sort(order[held:])), table.select(np.sort(order[:held]))


@dataclass(frozen=True)
class _Release:
    """Caption files as they were released, and how strictly to read them."""

    benchmark: Benchmark
    source: Path
    layout: str
    complete: bool

    @property
    def tree(self) -> str:
        return KARPATHY_TREE if self.layout == "karpathy" else PRECOMP_TREE

    def load(self, split: str, images: Path | None) -> datasets.Dataset:
        records = self._records(split)
        folder = images or picture_folder(self.source)
        found, missing = match_pictures(
            [record.file_name for record in records], folder, tree=self.tree
        )
        if missing:
            self._object(
                folder,
                f"lacks {len(missing)} of the {len(records)} pictures of {self.benchmark.title} "
                f"{split}: {shorten(missing)}",
                f"Give the folder that holds them ({IMAGES}), or download the pictures of the "
                "release.",
            )
        kept = [record for record in records if record.file_name in found]
        if not kept:
            raise layout_error(
                folder, "holds none of the pictures", self.tree, f"Give their folder: {IMAGES}."
            )
        return table_from_records(kept, [found[record.file_name] for record in kept])

    def _records(self, split: str) -> list[CaptionRecord]:
        official = self.benchmark.images
        if split == "validation" and not official["validation"]:
            raise layout_error(
                self.source,
                f"cannot give a validation split: {self.benchmark.title} has none",
                self.tree,
                "Hold a part of train out (rsctir_hf.data.hold_out; 0.2 in GaLR's code).",
            )
        records = self._read("train" if split == TRAIN_AND_VALIDATION else split)
        merged = official["train"] + official["validation"]
        is_merged = split != "test" and official["validation"] and len(records) == merged
        if is_merged and split == "train":
            logger.warning(
                "%s: the released train file holds official train + validation (%d pictures)",
                self.benchmark.title,
                merged,
            )
        if split == TRAIN_AND_VALIDATION and official["validation"] and not is_merged:
            records = records + self._read("validation")
        expected = sum(official[part] for part in split.split("+"))
        if len(records) != (merged if is_merged else expected):
            self._object(
                self.source,
                f"names {len(records)} pictures in {self.benchmark.title} {split}, not {expected}",
                "Download the caption files again.",
            )
        return records

    def _read(self, part: str) -> list[CaptionRecord]:
        return read_release(self.source, self.layout, part)

    def _object(self, root: Path, found: str, remedy: str) -> None:
        if self.complete:
            allowed = f"Or take what there is: {PARTIAL}."
            raise layout_error(root, found, self.tree, f"{remedy} {allowed}")
        logger.warning("%s %s; the rest is taken, as was asked for", root, found)


def _benchmark(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise QueryError(f"benchmark is {name!r}; expected one of {', '.join(NAMES)}.")
    return BENCHMARKS[name]
