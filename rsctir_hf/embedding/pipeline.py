"""From pictures to a folder of embeddings: resumable, incremental, over several processes.

A picture whose stamp has not changed is not even opened; one whose content is known, under
whatever name, is read and not embedded. The rest is read and embedded in threads.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

import pyarrow as pa
import torch
from PIL import Image

from rsctir_hf.embedding.encode import EmbeddedImages, PictureEmbedding, default_batch_size
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import Skipped
from rsctir_hf.embedding.processes import Process, joined_processes
from rsctir_hf.embedding.read_ahead import read_ahead
from rsctir_hf.embedding.records import PictureRecord, source_records
from rsctir_hf.embedding.roles import BatchOptions, PictureSource
from rsctir_hf.embedding.store import EmbeddingStore, StoredRows, iterate_embeddings
from rsctir_hf.errors import ImageReadError, QueryError, StorageError
from rsctir_hf.vector_index.shards import rows_of

_HASH_BYTES = 16


@dataclass(frozen=True)
class EmbeddingReport:
    """What a run did, in all its processes.

    Attributes:
        rows: pictures in the folder now.
        embedded: pictures that the model was run on.
        reused: pictures that were embedded already.
        skipped: pictures that could not be read or looked at.
    """

    rows: int
    embedded: int
    reused: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class _Loaded:
    """A picture on its way into a shard."""

    picture: PictureRecord
    stamp: str
    content_hash: str


@dataclass(frozen=True)
class _Batch:
    """Pictures after they were read.

    Attributes:
        loaded: those that could be loaded.
        fresh: places in ``loaded`` of those with unknown content.
        embedded: the fresh ones.
        skipped: those that could not be loaded.
    """

    loaded: list[_Loaded]
    fresh: list[int]
    embedded: EmbeddedImages
    skipped: list[Skipped]

    @property
    def ids(self) -> set[str]:
        """The pictures that have or get a vector."""
        left_out = {each.path for each in self.embedded.skipped}
        return {each.picture.id for each in self.loaded} - left_out


def embed_pictures(
    encoder: Encoder,
    pictures: Sequence[PictureRecord],
    store: EmbeddingStore,
    *,
    arrived: Callable[[pa.Table], None] | None = None,
    **options: Unpack[BatchOptions],
) -> EmbeddingReport:
    """Embed pictures into a folder, which afterwards holds exactly those that could be read.

    Started by ``accelerate launch`` or ``torchrun``, each process embeds its share. What is written
    stays whatever happens, and the next run goes on from there. No more than a shard's vectors are
    held in memory.

    Args:
        encoder: makes the vectors.
        pictures: all pictures, in the same order in every process.
        store: of ``encoder.provenance(...)``; its folder lies on a disk that all processes share
            and is opened by ``dataset_rows.load_embeddings``.
        arrived: called with the rows of this process's pictures as soon as they are stored: first
            with those that were stored before, then batch by batch.
        options: see ``BatchOptions``; progress is that of what this process must look at.

    Raises:
        QueryError: two pictures have one id.
        IndexMismatchError: the folder holds embeddings of another model or other options.
        FolderBusyError: another run is writing there.
        StorageError: no space or no permission; what is finished is kept.
        RegionsError: see ``Encoder.images``.
    """
    ids = {picture.id for picture in pictures}
    if len(ids) != len(pictures):
        raise QueryError(
            f"{len(pictures)} pictures have {len(ids)} different ids. Give each its own id."
        )
    run = _EmbeddingRun(encoder, store, options, arrived)
    with joined_processes() as process:
        if process.rank:
            return run.embed_share(pictures, process)
        with store.locked():
            found = run.embed_share(pictures, process)
            wanted = ids - {each.path for each in found.skipped}
            record = store.finish(wanted)
            if record.rows != len(wanted):
                raise StorageError(
                    f"{store.folder} holds {record.rows} of {len(wanted)} pictures: the pictures "
                    "changed, or a shard was damaged, while the run went on. Run it again."
                )
            return replace(found, rows=record.rows)


def stored_batches(
    encoder: Encoder,
    sources: Sequence[PictureSource],
    folder: str | Path | None,
    **options: Unpack[BatchOptions],
) -> Iterator[EmbeddedImages]:
    """Yield pictures as vectors, batch by batch, or shard by shard of a folder that keeps them.

    Raises:
        IndexMismatchError, FolderBusyError, StorageError: see ``embed_pictures``.
    """
    if folder is None:
        yield from encoder.image_batches(sources, **options)
        return
    records, root = source_records(sources)
    store = EmbeddingStore(Path(folder), encoder.made_by, root=root)
    report = embed_pictures(encoder, records, store, **options)
    place_of = {record.id: place for place, record in enumerate(records)}
    yield EmbeddedImages(torch.zeros(0, 0), (), report.skipped)
    for rows, vectors in iterate_embeddings(folder):
        yield EmbeddedImages(vectors, tuple(place_of[each] for each in rows["id"].to_pylist()), ())


@dataclass
class _EmbeddingRun:
    """One process's part of a run."""

    encoder: Encoder
    store: EmbeddingStore
    options: BatchOptions
    arrived: Callable[[pa.Table], None] | None

    def embed_share(self, pictures: Sequence[PictureRecord], process: Process) -> EmbeddingReport:
        """Embed this process's share; return what all processes did."""
        process.gather(None)  # the folder is there, and nobody has written to it
        parts = process.gather(self.embed(process.share(pictures), process.rank))
        return EmbeddingReport(
            rows=0,
            embedded=sum(part.embedded for part in parts),
            reused=sum(part.reused for part in parts),
            skipped=tuple(each for part in parts for each in part.skipped),
        )

    def embed(self, pictures: Sequence[PictureRecord], rank: int) -> EmbeddingReport:
        """Embed what is not there."""
        writer, known = self.store.writer(rank), self.store.known()
        changed = _changed(pictures, known)
        self._hand_on({each.id for each in pictures} - {each.id for each, _ in changed})
        size = self.options.get("batch_size") or default_batch_size(self.encoder.model)
        embed = self.encoder.embedding(self.store.made_by.symmetries)
        embedded, done, skipped, as_they_were = 0, 0, list[Skipped](), set[str]()
        for batch in read_ahead(
            partial(_load, known=known, embed=embed),
            [changed[at : at + size] for at in range(0, len(changed), size)],
            workers=embed.workers(self.options.get("workers")),
        ):
            if rows := self.new_rows(batch, known):
                writer.add(rows)
                if self.arrived:
                    self.arrived(rows)
            as_they_were |= batch.ids - set(rows["id"].to_pylist() if rows else ())
            embedded += len(batch.embedded.kept)
            skipped += [*batch.skipped, *batch.embedded.skipped]
            done += len(batch.loaded) + len(batch.skipped)
            if progress := self.options.get("progress"):
                progress(done, len(changed))
        self._hand_on(as_they_were)
        reused = len(pictures) - embedded - len(skipped)
        return EmbeddingReport(0, embedded, reused, tuple(skipped))

    def _hand_on(self, stored: set[str]) -> None:
        """Tell whoever waits for them of rows that are stored."""
        if self.arrived and stored:
            for rows in self.store.latest(stored):
                self.arrived(rows)

    def new_rows(self, batch: _Batch, known: StoredRows) -> pa.Table | None:
        """Return the rows of a batch that are not stored yet."""
        places = [batch.fresh[place] for place in batch.embedded.kept]
        vectors = dict(zip(places, batch.embedded.vectors, strict=True))
        fresh = set(batch.fresh)
        for place, each in enumerate(batch.loaded):
            found = each.stamp, each.content_hash
            if place not in fresh and known.latest.get(each.picture.id) != found:
                vectors[place] = self.store.vector_at(known.places[each.content_hash])
        if not vectors:
            return None
        new = [batch.loaded[place] for place in sorted(vectors)]
        return rows_of(
            [each.picture.id for each in new],
            [each.content_hash for each in new],
            [each.stamp for each in new],
            vectors=torch.stack([vectors[place] for place in sorted(vectors)]),
            metadata=[each.picture.metadata for each in new],
            dtype=self.store.made_by.dtype,
        )


