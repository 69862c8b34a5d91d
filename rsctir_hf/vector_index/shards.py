"""Shards: Parquet files of vectors in a folder ``shards``, each written whole or not at all.

A row holds ``id``, ``content_hash``, ``stamp``, ``embedding`` and what else the source says. An
index lies over the shards of what was embedded, so that each vector is kept once. While a run goes
on every batch is a file of its own, so that a killed process loses nothing but the
batches at work; once there are enough of them they are written again as one.
"""

import logging
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.files.atomic import parse_json, write_atomically

logger = logging.getLogger(__name__)

Precision = Literal["float32", "float16"]

SHARDS_FOLDER = "shards"
EMBEDDINGS_FILE = "embeddings.json"  # the record of what was embedded there
SHARD_ROWS = 4096  # 8 MB of 512 numbers each
SUFFIX = ".parquet"
#: What ``ShardWriter`` calls a shard; any other name could lead out of the folder.
SHARD_NAME = re.compile(rf"[0-9]{{8}}-[0-9]{{5}}-[0-9a-f]{{8}}\{SUFFIX}")


def rows_of(
    ids: Sequence[str],
    hashes: Sequence[str],
    stamps: Sequence[str],
    *,
    vectors: Tensor,
    metadata: Sequence[Mapping[str, Any]],
    dtype: Precision,
) -> pa.Table:
    """Build n rows.

    Args:
        ids: of n pictures.
        hashes: of their contents.
        stamps: of their sources.
        vectors: (n, D).
        metadata: n mappings with the same names, which become columns.
        dtype: ``float32``, or ``float16``, which halves the size.
    """
    numbers = vectors.numpy().astype(np.dtype(dtype)).reshape(-1)
    columns = {
        "id": pa.array(ids, pa.string()),
        "content_hash": pa.array(hashes, pa.string()),
        "stamp": pa.array(stamps, pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(numbers), vectors.shape[1]),
    }
    said = {name: pa.array([each[name] for each in metadata]) for name in metadata[0]}
    return pa.table(columns | said)


def vectors_of(rows: pa.Table) -> Tensor:
    """Return the embeddings of n rows as (n, D) float32."""
    column = rows.column("embedding").combine_chunks()
    length = column.type.list_size
    numbers = column.flatten().to_numpy().astype(np.float32)
    return torch.from_numpy(numbers.reshape(-1, length))  # (n, D)


def unit_vectors_of(rows: pa.Table) -> Tensor:
    """Return the embeddings of n rows as unit vectors (n, D) float32.

    float32 is to the last bit what the model gave; half precision has lost the unit length.
    """
    exact = rows.schema.field("embedding").type.value_type == pa.float32()
    return vectors_of(rows) if exact else normalize(vectors_of(rows), dim=-1)


def read_vectors(folder: Path, names: Sequence[str]) -> Iterator[Tensor]:
    """Yield the unit vectors (n, D) of each named shard of a folder, in order.

    Raises:
        IndexMismatchError: one is missing or damaged.
    """
    for name in names:
        path = folder / SHARDS_FOLDER / name
        rows = read_shard(path, ("embedding",))
        try:
            yield unit_vectors_of(rows)
        except (AttributeError, TypeError, ValueError, pa.ArrowException) as error:
            raise IndexMismatchError(
                f"{path} holds no vectors of one length ({error}). Build the index anew."
            ) from error


def named_shards(folder: Path) -> dict[str, list[str]]:
    """Return by record file, such as ``index.json``, the shards that a folder's records name."""
    named: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            named[file.name] = own_shards(parse_json(file.read_text(encoding="utf-8"))["shards"])
        except (OSError, ValueError, TypeError, KeyError):  # no record of shards, or a damaged one
            continue
    return named


def own_shards(names: Sequence[str]) -> list[str]:
    """Return the names of shards, unless one of them could lead elsewhere.

    Raises:
        ValueError: it is none that ``ShardWriter`` gives.
    """
    for name in names:
        if not SHARD_NAME.fullmatch(name):
            raise ValueError(f"it names a shard {name!r}")
    return list(names)


