"""The splits of own data: what reading it gives, and a validation part where it has none.

A benchmark has the splits of its release (``sets.load_splits``).
"""

import logging
from dataclasses import replace

import datasets

from rsctir_hf.data.grouped_share import hold_out_groups
from rsctir_hf.data.leakage import LeakageReport
from rsctir_hf.data.reading import CaptionedSource, CaptionedSplits
from rsctir_hf.data.tables import hub_splits
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.training.data_args import DataArguments
from rsctir_hf.training.own_data import (
    VALIDATION_SHARE,
    OwnData,
    check_enough,
    hub_id_of,
    say_what_to_expect,
)

logger = logging.getLogger(__name__)

HOLD_OUT_SEED = 0  # the same pictures whatever the run's seed, so that seeds compare
TRAIN, VALIDATION, TEST = "train", "validation", "test"

Splits = dict[str, datasets.Dataset]


def source_of(arguments: DataArguments) -> CaptionedSource:
    """Return where the main set is read from, as own data, and how."""
    return CaptionedSource(
        arguments.data,
        images=arguments.images,
        image_column=arguments.image_column,
        caption_column=arguments.caption_column,
        class_templates=arguments.class_templates,
        allow_missing=arguments.allow_missing,
    )


def load_own(arguments: DataArguments) -> tuple[Splits, OwnData]:
    """Read the main set as own data, with every split that it has.

    Raises:
        DataLayoutError: also if its training pictures are too few.
    """
    read = source_of(arguments).read()
    if read.image_column and read.caption_column:
        columns = read.image_column, read.caption_column
        logger.info("%s: pictures by column %s, captions by %s", arguments.name, *columns)
    splits, own = described(arguments.name, arguments.data, read)
    check_enough(own.name, sum(len(splits.get(split, ())) for split in (TRAIN, VALIDATION)))
    return splits, replace(own, licence=arguments.data_licence, source=arguments.data_source)


def described(name: str, place: str, read: CaptionedSplits) -> tuple[Splits, OwnData]:
    """Return the splits of own data, and what reading has shown of it.

    Raises:
        DataLayoutError: it has no training split.
    """
    if TRAIN not in read.splits:
        raise DataLayoutError(
            f"{place} has no split to train on, only {', '.join(read.splits)}. Name one of its "
            f"folders {TRAIN}, or put all pictures into one folder without splits."
        )
    return dict(read.splits), OwnData(
        name,
        hub_id=hub_id_of(place),
        from_class_names=read.from_class_names,
        test=TEST in read.splits,
    )


def with_validation(
    splits: Splits, own: OwnData, *, share: float | None, found: LeakageReport
) -> tuple[Splits, OwnData]:
    """Hold a share of own training pictures out, unless they come with a validation split.

    Args:
        splits: of the set.
        own: what is known of it.
        share: that the run asks for; None: ``VALIDATION_SHARE``.
        found: which of its pictures are nearly equal.

    Raises:
        DataLayoutError: the share is 0, or the pictures are all alike.
    """
    train = splits[TRAIN]
    if VALIDATION in splits:
        if share:
            logger.info("%s has a validation split: validation_share is not needed.", own.name)
        say_what_to_expect(own.name, training=len(train), validation=len(splits[VALIDATION]))
        return splits, own
    if share == 0:
        raise DataLayoutError(
            f"{own.name} has no validation split and validation_share is 0. Expected a share of "
            f"the training pictures, such as --validation_share {VALIDATION_SHARE}."
        )
    pairs = [pair for pair in found.within if pair.left.dataset == f"{own.name}/{TRAIN}"]
    held = hold_out_groups(
        train["captions"],
        share=share or VALIDATION_SHARE,
        seed=HOLD_OUT_SEED,
        equal=[(pair.left.row, pair.right.row) for pair in pairs],
        labelled=own.from_class_names,
    )
    words = (
        f"{len(held.validation):,} of {len(train):,} pictures held out, the same ones whatever the "
        f"seed of the run. On one side only: {held.kept_together}"
    )
    logger.info("Validation of %s: %s.", own.name, words)
    say_what_to_expect(own.name, training=len(held.training), validation=len(held.validation))
    parts = {TRAIN: train.select(held.training), VALIDATION: train.select(held.validation)}
    return splits | parts, replace(own, held_out=words)


def own_stream(arguments: DataArguments) -> OwnData:
    """Say what is known of own data on the Hub before it is read."""
    return OwnData(
        arguments.name,
        licence=arguments.data_licence,
        source=arguments.data_source,
        hub_id=hub_id_of(arguments.data),
        test=TEST in hub_splits(arguments.data),
    )