def _changed(
    pictures: Sequence[PictureRecord], known: StoredRows
) -> list[tuple[PictureRecord, str]]:
    """Return the pictures that are not known to be stored as they are, with their stamps."""
    changed = []
    for picture in pictures:
        settled = picture.stamp()
        said = json.dumps([settled, dict(picture.metadata)], sort_keys=True, default=str)
        stamp = _digest(said.encode())
        if not settled or known.latest.get(picture.id, ("", ""))[0] != stamp:
            changed.append((picture, stamp))
    return changed


def _load(
    pictures: Sequence[tuple[PictureRecord, str]], *, known: StoredRows, embed: PictureEmbedding
) -> _Batch:
    """Read a batch of pictures; embed those with unknown content."""
    loaded, contents, skipped = list[_Loaded](), list[bytes | Image.Image](), list[Skipped]()
    for picture, stamp in pictures:
        try:
            content = picture.load()
        except ImageReadError as error:
            skipped.append(Skipped(path=picture.id, reason=str(error)))
            continue
        loaded.append(_Loaded(picture, stamp, _content_hash(content)))
        contents.append(content)
    fresh = [place for place, each in enumerate(loaded) if each.content_hash not in known.places]
    embedded = embed([(loaded[place].picture.id, contents[place]) for place in fresh])
    return _Batch(loaded, fresh, embedded, skipped)


def _content_hash(content: bytes | Image.Image) -> str:
    if isinstance(content, bytes):
        return _digest(content)
    return _digest(f"{content.mode} {content.size} ".encode() + content.tobytes())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()
