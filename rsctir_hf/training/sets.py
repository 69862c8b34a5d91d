"""The pictures of a training run: its sets, their splits, and the check that none is held out.

A run has a main benchmark and may have further training sets (``DataArguments.extra_data``): other
benchmarks, and scenes drawn for this run by our own code. All of them, every split at hand of the
further ones and ``test_split`` of the main one, go through one leakage check before a model is
built. A main set that is streamed stands alone, and only its held-out splits can be checked then.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
)
from rsctir_hf.data.collator import TeacherLogits
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.stream import StreamedTable, file_digests, stream_from_hub
from rsctir_hf.data.tables import check_pictures
from rsctir_hf.errors import DataLayoutError, ImageReadError
from rsctir_hf.files.metadata import METADATA_FILE
from rsctir_hf.sample import sample_folder
from rsctir_hf.training.recipe_args import DataArguments

logger = logging.getLogger(__name__)

HOLD_OUT_SEED = 0  # the same pictures whatever the run's seed, so that seeds compare
TRAIN, VALIDATION = "train", "validation"
#: Seeds of drawn scenes from here on are for training; the shipped gallery has the seeds 0 to 9.
FIRST_TRAINING_SEED = 1000

Splits = dict[str, datasets.Dataset]


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
    """

    train: Mapping[str, datasets.Dataset | StreamedTable]
    validation: Mapping[str, datasets.Dataset]
    teachers: TeacherLogits | None = None

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
        return "; ".join(
            f"drawn scenes, {count:,} pictures"
            if name == DRAWN
            else f"{BENCHMARKS[name].title} train, {count:,} pictures"
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
    if arguments.streaming:
        return stream_training_data(arguments)
    most = arguments.max_train_images
    sets = {arguments.benchmark: load_main(arguments)}
    for name, place in arguments.extra.items():
        if name == DRAWN:
            count = min(arguments.drawn_scenes, most or arguments.drawn_scenes)
            sets[name] = draw_training_scenes(count, folder=folder, draw=draw)
        else:
            sets[name] = load_extra(name, place)
    refuse_leaks(sets, allow=arguments.allow_leakage)
    train = {name: splits[TRAIN] for name, splits in sets.items()}
    if most:
        train = {name: table.take(min(most, len(table))) for name, table in train.items()}
    return TrainingData(
        train=train,
        validation={
            name: splits[VALIDATION] for name, splits in sets.items() if VALIDATION in splits
        },
    )


def stream_training_data(arguments: DataArguments) -> TrainingData:
    """Open the training pictures of a Hub data set as a stream, and load what is held out."""
    name = arguments.benchmark
    held_out = load_splits(arguments, VALIDATION, arguments.test_split)
    refuse_leaks({name: held_out}, allow=arguments.allow_leakage)
    stream = stream_from_hub(
        arguments.data,
        TRAIN,
        buffer_size=arguments.shuffle_buffer,
        limit=arguments.max_train_images,
    )
    logger.info(
        "Streaming %d training pictures of %s. They are not compared with held-out pictures "
        "beforehand; one whose file equals a held-out file is left out as it comes.",
        len(stream),
        arguments.data,
    )
    files = () if arguments.allow_leakage else file_digests(*held_out.values())
    stream = replace(stream, held_out=frozenset(files))
    return TrainingData(train={name: stream}, validation={name: held_out[VALIDATION]})


def load_splits(arguments: DataArguments, *names: str) -> Splits:
    """Load splits of the main benchmark; the name of one that is not wanted is empty."""
    return {
        name: load_benchmark(
            arguments.benchmark,
            arguments.data,
            split=name,
            images=arguments.images,
            complete=arguments.complete,
            verify=False,
        )
        for name in filter(None, names)
    }


def load_main(arguments: DataArguments) -> Splits:
    """Load train, validation and the held-out split of the main benchmark."""
    validation = "" if arguments.validation_share else VALIDATION
    splits = load_splits(arguments, TRAIN, validation, arguments.test_split)
    if arguments.validation_share:
        splits[TRAIN], splits[VALIDATION] = hold_out(
            splits[TRAIN], share=arguments.validation_share, seed=HOLD_OUT_SEED
        )
    return splits


def load_extra(name: str, place: str) -> Splits:
    """Load what there is of a further benchmark: train at least, part of its pictures will do."""
    here = available_splits(place)
    for split, count in BENCHMARKS[name].images.items() if name in BENCHMARKS else ():
        if count and split not in here:
            logger.info("%s: %s has no %s split; it is not checked", name, place, split)
    wanted = dict.fromkeys((TRAIN, *here))
    return {
        split: load_benchmark(name, place, split=split, complete=False, verify=False)
        for split in wanted
    }


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


def refuse_leaks(sets: Mapping[str, Splits], *, allow: bool) -> None:
    """Check all splits of all sets together, and raise where a held-out picture stands twice.

    Nobody has decoded the pictures before; this decodes each one, and raises where some are broken.
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
            f"{len(leaks)} held-out pictures stand in two splits, such as {leaks[0]}. Take them "
            "out of train, or pass --allow_leakage true if you accept figures that flatter."
        )
