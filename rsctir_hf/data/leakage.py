"""Finding pictures that stand twice in the data, before they can flatter a result.

Two pictures are the same when their files are equal byte for byte, or when their pixels are:

1. *Candidates*: the 64-bit perceptual hashes (signs of the lowest 8 x 8 cosine coefficients of a
   32 x 32 grey thumbnail, against their median) differ in at most ``MAX_DISTANCE`` bits.
2. *Confirmed on pixels*: the thumbnails correlate by at least ``MIN_CORRELATION``, and differ by
   at most ``MAX_DIFFERENCE`` grey levels on average over the three colours.

All 8 symmetries of the square are tried, because training turns pictures by them. Re-encoded,
resized or slightly recoloured copies are found; crops and other dates of one place are not. Flat
pictures (nearly one colour) have no pixels to compare and are matched by file only.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from rsctir_hf.data.collator import picture_bytes, undecoded
from rsctir_hf.data.tables import BAR_DELAY
from rsctir_hf.errors import ImageReadError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.files.sentences import normalise_caption

logger = logging.getLogger(__name__)

#: Bits of 64 in which the hashes of two copies may differ.
MAX_DISTANCE = 6
#: Least correlation of the grey thumbnails of two copies.
MIN_CORRELATION = 0.98
#: Greatest mean difference of the colour thumbnails of two copies, of 255.
MAX_DIFFERENCE = 8.0
#: Pixels a side of a thumbnail.
SIDE = 32
_HASH_SIDE = 8
# Below this standard deviation of grey values (of 255) a thumbnail is flat.
_FLAT = 1.0
# Rows of the pair matrix that are compared at once: 512 x 10,000 x 8 bytes are 40 MB.
_CHUNK = 512
#: How many pairs of each kind the summary lists.
_PAIRS_SHOWN = 10


@dataclass(frozen=True)
class PictureReference:
    """Where a picture stands.

    Attributes:
        dataset: the key under which its data set was handed in, for example ``train``.
        row: row number there.
        file_name: its name there.
    """

    dataset: str
    row: int
    file_name: str


@dataclass(frozen=True)
class RepeatedPicture:
    """Two rows that hold the same picture.

    Attributes:
        left: the earlier row.
        right: the later row.
        kind: ``file`` (equal bytes) or ``pixels``.
    """

    left: PictureReference
    right: PictureReference
    kind: str

    def __str__(self) -> str:
        return (
            f"{self.left.dataset}/{self.left.file_name} = "
            f"{self.right.dataset}/{self.right.file_name} (same {self.kind})"
        )


@dataclass(frozen=True)
class SharedCaptions:
    """How many captions of one data set occur, as sentences, in another.

    Attributes:
        dataset: whose captions are counted.
        other: where they are looked for.
        repeated: captions of ``dataset`` found there.
        captions: captions of ``dataset`` in all.
    """

    dataset: str
    other: str
    repeated: int
    captions: int


@dataclass(frozen=True)
class LeakageReport:
    """What stands twice.

    Attributes:
        pictures: pictures looked at, per data set.
        pairs: pictures that are the same, within and across data sets.
        captions: distinct sentences per data set.
        shared_captions: for each ordered pair of data sets.
    """

    pictures: Mapping[str, int]
    pairs: tuple[RepeatedPicture, ...]
    captions: Mapping[str, int]
    shared_captions: tuple[SharedCaptions, ...]

    @property
    def crossing(self) -> tuple[RepeatedPicture, ...]:
        """The pairs whose two rows stand in different data sets."""
        return tuple(pair for pair in self.pairs if pair.left.dataset != pair.right.dataset)

    @property
    def within(self) -> tuple[RepeatedPicture, ...]:
        """The pairs whose two rows stand in one data set."""
        return tuple(pair for pair in self.pairs if pair.left.dataset == pair.right.dataset)

    def lines(self) -> list[str]:
        """Say in words what was found, one finding a line; captions only where some are shared."""
        looked_at = ", ".join(f"{name} {count:,}" for name, count in self.pictures.items())
        text = [f"Leakage check over {sum(self.pictures.values()):,} pictures ({looked_at})."]
        for pairs, where in (
            (self.crossing, "in two data sets"),
            (self.within, "twice in one data set"),
        ):
            text.append(f"Pictures that stand {where}: {len(pairs):,} pairs.")
            text += [f"  {pair}" for pair in pairs[:_PAIRS_SHOWN]]
            if len(pairs) > _PAIRS_SHOWN:
                text.append(f"  and {len(pairs) - _PAIRS_SHOWN:,} more")
        text += [
            f"Captions of {shared.dataset} that occur word for word in {shared.other}: "
            f"{shared.repeated:,} of {shared.captions:,}."
            for shared in self.shared_captions
            if shared.repeated
        ]
        return text


def check_leakage(tables: Mapping[str, datasets.Dataset]) -> LeakageReport:
    """Look for pictures that stand twice, within and across data sets, and for shared captions.

    Args:
        tables: data sets or splits by name, for example ``{"train": ..., "test": ...}``.

    Returns:
        The pairs and counts.

    Raises:
        ImageReadError: a picture is broken; the first such one is named.
    """
    references: list[PictureReference] = []
    digests: list[bytes] = []
    thumbnails = np.zeros((sum(map(len, tables.values())), SIDE, SIDE, 3), dtype=np.uint8)
    bar = tqdm(
        total=len(thumbnails), desc="Leakage check", unit="image", delay=BAR_DELAY, disable=None
    )
    with bar:
        for name, row, content in _rows(tables):
            reference = PictureReference(name, row, str(content.get("file_name", row)))
            try:
                file = picture_bytes(content["image"])
                digests.append(hashlib.sha256(file).digest())
                picture = read_image(file, name=reference.file_name)
            except ImageReadError as error:
                raise ImageReadError(f"{name}/{reference.file_name}: {error}") from error
            small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
            thumbnails[len(references)] = np.asarray(small)  # (32, 32, 3)
            references.append(reference)
            bar.update()
    found = dict.fromkeys(equal_pixels(thumbnails), "pixels")
    found |= dict.fromkeys(equal_files(digests), "file")
    pairs = tuple(
        RepeatedPicture(references[left], references[right], kind)
        for (left, right), kind in sorted(found.items())
    )
    counts = {name: len(table) for name, table in tables.items()}
    return LeakageReport(counts, pairs, *_count_captions(tables))


def perceptual_hash(grey: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Hash grey thumbnails (n, 32, 32) to (n,) 64-bit numbers that resizing hardly changes."""
    k, x = np.arange(_HASH_SIDE)[:, None], np.arange(SIDE)[None, :]
    cosines = np.cos(np.pi * k * (2 * x + 1) / (2 * SIDE)).astype(np.float32)  # (8, 32)
    coefficients = (cosines @ grey @ cosines.T).reshape(len(grey), _HASH_SIDE**2)  # (n, 64)
    coefficients[:, 0] = 0.0  # the mean says nothing about the picture
    bits = coefficients > np.median(coefficients, axis=1, keepdims=True)
    packed = np.packbits(bits, axis=1)  # (n, 8)
    return np.ascontiguousarray(packed).view(np.uint64)[:, 0]


