"""The pictures of a training run: its sets, their splits, and the check that none is held out.

A run has a main set, own data or a benchmark, and may have further training sets
(``DataArguments.extra_data``): benchmarks, own data, and scenes drawn for this run by our own code.
All of them, every split at hand of own data and of the further ones, and ``test_split`` of a main
benchmark, go through one leakage check before a model is built. Where own data has no validation
split, that check also says which pictures are nearly equal, and a share is held out that has none
of them on both sides. A main set that is streamed stands alone, and only its held-out splits can
be checked then.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import datasets

from rsctir_hf.data.benchmarks import (
    BENCHMARKS,
    DRAWN,
    available_splits,
    hold_out,
    load_benchmark,
    load_captioned_folder,
    refuse_other_data,
)
from rsctir_hf.data.collator import TeacherLogits
from rsctir_hf.data.label_sets import with_labels
from rsctir_hf.data.leakage import LeakageReport, check_leakage
from rsctir_hf.data.left_out import leave_out, read_pairs
from rsctir_hf.data.reading import read_captioned
from rsctir_hf.data.stream import StreamedTable, file_digests, stream_from_hub
from rsctir_hf.data.tables import check_pictures
from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files.metadata import METADATA_FILE, Columns
from rsctir_hf.sample import sample_folder
from rsctir_hf.training.data_args import DataArguments
from rsctir_hf.training.own_data import OwnData
from rsctir_hf.training.own_sets import (
    HOLD_OUT_SEED,
    TEST,
    TRAIN,
    VALIDATION,
    Splits,
    described,
    load_own,
    own_stream,
    source_of,
    with_validation,
)

logger = logging.getLogger(__name__)

#: Seeds of drawn scenes from here on are for training; the shipped gallery has the seeds 0 to 9.
FIRST_TRAINING_SEED = 1000


class SceneDrawer(Protocol):
    """Draws scenes into a folder, with boxes and captions in its ``metadata.jsonl``."""

    def __call__(
        self, folder: Path, *, scenes: int | Callable[[str], int], first_seed: int
    ) -> object:
        """Draw so many scenes in all, or so many of each type; the metadata are written last."""


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and what it is chosen on; the main set comes first in both.

    Attributes:
        train: name of a set -> its training pictures, or the stream of them.
        validation: name of a set -> its validation pictures, where it has some. Recall is computed
            over all pictures of a set.
        teachers: what other models say about a batch, for ``distillation_weight``; None: nobody.
        test: name of a set of own data -> its test pictures, where it has some. Nothing here, and
            no choice, looks at them.
        kept: name of a benchmark that the initial model knew -> its test or validation split.
        own: name of a set of own data -> what is known of it. All others are benchmarks or drawn.
    """

    train: Mapping[str, datasets.Dataset | StreamedTable]
    validation: Mapping[str, datasets.Dataset]
    teachers: TeacherLogits | None = None
    test: Mapping[str, datasets.Dataset] = field(default_factory=dict)
    own: Mapping[str, OwnData] = field(default_factory=dict)
    kept: Mapping[str, Splits] = field(default_factory=dict)

    @property
    def captions(self) -> list[list[str]]:
        """The captions of every training picture."""
        return [
            captions
            for table in self.train.values()
            for captions in (
                table.captions if isinstance(table, StreamedTable) else table["captions"]
            )
        ]

    @property
    def counts(self) -> dict[str, int]:
        """Training pictures of each set."""
        return {name: len(table) for name, table in self.train.items()}

    def describe(self) -> str:
        """Say in words what the training pictures are."""
        titles = {
            name: f"{name} (own data{'' if known.captioned else ', without captions'})"
            for name, known in self.own.items()
        } | {DRAWN: "drawn scenes"}
        return "; ".join(
            f"{titles.get(name) or f'{BENCHMARKS[name].title} train'}, {count:,} pictures"
            for name, count in self.counts.items()
        )


