"""From data set rows to model inputs: the view of an epoch, and the collator of a batch.

Everything random about a training row (turns, crop, choice of captions) is decided here as a pure
function of (seed, epoch, row). No state is kept, so worker processes, their number and a resumed
run all see the same pictures.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from rsctir_hf.data.augmentation import Augmentation, row_generator
from rsctir_hf.errors import ImageReadError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.regions.proposer import MODEL_REGIONS, RegionProposer
from rsctir_hf.regions.sanitize import propose

#: Rows (B,) and C captions to the scaled cosines (K, B, C) of K teachers.
TeacherLogits = Callable[[Sequence[int], Sequence[str]], Tensor]
#: Rows to tensors of what else is known of them, such as ``row_facts.RowFacts``.
KnownOfRows = Callable[[Sequence["TrainingRow"]], Mapping[str, Tensor]]


# A class, not a dict: the Trainer would drop the keys of a dict that forward() does not take.
@dataclass(frozen=True)
class TrainingRow:
    """One picture of one epoch.

    Attributes:
        image: RGB, augmented.
        captions: the sentences drawn for this epoch.
        wordings: those sentences as the model reads them, with words dropped.
        all_captions: every sentence of the picture.
        row: its row number in the data set, counted through where there are several sets.
        side: pixels of the square the processor makes of it; ``None``: the processor's own size.
    """

    image: Image.Image
    captions: tuple[str, ...]
    wordings: tuple[str, ...]
    all_captions: tuple[str, ...]
    row: int
    side: int | None = None


@dataclass(frozen=True)
class RowDrawer:
    """Everything random about a training row, as a pure function of (seed, epoch, row).

    Attributes:
        seed: the run's seed, not negative.
        augmentation: changes to the picture; ``None`` leaves it as it is.
        captions_per_image: distinct sentences drawn per picture; pictures with fewer give all.
        word_drop: chance of each word to be left out of what the model reads.
        low_resolution: (side in pixels, number of first epochs) of smaller pictures.
    """

    seed: int
    augmentation: Augmentation | None = None
    captions_per_image: int = 1
    word_drop: float = 0.0
    low_resolution: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; expected 0 or more.")
        if self.captions_per_image < 1:
            raise ValueError(
                f"captions_per_image is {self.captions_per_image}; expected at least 1."
            )

    def __call__(
        self, image: Image.Image, captions: Sequence[str], *, epoch: int, row: int
    ) -> TrainingRow:
        """Draw row ``row`` of an epoch from its picture and all its captions."""
        rng = row_generator(self.seed, epoch=epoch, row=row)
        if self.augmentation is not None:
            image = self.augmentation(image, rng)
        drawn = draw_captions(captions, self.captions_per_image, rng)
        wordings = tuple(drop_words(caption, self.word_drop, rng) for caption in drawn)
        side, epochs = self.low_resolution
        smaller = side if epoch < epochs else None
        return TrainingRow(image, drawn, wordings, tuple(captions), row, smaller)


class EpochView(Dataset[TrainingRow]):
    """Data sets, one after the other, whose index also says the epoch.

    ``index = epoch * len(view) + row``, where rows are counted through over all sets.

    ``view[row]`` is row ``row`` of epoch 0, so the view also works with an ordinary sampler;
    :class:`~rsctir_hf.data.sampler.CaptionAwareSampler` yields indices of later epochs.

    Args:
        sets: one data set or several; each has rows with ``image`` and ``captions`` and is a
            ``datasets.Dataset`` or any sequence.
        draw: what is done to a row.
        cache: keep decoded pictures in memory (1,680 pictures of 256 px: 330 MB). Each worker
            process keeps its own copy, and a pickled view leaves its cache behind.
    """

    def __init__(
        self,
        *sets: datasets.Dataset | Sequence[Mapping[str, Any]],
        draw: RowDrawer,
        cache: bool = False,
    ) -> None:
        self.sets: list[Any] = [without_decoding(each) for each in sets]
        self._all: ConcatDataset[Mapping[str, Any]] = ConcatDataset(self.sets)
        self.draw = draw
        self.cache = cache
        self._pictures: dict[int, Image.Image] = {}

    @property
    def caption_sets(self) -> list[list[str]]:
        """The captions of each row, as the sampler takes them."""
        return list(chain.from_iterable(_captions(each) for each in self.sets))

    @property
    def groups(self) -> list[int]:
        """The number of the set each row belongs to, as the sampler takes them."""
        return [number for number, each in enumerate(self.sets) for _ in range(len(each))]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: int) -> TrainingRow:
        if index < 0:
            raise IndexError(f"index is {index}; expected epoch * {len(self)} + row.")
        epoch, row = divmod(int(index), len(self))
        content = self._all[row]
        picture = self._picture(row, content)
        return self.draw(picture, content["captions"], epoch=epoch, row=row)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pictures": {}}

    def _picture(self, row: int, content: Mapping[str, Any]) -> Image.Image:
        if row in self._pictures:
            return self._pictures[row]
        try:
            picture = read_image(picture_source(content["image"]))
        except ImageReadError as error:
            name = content.get("file_name", "?")
            raise ImageReadError(f"Row {row} ({name}) of the training data: {error}") from error
        if self.cache:
            self._pictures[row] = picture
        return picture


class RetrievalCollator:
    """Turns rows into what the model and the losses take.

    Args:
        processor: a retrieval processor: ``processor(images=, text=, return_tensors="pt")`` gives
            at least ``pixel_values (B, 3, H, W)``, ``input_ids (C, T)``, ``attention_mask (C, T)``.
        teachers: whose logits go along, if any.
        regions: ``model``, or a proposer that looks at each picture as it is trained on and
            whose regions go along.
        known: of the rows, which goes along.
    """

    def __init__(
        self,
        processor: Callable[..., Mapping[str, Tensor]],
        teachers: TeacherLogits | None = None,
        *,
        regions: str | RegionProposer = MODEL_REGIONS,
        known: KnownOfRows | None = None,
    ) -> None:
        self.processor = processor
        self.teachers = teachers
        self.regions = regions
        self.known = known

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """Collate B rows with C captions in all.

        Returns:
            The processor's tensors, and ``image_of_caption`` (C,) int64, the picture each caption
            was drawn for, and ``positives`` (B, C) bool, true where the caption is, as a
            sentence, among the picture's captions. With K teachers also ``teacher_logits``
            (K, B, C), and what ``known`` gives.

        Raises:
            ValueError: the rows are of epochs with different picture sizes.
        """
        captions = [caption for row in rows for caption in row.captions]
        sides = {row.side for row in rows}
        if len(sides) > 1:
            raise ValueError(f"Rows of one batch ask for pictures of several sides: {sides}.")
        side = sides.pop()
        options: dict[str, Any] = {}
        if side is not None:
            options["size"] = {"height": side, "width": side}
        pictures = [row.image for row in rows]
        if not isinstance(self.regions, str):
            options["regions"] = propose(self.regions, pictures)
        wordings = [wording for row in rows for wording in row.wordings]
        inputs = self.processor(images=pictures, text=wordings, return_tensors="pt", **options)
        image_of_caption = np.repeat(np.arange(len(rows)), [len(row.captions) for row in rows])
        batch = {
            **inputs,
            "image_of_caption": torch.from_numpy(image_of_caption),
            "positives": find_positives([row.all_captions for row in rows], captions),
        }
        if self.teachers is not None:
            batch["teacher_logits"] = self.teachers([row.row for row in rows], captions)
        return batch | dict(self.known(rows) if self.known else {})


def find_positives(caption_sets: Sequence[Iterable[str]], captions: Sequence[str]) -> Tensor:
    """Say which captions are true of which pictures.

    Args:
        caption_sets: all captions of each of B pictures.
        captions: C sentences.

    Returns:
        (B, C) bool.
    """
    sentences = [normalise_caption(caption) for caption in captions]
    owned = [{normalise_caption(caption) for caption in each} for each in caption_sets]
    cells = [[sentence in own for sentence in sentences] for own in owned]
    return torch.tensor(cells, dtype=torch.bool).reshape(len(owned), len(sentences))


def draw_captions(captions: Sequence[str], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Draw ``count`` captions at random, no sentence twice; all of them where there are fewer."""
    drawn: dict[str, str] = {}
    for position in rng.permutation(len(captions)):
        drawn.setdefault(normalise_caption(captions[position]), captions[position])
        if len(drawn) == count:
            break
    return tuple(drawn.values())


