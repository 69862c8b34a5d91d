"""The pictures a detector is trained and chosen on: RSOD, and scenes drawn by our own code.

Test pictures are not read here.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsctir_hf.data.benchmarks import DRAWN
from rsctir_hf.detection.crops import BoxedPicture, read_boxed_folder
from rsctir_hf.detection.detector_args import DetectorDataArguments
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.files.rows import decode
from rsctir_hf.hub.card_tables import RSOD
from rsctir_hf.training.sets import HOLD_OUT_SEED, TRAIN, SceneDrawer, draw_once

logger = logging.getLogger(__name__)

#: What the drawn scenes call the classes of RSOD.
DRAWN_NAMES = {
    "plane": "aircraft",
    "storage tank": "oil tank",
    "overpass": "overpass",
    "running track": "playground",
}
#: The types of drawn scenes in which these stand.
DRAWN_TYPES = ("airport", "storage_tanks", "overpass", "running_track")
READABLE = {"oiltank": "oil tank"}


@dataclass(frozen=True)
class DetectorData:
    """What a run learns from and what it is chosen on.

    Attributes:
        classes: their names; a label is a place in it.
        train: pictures, those cut several times an epoch as often.
        validation: pictures held out of train.
        counts: training pictures of each source.
    """

    classes: list[str]
    train: list[BoxedPicture]
    validation: list[BoxedPicture]
    counts: dict[str, int]


def load_detector_data(
    arguments: DetectorDataArguments, *, folder: Path, draw: SceneDrawer | None = None
) -> DetectorData:
    """Load what a run needs.

    Args:
        arguments: the recipe's data arguments.
        folder: of the run; scenes drawn for it are kept there.
        draw: draws them; see ``drawn_scenes.build.build_gallery``.

    Raises:
        DataLayoutError: the data are missing.
    """
    classes = read_classes(Path(arguments.data))
    train, validation = hold_out_by_class(
        read_split(Path(arguments.data), TRAIN), share=arguments.validation_share
    )
    most = arguments.max_train_images
    train, validation = train[: most or None], validation[: most or None]
    scenes, others = arguments.drawn_scenes, arguments.drawn_others
    if most:
        scenes, others = min(scenes, most), min(others, most)
    drawn: list[BoxedPicture] = []
    if scenes or others:
        # Trainer leaves out of a push what begins with an underscore.
        place = folder / f"_drawn_{scenes}_{others}"
        draw_once(draw, place, scenes=lambda kind: scenes if kind in DRAWN_TYPES else others)
        drawn = read_boxed_folder(place, classes=classes, names=DRAWN_NAMES)
    return DetectorData(
        classes,
        train=train * arguments.repeats + drawn,
        validation=validation,
        counts={RSOD: len(train), DRAWN: len(drawn)},
    )


def read_split(root: Path, split: str) -> list[BoxedPicture]:
    """Read one split of RSOD; errors are those of ``read_classes`` and ``read_boxed_folder``."""
    classes = read_classes(root)
    return read_boxed_folder(root / split, classes=classes, names=classes)


def read_classes(root: Path) -> list[str]:
    """Return the names of the classes, as they should be shown.

    Raises:
        DataLayoutError: there is no ``classes.json``, or it is damaged.
    """
    file = root / "classes.json"
    if not file.is_file():
        raise DataLayoutError(
            f"{file} is missing. Name the folder of RSOD with --data: it holds classes.json and "
            "the folders train and test, each with pictures and metadata.jsonl."
        )
    try:
        names = parse_json(decode(file.read_bytes()))
        return [str(READABLE.get(name, name)) for name in list(names)]
    except (ValueError, TypeError) as error:
        raise DataLayoutError(
            f"{file} is no list of names ({error}). Copy it again, or write the classes as "
            '["name", ...].'
        ) from error


def hold_out_by_class(
    pictures: Sequence[BoxedPicture], *, share: float
) -> tuple[list[BoxedPicture], list[BoxedPicture]]:
    """Hold out the same share of the pictures of each class, whatever the run's seed.

    A picture counts for its most frequent class; those without boxes are a class of their own.

    Returns:
        What is left, and what is held out: at least one picture of each class that has two.
    """
    kinds = np.array([np.bincount(p.labels).argmax() if len(p.labels) else -1 for p in pictures])
    rng = np.random.default_rng(HOLD_OUT_SEED)
    held: set[int] = set()
    for kind in np.unique(kinds):
        members = rng.permutation(np.flatnonzero(kinds == kind))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held.update(members[:count].tolist())
    left = [each for row, each in enumerate(pictures) if row not in held]
    return left, [pictures[row] for row in sorted(held)]