def load_training_data(
    arguments: DataArguments, *, folder: Path, draw: SceneDrawer | None = None
) -> TrainingData:
    """Load every set of a run, and refuse to train on a picture that is also held out.

    Args:
        arguments: the recipe's data arguments.
        folder: of the run; scenes drawn for it are kept there.
        draw: draws them; see ``drawn_scenes.build.build_gallery``.

    Raises:
        DataLayoutError: if data are missing, pictures are broken, one stands in train and in a
            held-out split, or there is no program to draw with.
        QueryError: if a set has an unknown name.
    """
    if not arguments.data:
        raise DataLayoutError(
            "No data is named. Give a folder, file or Hub id of captioned pictures: --data PLACE."
        )
    if arguments.streaming:
        return stream_training_data(arguments)
    sets, own = load_sets(arguments, folder=folder, draw=draw)
    kept = load_kept(arguments.kept, only_it=arguments.complete)
    known_before = {f"{name} (kept)": splits for name, splits in kept.items()}
    found = refuse_leaks({**sets, **known_before}, allow=arguments.allow_leakage)
    if (known := own.get(arguments.name)) is not None:
        name, share = known.name, arguments.validation_share
        sets[name], own[name] = with_validation(sets[name], known, share=share, found=found)
    if arguments.leave_out:
        leave_out_listed(sets[arguments.name], arguments)
    train = splits_of(sets, TRAIN)
    main = arguments.name
    train[main] = with_labels(train[main], arguments.data, split=TRAIN)
    if most := arguments.max_train_images:
        train = {name: table.take(min(most, len(table))) for name, table in train.items()}
    return TrainingData(
        train=train,
        validation=splits_of(sets, VALIDATION),
        test=splits_of({name: sets[name] for name in own}, TEST),
        own=own,
        kept=kept,
    )


def leave_out_listed(splits: Splits, arguments: DataArguments) -> None:
    """Take the pairs of a list out of the training pictures of a set, and of no other split."""
    file = arguments.leave_out or ""
    splits[TRAIN] = leave_out(
        splits[TRAIN],
        read_pairs(file),
        elsewhere=[table for split, table in splits.items() if split != TRAIN],
        source=file,
        most=arguments.leave_out_most,
    )


def splits_of(sets: Mapping[str, Splits], split: str) -> Splits:
    """Return one split of each set that has it."""
    return {name: splits[split] for name, splits in sets.items() if split in splits}


def load_sets(
    arguments: DataArguments, *, folder: Path, draw: SceneDrawer | None
) -> tuple[dict[str, Splits], dict[str, OwnData]]:
    """Load every set, and what is known of those that are own data."""
    most = arguments.max_train_images
    sets: dict[str, Splits] = {}
    own: dict[str, OwnData] = {}
    if arguments.benchmark:
        sets[arguments.benchmark] = load_main(arguments)
    else:
        sets[arguments.name], own[arguments.name] = load_own(arguments)
    for name, place in arguments.extra.items():
        if name == DRAWN:
            count = min(arguments.drawn_scenes, most or arguments.drawn_scenes)
            sets[name] = draw_training_scenes(count, folder=folder, draw=draw)
        elif name in BENCHMARKS:
            sets[name] = load_extra(name, place, only_it=arguments.complete)
        else:
            sets[name], own[name] = described(name, place, read_captioned(place))
    return sets, own


def stream_training_data(arguments: DataArguments) -> TrainingData:
    """Open the training pictures of a Hub data set as a stream, and load what is held out."""
    name = arguments.name
    own = {} if arguments.benchmark else {name: own_stream(arguments)}
    test = TEST if name in own and own[name].test else arguments.test_split
    held_out = load_splits(arguments, VALIDATION, test)
    refuse_leaks({name: held_out}, allow=arguments.allow_leakage)
    stream = stream_from_hub(
        arguments.data,
        TRAIN,
        buffer_size=arguments.shuffle_buffer,
        limit=arguments.max_train_images,
        columns=Columns(arguments.image_column, arguments.caption_column),
    )
    logger.info(
        "Streaming %d training pictures of %s. They are not compared with held-out pictures "
        "beforehand; one whose file equals a held-out file is left out as it comes.",
        len(stream),
        arguments.data,
    )
    files = () if arguments.allow_leakage else file_digests(*held_out.values())
    stream = replace(stream, held_out=frozenset(files))
    return TrainingData(
        train={name: stream},
        validation={name: held_out[VALIDATION]},
        test=splits_of({name: held_out} if own else {}, TEST),
        own=own,
    )


def load_splits(arguments: DataArguments, *names: str) -> Splits:
    """Load splits of the main set; the name of one that is not wanted is empty.

    Raises:
        DataLayoutError: also if pictures are not those of the benchmark that is named.
    """
    wanted = [name for name in names if name]
    if not arguments.benchmark:
        source = source_of(arguments)
        return {name: source.read(only=name).splits[name] for name in wanted}
    tables: Splits = {}
    for split in wanted:
        tables[split] = load_benchmark(
            arguments.benchmark,
            arguments.data,
            split=split,
            images=arguments.images,
            complete=arguments.complete,
            verify=False,
        )
        if arguments.complete:  # before another split is looked for, which own data may lack
            refuse_others(arguments.benchmark, tables, place=arguments.data)
    return tables


