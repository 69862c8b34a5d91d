"""Scenes drawn for one training run, by a program that is handed in (``drawn_scenes``)."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.metadata import METADATA_FILE

#: Scene seeds from here on are for training; the shipped gallery has the seeds 0 to 9.
FIRST_TRAINING_SEED = 1000


class SceneDrawer(Protocol):
    """Draws scenes into a folder, with boxes and captions in its ``metadata.jsonl``."""

    def __call__(
        self, folder: Path, *, scenes: int | Callable[[str], int], first_seed: int
    ) -> object:
        """Draw so many scenes in all, or so many of each type; the metadata are written last."""


def draw_once(
    draw: SceneDrawer | None, folder: Path, *, scenes: int | Callable[[str], int]
) -> None:
    """Draw scenes that are not in the shipped gallery, unless a resumed run finds them there.

    Raises:
        DataLayoutError: there is no program to draw with.
    """
    if (folder / METADATA_FILE).is_file():
        return
    if draw is None:
        raise DataLayoutError(
            "The recipe asks for drawn scenes and nothing here draws them. Run training/run.py or "
            "training/detector.py of a clone of the repository, or hand in draw=build_gallery."
        )
    draw(folder, scenes=scenes, first_seed=FIRST_TRAINING_SEED)
