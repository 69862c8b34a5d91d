"""The pairs of a captioned set that look wrong, with what is said of like pictures beside."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any, cast

import datasets
import torch
from torch import Tensor

from rsctir_hf.audit.suspicion import Pairs, Suspicion, suspect
from rsctir_hf.collection.table_files import csv_text
from rsctir_hf.data.collator import picture_source, undecoded
from rsctir_hf.data.left_out import CAPTION, MOST, PICTURE
from rsctir_hf.embedding.encode import evaluating, unit_vectors
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.roles import DualEncoder, Progress
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.files.sentences import normalise_caption

LEAST_PICTURES = 20  # fewer say too little of what is usual
_AT_ONCE = 16  # pictures
_INSTEAD = 2  # sentences of like pictures that are shown


@dataclass(frozen=True)
class Suspect:
    """A pair that looks wrong.

    Attributes:
        row: of the picture in the table.
        picture: its name.
        caption: as it is written.
        chance: estimate that it is wrong, 0 to 1.
        score: how well it fits, in deviations of mismatched pairs; the worst is the least.
        instead: what is said of the most alike pictures.
    """

    row: int
    picture: str
    caption: str
    chance: float
    score: float
    instead: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """What an audit found.

    Attributes:
        model: folder or Hub id.
        data: likewise.
        pictures: how many were looked at.
        pairs: how many of picture and caption.
        suspects: the worst first.
    """

    model: str
    data: str
    pictures: int
    pairs: int
    suspects: Sequence[Suspect]

    @property
    def most(self) -> bool:
        """Whether more pairs look wrong than a training leaves out unasked."""
        return len(self.suspects) > MOST * self.pairs

    def csv(self) -> bytes:
        """Return the list as ``data.left_out.read_pairs`` takes it, and spreadsheets."""
        rows: list[dict[str, Any]] = [
            {
                PICTURE: each.picture,
                CAPTION: each.caption,
                "chance": round(each.chance, 3),
                "score": round(each.score, 3),
                "like_pictures_say": " | ".join(each.instead),
            }
            for each in self.suspects
        ]
        text = csv_text(rows) if rows else f"{PICTURE},{CAPTION}\r\n"
        return text.encode("utf-8-sig")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        return asdict(self)


def audit(
    encoder: Encoder,
    table: datasets.Dataset,
    *,
    data: str,
    progress: Progress | None = None,
) -> Findings:
    """Look for pairs of a table that look wrong.

    Args:
        encoder: any dual encoder that knows such pictures; it may have learned from these pairs.
        table: with ``image``, ``captions`` and ``file_name``.
        data: what it is called.
        progress: called with how many pictures are done, and how many there are.

    Raises:
        DataLayoutError: too few pictures.
        ImageReadError: a picture cannot be read.
    """
    if len(table) < LEAST_PICTURES:
        raise DataLayoutError(
            f"{data} has {len(table)} captioned pictures. An audit holds each pair against the "
            f"others, and expects at least {LEAST_PICTURES}. Look at so few yourself."
        )
    flat = [text for each in table["captions"] for text in each]
    pairs = embed_pairs(encoder, table, progress=progress)
    found = suspect(pairs)
    names = table["file_name"][:]
    suspects = [
        Suspect(
            row := int(pairs.owners[pair]),
            names[row],
            flat[pair],
            round(float(found.chance[pair]), 4),
            round(float(found.scores[pair]), 4),
            said_instead(row, found, pairs.owners, flat),
        )
        for pair in found.scores.argsort(stable=True).tolist()
        if found.looks_wrong[pair]
    ]
    return Findings(encoder.id, data, len(table), len(pairs.owners), suspects)


def embed_pairs(encoder: Encoder, table: datasets.Dataset, *, progress: Progress | None) -> Pairs:
    """Embed the pictures of a table, and each distinct sentence once."""
    images, features = look(encoder, table, progress=progress)
    captions = table["captions"][:]
    texts: dict[str, str] = {}  # key of the sentence -> its first spelling
    for text in chain.from_iterable(captions):
        texts.setdefault(normalise_caption(text), text)
    numbers = {key: number for number, key in enumerate(texts)}
    return Pairs(
        images,
        features,
        encoder.texts(list(texts.values())),
        torch.tensor([row for row, each in enumerate(captions) for _ in each]),
        torch.tensor([numbers[normalise_caption(text)] for each in captions for text in each]),
    )


def look(
    encoder: Encoder, table: datasets.Dataset, *, progress: Progress | None
) -> tuple[Tensor, Tensor]:
    """Embed the pictures of a table.

    Returns:
        Unit vectors (B, D), and the mean (B, F) of the tower's last states, or the vectors again of
        a model that does not give any.
    """
    vectors, features, model = list[Tensor](), list[Tensor](), cast(DualEncoder, encoder.model)
    pictures = (read_image(picture_source(row["image"])) for row in undecoded(table))
    while batch := list(islice(pictures, _AT_ONCE)):
        with evaluating(encoder.model):
            output = model.get_image_features(**encoder.inputs(batch))
        vectors.append(unit_vectors(output))
        states = getattr(output, "last_hidden_state", None)
        features.append(vectors[-1] if states is None else _mean_state(states))
        if progress is not None:
            progress(sum(map(len, vectors)), len(table))
    return torch.cat(vectors), torch.cat(features)


def _mean_state(states: Tensor) -> Tensor:
    """Average tokens (B, T, F), or a map (B, F, h, w)."""
    tokens = states.flatten(2).transpose(1, 2) if states.ndim == 4 else states
    return tokens.float().mean(dim=1).cpu()


def said_instead(
    row: int, found: Suspicion, owners: Tensor, captions: Sequence[str]
) -> tuple[str, ...]:
    """Return what is said of the pictures most like one, without what looks wrong there too."""
    said: dict[str, str] = {}
    for picture in found.neighbours[row].tolist():
        for pair in _pairs_of(owners, picture):
            if not found.looks_wrong[pair]:
                said.setdefault(normalise_caption(captions[pair]), captions[pair])
        if len(said) >= _INSTEAD:
            break
    return tuple(said.values())[:_INSTEAD]


def _pairs_of(owners: Tensor, picture: int) -> range:
    """Return the numbers of a picture's pairs; ``owners`` never falls."""
    first, behind = torch.searchsorted(owners, torch.tensor([picture, picture + 1])).tolist()
    return range(first, behind)