def write_vectors(folder: Path, vectors: Tensor) -> list[str]:
    """Keep rows of vectors (n, D) in the shards of a folder; return the names of those shards.

    Shards that a record of the folder names and that hold the first rows already stay as they are;
    only the other rows are written.

    Raises:
        StorageError: they cannot be written.
    """
    found = [_holding(folder, names, vectors) for names in named_shards(folder).values()]
    names, done = max(found, key=lambda kept: kept[1], default=([], 0))
    (folder / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder / SHARDS_FOLDER)
    for start in range(done, len(vectors), SHARD_ROWS):
        part = vectors[start : start + SHARD_ROWS]
        blank = [""] * len(part)
        ids = [f"row {start + row}" for row in range(len(part))]
        rows = rows_of(ids, blank, blank, vectors=part, metadata=[{}] * len(part), dtype="float32")
        names = [*names, writer.write(rows, durable=False).name]
    return names


def remove_unnamed_shards(folder: Path, former: Sequence[str] = ()) -> None:
    """Remove the shards that no record of a folder names.

    Where pictures are embedded (there is ``EMBEDDINGS_FILE``) those may be of a run that was
    cut short and stay for it to go on, unless an older index named them (``former``).
    """
    named = named_shards(folder)
    embedded = EMBEDDINGS_FILE in named
    kept = {name for names in named.values() for name in names}
    for path in (folder / SHARDS_FOLDER).glob(f"*{SUFFIX}"):
        if path.name not in kept and (path.name in former or not embedded):
            path.unlink(missing_ok=True)


def _holding(folder: Path, names: Sequence[str], vectors: Tensor) -> tuple[list[str], int]:
    """Return those of the shards that hold the first rows, in order, and how many rows."""
    kept, done = list[str](), 0
    try:
        for name, held in zip(names, read_vectors(folder, names), strict=False):
            if not torch.equal(held, vectors[done : done + len(held)]):
                break
            kept.append(name)
            done += len(held)
    except IndexMismatchError as error:
        logger.warning("%s", error)
    return kept, done


def read_shard(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a shard, or some of its columns.

    Raises:
        IndexMismatchError: it is missing or damaged.
    """
    try:
        # The plain reader of one file: it follows no links and no folders, and guesses nothing.
        with path.open("rb") as file:  # pyarrow cannot write every name that a file may have
            shard = pq.ParquetFile(file, page_checksum_verification=True)
            return shard.read(columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise IndexMismatchError(
            f"{path} is missing or damaged ({error}). Run rsctir embed again; it embeds anew what "
            "was in it."
        ) from error


def next_number(folder: Path) -> int:
    """Return the number of the next shard of a folder: names sort by age."""
    return max((int(path.name[:8]) for path in folder.glob(f"[0-9]*{SUFFIX}")), default=-1) + 1


def readable_shards(
    folder: Path, columns: Sequence[str] | None = None, *, first: int = 0
) -> Iterator[tuple[Path, pa.Table]]:
    """Yield name and all or some columns of every shard whose columns are sound, oldest first.

    Those with a number below ``first`` are left out.

    A damaged one is passed over with a warning: its pictures will be embedded anew.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            if path.name >= f"{first:08d}":
                yield path, read_shard(path, columns)
        except IndexMismatchError as error:
            logger.warning("%s", error)


class ShardWriter:
    """Writes rows batch by batch and joins them into shards.

    Args:
        folder: of the shards, which exists.
        rank: of this process, part of the names.
        shard_rows: rows of a full shard; that many are held in memory at most.
        first: least number of a shard.
    """

    def __init__(
        self, folder: Path, *, rank: int = 0, shard_rows: int = SHARD_ROWS, first: int = 0
    ) -> None:
        self._folder, self._rank, self._shard_rows = folder, rank, shard_rows
        self._next = max(first, next_number(folder))
        self._rows: list[pa.Table] = []
        self._batches: list[Path] = []

    def add(self, rows: pa.Table) -> None:
        """Write a batch of rows; from then on the end of this process does them no harm.

        Raises:
            StorageError: it cannot be written; what was written before stays.
        """
        # A disk that is waited for after every batch costs more than the batches that a machine
        # loses when it stops; one that it has half written is passed over by the next run.
        self._batches.append(self.write(rows, durable=False))
        self._rows.append(rows)
        if sum(map(len, self._rows)) >= self._shard_rows:
            self.write(pa.concat_tables(self._rows, promote_options="default"))
            for path in self._batches:
                path.unlink(missing_ok=True)
            self._rows, self._batches = [], []

    def write(self, rows: pa.Table, *, durable: bool = True) -> Path:
        """Write rows as one file (see ``write_atomically``) and return its path.

        Raises:
            StorageError: it cannot be written.
        """
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, write_page_checksum=True)
        name = f"{self._next:08d}-{self._rank:05d}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        write_atomically(self._folder / name, sink.getvalue(), durable=durable)
        self._next += 1
        return self._folder / name