def drop_words(caption: str, chance: float, rng: np.random.Generator) -> str:
    """Leave each word out with this chance; a sentence that would lose all keeps all."""
    if not chance:
        return caption
    words = caption.split()
    kept = [
        word for word, draw in zip(words, rng.random(len(words)), strict=True) if draw >= chance
    ]
    return " ".join(kept or words)


def picture_source(value: Any) -> Any:  # noqa: ANN401 - whatever an image column may hold
    """Return what ``read_image`` takes for a cell of an undecoded or decoded image column."""
    if isinstance(value, Mapping):
        return value["bytes"] if value.get("bytes") is not None else value["path"]
    return value


def picture_bytes(value: Any) -> bytes:  # noqa: ANN401
    """Return the file in a cell of an undecoded image column.

    Raises:
        ImageReadError: there is none, or it cannot be read.
    """
    source = picture_source(value)
    if source is None:
        raise ImageReadError("the row has no picture. Give it one, or leave it out.")
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise ImageReadError(f"{source} cannot be read ({error.strerror}).") from error


def undecoded(table: datasets.Dataset) -> datasets.Dataset:
    """Return a table whose pictures stay the files they are; see ``picture_source``."""
    return table.cast_column("image", datasets.Image(decode=False))


def _captions(dataset: datasets.Dataset | Sequence[Mapping[str, Any]]) -> list[list[str]]:
    if isinstance(dataset, datasets.Dataset):
        return [list(captions) for captions in dataset["captions"]]
    return [list(row["captions"]) for row in dataset]


def without_decoding(
    dataset: datasets.Dataset | Sequence[Mapping[str, Any]],
) -> datasets.Dataset | Sequence[Mapping[str, Any]]:
    """Return rows whose pictures are for ``picture_source`` and ``read_image``.

    Those know 16-bit, CMYK and GeoTIFF files and name a broken one; what ``datasets`` decodes with
    is Pillow, which knows them in part or reads them otherwise.
    """
    if isinstance(dataset, datasets.Dataset) and isinstance(
        dataset.features["image"], datasets.Image
    ):
        return undecoded(dataset)
    return dataset
