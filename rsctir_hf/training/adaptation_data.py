"""What an adaptation learns from: pictures, and what the initial model makes of each beforehand."""

import logging
from dataclasses import dataclass

import datasets
import torch
from torch import Tensor

from rsctir_hf.data.benchmarks import load_captioned_folder
from rsctir_hf.data.collator import picture_source, undecoded
from rsctir_hf.data.formats import shorten
from rsctir_hf.data.tables import check_pictures
from rsctir_hf.data.uncaptioned import paired_tables, picture_table
from rsctir_hf.embedding.encode import EmbeddedImages
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.sample import read_caption_bank, sample_folder
from rsctir_hf.training.adaptation_args import AdaptationArguments, PictureArguments
from rsctir_hf.training.own_data import LEAST_PICTURES, OwnData
from rsctir_hf.training.pseudo_captions import balanced_assignments, neighbour_mean, sharpened
from rsctir_hf.training.sets import TRAIN, TrainingData, load_kept, refuse_leaks

logger = logging.getLogger(__name__)

#: What records call the drawn gallery, on which both models are scored: it has captions.
SAMPLE = "sample"


@dataclass(frozen=True)
class Pictures:
    """The pictures of a run, row by row of the same place.

    Attributes:
        seen: what the picture tower learns to read.
        taught: what the initial model looks at; ``seen`` itself where there is one sensor.
    """

    seen: datasets.Dataset
    taught: datasets.Dataset

    @property
    def two_sensors(self) -> bool:
        """Whether these are different pictures."""
        return self.seen is not self.taught


@dataclass(frozen=True)
class Lesson:
    """What the initial model makes of n pictures; nothing here changes while it is learnt.

    Attributes:
        anchors: (n, D) its unit vectors.
        bank: (U, D) its unit vectors of the sentences of a bank.
        assignments: (n, U) half precision: which sentences each picture is to be near; rows sum to
            1.
    """

    anchors: Tensor
    bank: Tensor
    assignments: Tensor


def load_pictures(arguments: PictureArguments) -> Pictures:
    """List the pictures of a run.

    Raises:
        DataLayoutError: see ``data.uncaptioned``; or they are too few.
    """
    if arguments.second_data:
        taught, seen = paired_tables(
            arguments.data, arguments.second_data, allow_missing=arguments.allow_missing
        )
        check_pictures(seen, source=arguments.second_data)
    else:
        taught = seen = picture_table(arguments.data)
    if len(seen) < LEAST_PICTURES:
        raise DataLayoutError(
            f"{arguments.name} has {len(seen)} picture; expected some hundreds, and at least "
            f"{LEAST_PICTURES}."
        )
    if (most := arguments.max_train_images) and most < len(seen):
        one_sensor = seen is taught
        taught = taught.take(most)
        seen = taught if one_sensor else seen.take(most)
    return Pictures(seen, taught)


def prepare_lesson(
    encoder: Encoder, pictures: Pictures, arguments: PictureArguments, args: AdaptationArguments
) -> tuple[TrainingData, Lesson]:
    """Embed what the run learns from, and say which sentences suit each picture.

    Args:
        encoder: with the initial model.
        pictures: of the run; those that cannot be read are left out and named in the log.
        arguments: where they come from.
        args: how they are learnt from.

    Raises:
        DataLayoutError: a picture stands in ``keep_data`` too, or too few can be read.
    """
    kept = load_kept(arguments.kept, only_it=arguments.complete)
    if kept:
        known = {f"{name} (kept)": splits for name, splits in kept.items()}
        learnt = {arguments.name: {TRAIN: pictures.seen}}
        refuse_leaks(learnt | known, allow=arguments.allow_leakage)
    embedded = look_at(encoder, pictures.taught)
    bank = encoder.texts(read_caption_bank(arguments.caption_bank))
    lesson = Lesson(embedded.vectors, bank, assign(embedded.vectors, bank, args))
    shipped = sample_folder()
    own = OwnData(
        arguments.name,
        licence=arguments.data_licence,
        source=arguments.data_source,
        captioned=False,
    )
    data = TrainingData(
        train={own.name: pictures.seen.select(embedded.kept)},
        validation={SAMPLE: load_captioned_folder(shipped.parent, shipped.name, verify=False)},
        own={own.name: own},
        kept=kept,
    )
    return data, lesson


def look_at(encoder: Encoder, table: datasets.Dataset) -> EmbeddedImages:
    """Embed pictures; those that cannot be read are named in the log.

    Raises:
        DataLayoutError: too few can be read.
    """
    logger.info("%s looks at %d pictures", encoder.id or "The model", len(table))
    embedded = encoder.images([picture_source(cell) for cell in undecoded(table)["image"]])
    skipped = embedded.skipped
    if len(embedded.kept) < LEAST_PICTURES:
        raise DataLayoutError(
            f"Of {len(table)} pictures {len(embedded.kept)} can be read; the first that cannot: "
            f"{skipped[0].reason}"
        )
    if skipped:
        names = shorten(each.path for each in skipped)
        logger.warning("%d pictures cannot be read and are left out: %s", len(skipped), names)
    return embedded


def assign(vectors: Tensor, bank: Tensor, args: AdaptationArguments) -> Tensor:
    """Return the assignments of a ``Lesson``; see ``pseudo_captions``.

    Args:
        vectors: (n, D) unit vectors of pictures.
        bank: (U, D) of sentences.
        args: how they are made.
    """
    found = balanced_assignments(
        vectors @ bank.T, temperature=args.assignment_temperature, rounds=args.balance_rounds
    )
    shared = neighbour_mean(found, vectors, neighbours=args.neighbours)
    return sharpened(shared, power=args.sharpening).to(torch.float16)
