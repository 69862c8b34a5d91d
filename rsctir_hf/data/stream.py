"""Training pictures that are read from the Hub as they are needed, without a download beforehand.

The captions of a split, a few bytes a picture, are read first, all of them: Parquet files keep
columns apart. So vocabulary, number of rows and length of an epoch are known as for any data set.
Pictures come in the order of a shuffle buffer, drawn anew each epoch.

What a stream cannot do: put pictures that share captions into different batches (``sampler``;
their cells are masked instead), keep decoded pictures in memory, and compare its pictures with
held-out ones before training. One whose file equals a held-out file is left out as it comes.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch.utils.data import IterableDataset, get_worker_info

from rsctir_hf.data.collator import RowDrawer, TrainingRow, picture_bytes, picture_source, undecoded
from rsctir_hf.data.tables import (
    HUB_ERRORS,
    hub_request,
    known_columns,
    row_captions,
    unreachable,
)
from rsctir_hf.errors import ImageReadError
from rsctir_hf.files.metadata import USUAL, Columns
from rsctir_hf.files.pictures import read_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamedTable:
    """A split whose captions are known and whose pictures come as they are needed.

    Attributes:
        rows: ``image`` (undecoded), ``captions``, ``file_name``, in the order of the files. A
            picture that stands in several rows counts as several.
        captions: of every row that has some, in that order, for the vocabulary.
        buffer_size: rows among which the next one is drawn.
        held_out: SHA-256 of picture files that are left out.
    """

    rows: datasets.IterableDataset
    captions: list[list[str]]
    buffer_size: int
    held_out: frozenset[bytes] = frozenset()

    def __len__(self) -> int:
        """Rows with captions, those that will be left out included."""
        return len(self.captions)


def stream_from_hub(
    source: str, split: str, *, buffer_size: int, limit: int = 0, columns: Columns = USUAL
) -> StreamedTable:
    """Open one split of a Hub data set for streaming; only its captions are read now.

    Args:
        source: OWNER/NAME or OWNER/NAME@REVISION on the Hub; its files must be Parquet, as
            ``rsctir convert --push`` writes them.
        split: ``train``, ``validation`` or ``test``.
        buffer_size: rows among which the next one is drawn.
        limit: use the first so many rows (0: all).
        columns: which hold pictures and captions; of several with captions the first is read.

    Raises:
        DataLayoutError: the data set cannot be reached, has no such split, is not Parquet or lacks
            a column.
    """
    address, asked = hub_request(source, split)
    try:
        rows = datasets.load_dataset(address, streaming=True, **asked)
        known = known_columns(
            rows.features or {},
            source=source,
            named=True,
            remedy="Its files must be Parquet. Convert and push it with: rsctir convert --push "
            "OWNER/NAME.",
            columns=columns,
        )
        captions, name = known.captions[0], known.names
        words = datasets.load_dataset(address, streaming=True, columns=[captions], **asked)
        sentences = [
            row_captions(row[captions], row=number, source=source)
            for number, row in enumerate(words.take(limit) if limit else words)
        ]
    except HUB_ERRORS as error:
        raise unreachable(source, error) from error
    ours = {known.image: "image", captions: "captions", name: "file_name"}
    rows = rows.select_columns(list(ours))
    rows = rows.rename_columns({old: new for old, new in ours.items() if old != new})
    rows = rows.cast_column("image", datasets.Image(decode=False))
    kept = [list(texts) for texts in sentences if texts]
    return StreamedTable(rows.take(limit) if limit else rows, kept, buffer_size)


def file_digest(cell: Any) -> bytes:  # noqa: ANN401 - a cell of an undecoded image column
    """Return the SHA-256 of the picture file in a row."""
    return hashlib.sha256(picture_bytes(cell)).digest()


def file_digests(*tables: datasets.Dataset) -> set[bytes]:
    """Return the SHA-256 of every picture file of some tables."""
    return {file_digest(cell) for table in tables for cell in undecoded(table)["image"]}


class StreamView(IterableDataset[TrainingRow]):
    """The training rows of one epoch of a stream; ``set_epoch`` chooses which.

    What is random about a row depends on the seed, the epoch and its place in the stream, so a run
    resumed from a checkpoint sees the same rows. Worker processes share the files out among
    themselves; a data set of few files feeds few workers.

    Args:
        table: where the rows come from.
        draw: what is done to a row.
    """

    def __init__(self, table: StreamedTable, draw: RowDrawer) -> None:
        self.table = table
        self.draw = draw
        self._rows = table.rows.shuffle(seed=draw.seed, buffer_size=table.buffer_size)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers see it change

    def __len__(self) -> int:
        return len(self.table)

    def set_epoch(self, epoch: int) -> None:
        """Choose epoch ``epoch`` (from 0); the Trainer calls this."""
        self._epoch.fill_(epoch)
        self._rows.set_epoch(epoch)

    def __iter__(self) -> Iterator[TrainingRow]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch = int(self._epoch)
        for place, content in enumerate(self._usable()):
            row = first + step * place
            try:
                picture = read_image(picture_source(content["image"]))
            except ImageReadError as error:
                raise ImageReadError(f"{content['file_name']} of the stream: {error}") from error
            yield self.draw(picture, content["captions"], epoch=epoch, row=row)

    def _usable(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows that have a caption and are not held out."""
        for number, content in enumerate(self._rows):
            captions = list(row_captions(content["captions"], row=number, source="the stream"))
            if not captions:
                continue
            if self.table.held_out and file_digest(content["image"]) in self.table.held_out:
                logger.warning("%s is held out too, and left out here", content["file_name"])
                continue
            yield {**content, "captions": captions}
