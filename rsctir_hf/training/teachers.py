"""What other models say about the training pictures: targets that a student learns from.

Teachers look at each picture once, as it is, and at each sentence once; their vectors are kept in
the run's folder. A batch's targets are then a matter of looking vectors up.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import datasets
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from rsctir_hf.data.collator import picture_source, undecoded
from rsctir_hf.data.tables import BAR_DELAY
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import ImageReadError
from rsctir_hf.files.atomic import replacing
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.loading.checks import weights_fingerprint

logger = logging.getLogger(__name__)

CACHE = "_teachers"  # Trainer leaves out of a push what begins with an underscore
IMAGES, TEXTS, SCALE = "image_vectors", "text_vectors", "logit_scale"


@dataclass(frozen=True)
class Teacher:
    """A model's vectors of the training data.

    Attributes:
        image_vectors: (N, D) unit vectors of the rows, counted through over all sets.
        text_vectors: (U, D) unit vectors of the distinct sentences.
        scale: its inverse temperature.
    """

    image_vectors: Tensor
    text_vectors: Tensor
    scale: float


class Teachers:
    """Several teachers, asked about one batch at a time.

    Args:
        teachers: each with vectors of the same rows and sentences.
        sentences: U distinct sentences as ``sentences.normalise_caption`` leaves them.
    """

    def __init__(self, teachers: Sequence[Teacher], sentences: Iterable[str]) -> None:
        self.teachers = teachers
        self.numbers = {sentence: number for number, sentence in enumerate(sentences)}

    def __call__(self, rows: Sequence[int], captions: Sequence[str]) -> Tensor:
        """Return the scaled cosines (K, B, C) of K teachers for B rows and C of their captions."""
        numbers = [self.numbers[normalise_caption(caption)] for caption in captions]
        return torch.stack(
            [
                each.scale * each.image_vectors[list(rows)] @ each.text_vectors[numbers].T
                for each in self.teachers
            ]
        )


def load_teachers(
    sources: Sequence[str],
    train: Mapping[str, datasets.Dataset],
    *,
    folder: Path,
    batch_size: int = 64,
) -> Teachers | None:
    """Embed the training data with each teacher, or read back what an earlier start has embedded.

    Args:
        sources: model folders or Hub ids of dual encoders with a ``logit_scale``; none of them:
            there are no teachers.
        train: name of a set -> its training pictures; rows are counted through in this order.
        folder: of the run.
        batch_size: pictures per forward pass.

    Raises:
        ImageReadError: a picture cannot be read.
        RsctirError: a teacher cannot be loaded.
    """
    if not sources:
        return None
    captions = [own for table in train.values() for own in table["captions"]]
    sentences: dict[str, str] = {}  # key of the sentence -> its first spelling
    for caption in chain.from_iterable(captions):
        sentences.setdefault(normalise_caption(caption), caption)
    data = hashlib.sha256(json.dumps([captions, picture_digests(train)]).encode()).hexdigest()
    teachers = []
    for source in sources:
        teacher = Encoder.from_pretrained(source)
        asked = f"{weights_fingerprint(teacher.model)} {data}"
        key = hashlib.sha256(asked.encode()).hexdigest()[:16]
        file = folder / CACHE / f"{key}.safetensors"
        if not file.is_file():
            logger.info("%s looks at the training data", source)
            vectors = embed_training_data(
                teacher, train, list(sentences.values()), batch_size=batch_size
            )
            with replacing(file) as unfinished:
                save_file(vectors, unfinished)
        kept = load_file(file)
        teachers.append(Teacher(kept[IMAGES], kept[TEXTS], kept[SCALE].item()))
    return Teachers(teachers, sentences)


def picture_digests(train: Mapping[str, datasets.Dataset]) -> list[list[str]]:
    """Tell the pictures of each set apart from others: their files, or digests of their bytes."""
    return [
        [
            name,
            *(
                hashlib.sha256(cell["bytes"]).hexdigest() if cell["bytes"] else str(cell["path"])
                for cell in undecoded(table)["image"]
            ),
        ]
        for name, table in train.items()
    ]


def embed_training_data(
    teacher: Encoder,
    train: Mapping[str, datasets.Dataset],
    sentences: Sequence[str],
    *,
    batch_size: int,
) -> dict[str, Tensor]:
    """Return a teacher's vectors of all rows and sentences, and its inverse temperature."""
    cells = chain.from_iterable(undecoded(table)["image"] for table in train.values())
    total = sum(len(table) for table in train.values())
    bar = tqdm(cells, total=total, desc="teacher", unit="picture", delay=BAR_DELAY, disable=None)
    pictures = teacher.images((picture_source(cell) for cell in bar), batch_size=batch_size)
    if pictures.skipped:
        skipped = pictures.skipped[0]
        raise ImageReadError(f"{skipped.path}: {skipped.reason} A teacher needs every picture.")
    return {
        IMAGES: pictures.vectors,
        TEXTS: teacher.texts(sentences),
        SCALE: cast(Any, teacher.model).logit_scale.detach().float().exp().reshape(1),
    }