def refuse_others(name: str, splits: Splits, *, place: str) -> None:
    """Refuse splits whose pictures are not those of a benchmark; see ``refuse_other_data``."""
    for split, table in splits.items():
        refuse_other_data(name, table, split=split, source=place)


def load_main(arguments: DataArguments) -> Splits:
    """Load train, validation and the held-out split of the main benchmark."""
    validation = "" if arguments.validation_share else VALIDATION
    splits = load_splits(arguments, TRAIN, validation, arguments.test_split)
    if arguments.validation_share:
        splits[TRAIN], splits[VALIDATION] = hold_out(
            splits[TRAIN], share=arguments.validation_share, seed=HOLD_OUT_SEED
        )
    return splits


def load_extra(name: str, place: str, *, only_it: bool) -> Splits:
    """Load what there is of a further benchmark: train at least, part of its pictures will do.

    Args:
        name: of the benchmark.
        place: its folder or Hub id.
        only_it: refuse pictures that are not those of the benchmark.
    """
    here = available_splits(place)
    for split, count in BENCHMARKS[name].images.items():
        if count and split not in here:
            logger.info("%s: %s has no %s split; it is not checked", name, place, split)
    splits = {
        split: load_benchmark(name, place, split=split, complete=False, verify=False)
        for split in dict.fromkeys((TRAIN, *here))
    }
    if only_it:
        refuse_others(name, splits, place=place)
    return splits


def load_kept(places: Mapping[str, str], *, only_it: bool) -> dict[str, Splits]:
    """Load benchmarks that the initial model knew: of each test, or validation where that is all.

    Args:
        places: name of a benchmark -> its folder or Hub id; a part of its pictures will do.
        only_it: refuse pictures that are not those of the benchmark.
    """
    kept = {}
    for name, place in places.items():
        split = TEST if TEST in available_splits(place) else VALIDATION
        kept[name] = {split: load_benchmark(name, place, split=split, complete=False, verify=False)}
        if only_it:
            refuse_others(name, kept[name], place=place)
    return kept


def draw_once(
    draw: SceneDrawer | None, folder: Path, *, scenes: int | Callable[[str], int]
) -> None:
    """Draw scenes that are not in the shipped gallery, unless a resumed run finds them there."""
    if (folder / METADATA_FILE).is_file():
        return
    if draw is None:
        raise DataLayoutError(
            "The recipe asks for drawn scenes and nothing here draws them. Run training/run.py or "
            "training/detector.py of a clone of the repository, or hand in draw=build_gallery."
        )
    draw(folder, scenes=scenes, first_seed=FIRST_TRAINING_SEED)


def draw_training_scenes(count: int, *, folder: Path, draw: SceneDrawer | None) -> Splits:
    """Draw scenes that are not in the shipped gallery; the latter is the held-out split.

    The same count gives the same scenes. Drawn once a run folder: a resumed run reads them back.
    """
    # Trainer leaves out of a push what begins with an underscore.
    drawn = folder / f"_drawn_{count}"
    draw_once(draw, drawn / TRAIN, scenes=count)
    shipped = sample_folder()
    return {
        TRAIN: load_captioned_folder(drawn, TRAIN, verify=False),
        "shipped": load_captioned_folder(shipped.parent, shipped.name, verify=False),
    }


def refuse_leaks(sets: Mapping[str, Splits], *, allow: bool) -> LeakageReport:
    """Check all splits of all sets together, and raise where a held-out picture stands twice.

    Nobody has decoded the pictures before; this decodes each one, and raises where some are broken.

    Returns:
        What stands twice and may.
    """
    tables = {
        f"{name}/{split}": table for name, splits in sets.items() for split, table in splits.items()
    }
    try:
        found = check_leakage(tables)
    except ImageReadError:
        for name, table in tables.items():
            check_pictures(table, source=name)  # raises, and names all that are broken
        raise
    for line in found.lines():
        logger.info(line)
    leaks = [
        pair
        for pair in found.crossing
        if not all(side.dataset.endswith(f"/{TRAIN}") for side in (pair.left, pair.right))
    ]
    if leaks and not allow:
        raise DataLayoutError(
            f"Held-out pictures that stand in two splits: {len(leaks)}, such as {leaks[0]}. Take "
            "them out of train, or pass --allow_leakage true if you accept figures that flatter."
        )
    return found