def _rows(tables: Mapping[str, datasets.Dataset]) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    for name, table in tables.items():
        # Fetching the captions row by row as well would take a good part of the whole check.
        looked_at = [column for column in ("image", "file_name") if column in table.column_names]
        for row, content in enumerate(undecoded(table.select_columns(looked_at))):
            yield name, row, content


def equal_files(digests: list[bytes]) -> Iterator[tuple[int, int]]:
    """Yield the pairs (left, right), left < right, of equal bytes."""
    groups: dict[bytes, list[int]] = {}
    for number, digest in enumerate(digests):
        groups.setdefault(digest, []).append(number)
    for group in groups.values():
        yield from combinations(group, 2)


def equal_pixels(thumbnails: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Yield the pairs (left, right), left < right, that are confirmed on their pixels."""
    grey = thumbnails.mean(axis=3, dtype=np.float32)  # (n, 32, 32)
    deviation = grey.std(axis=(1, 2))  # (n,)
    rows = np.flatnonzero(deviation >= _FLAT)
    hashes = perceptual_hash(grey[rows])
    for turned, turned_grey in zip(_symmetries(thumbnails), _symmetries(grey), strict=True):
        turned_hashes = perceptual_hash(turned_grey[rows])
        for start in range(0, len(rows), _CHUNK):
            differing = np.bitwise_count(
                hashes[start : start + _CHUNK, None] ^ turned_hashes[None, start + 1 :]
            )
            for row, column in np.argwhere(np.triu(differing <= MAX_DISTANCE)):
                left, right = int(rows[start + row]), int(rows[start + 1 + column])
                first, second = (one - one.mean() for one in (grey[left], turned_grey[right]))
                covariance = (first * second).mean()
                correlation = float(covariance / (deviation[left] * deviation[right]))
                gap = np.abs(thumbnails[left].astype(np.int16) - turned[right])
                if correlation >= MIN_CORRELATION and gap.mean() <= MAX_DIFFERENCE:
                    yield left, right


def _symmetries(thumbnails: NDArray) -> Iterator[NDArray]:
    """Yield the 8 turned and mirrored views of (n, 32, 32) or (n, 32, 32, 3)."""
    for side in (thumbnails, thumbnails[:, :, ::-1]):
        for quarter_turns in range(4):
            yield np.rot90(side, quarter_turns, axes=(1, 2))


def _count_captions(
    tables: Mapping[str, datasets.Dataset],
) -> tuple[dict[str, int], tuple[SharedCaptions, ...]]:
    sentences = {
        name: [normalise_caption(text) for captions in table["captions"] for text in captions]
        for name, table in tables.items()
    }
    distinct = {name: set(texts) for name, texts in sentences.items()}
    shared = tuple(
        SharedCaptions(name, other, sum(text in distinct[other] for text in texts), len(texts))
        for name, texts in sentences.items()
        for other in tables
        if other != name
    )
    return {name: len(texts) for name, texts in distinct.items()}, shared
