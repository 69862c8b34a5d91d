"""From pictures to a folder of embeddings: resumable, incremental, over several processes.

A picture whose stamp has not changed is not even opened; one whose content is known, under
whatever name, is read and not embedded. The rest is decoded in threads while the model runs.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image
from torch import nn

from rsctir_hf.embedding.encode import (
    EmbeddedImages,
    ImageSource,
    Progress,
    default_batch_size,
    detector_record,
    embed_image_batches,
    embed_prepared,
    regions_name,
)
from rsctir_hf.embedding.encoder import LoadedModel
from rsctir_hf.embedding.prepare import Preparation, PreparedImages, Skipped
from rsctir_hf.embedding.processes import Rank, joined_processes
from rsctir_hf.embedding.read_ahead import read_ahead
from rsctir_hf.embedding.records import PictureRecord, source_records
from rsctir_hf.embedding.shards import SHARD_ROWS, Precision, rows_of
from rsctir_hf.embedding.store import EmbeddingStore, Known, Maker, iterate_embeddings
from rsctir_hf.errors import ImageReadError, QueryError, StorageError
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.regions.proposer import MODEL_REGIONS, RegionProposer

_HASH_BYTES = 16
#: Settings of an image processor that say where its code lies, which differs between copies.
_NOT_PIXELS = frozenset(("auto_map", "processor_class"))


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
        size: how many there were.
        loaded: those that could be loaded.
        fresh: places in ``loaded`` of those with unknown content.
        prepared: model inputs of the fresh ones.
        skipped: those that could not be loaded.
    """

    size: int
    loaded: list[_Loaded]
    fresh: list[int]
    prepared: PreparedImages
    skipped: list[Skipped]


def made_by(
    loaded: LoadedModel,
    *,
    regions: str | RegionProposer = MODEL_REGIONS,
    symmetries: int = 1,
    dtype: Precision = "float32",
) -> Maker:
    """Describe what embeddings of a model depend on.

    Raises:
        RegionsError, UnsupportedError: see ``prepare.regions_name``.
    """
    settings = loaded.processor.image_processor.to_dict()
    kept = {name: value for name, value in settings.items() if name not in _NOT_PIXELS}
    described = json.dumps(kept, sort_keys=True, default=str)
    return Maker(
        model_id=loaded.model_id,
        model_revision=loaded.revision,
        fingerprint=weights_fingerprint(loaded.model),
        regions=regions_name(loaded.model, regions),
        detector=detector_record(loaded.model, regions),
        preprocessing=_digest(described.encode())[:_HASH_BYTES],
        symmetries=symmetries,
        dtype=dtype,
    )


def embed_pictures(
    loaded: LoadedModel,
    pictures: Sequence[PictureRecord],
    folder: str | Path,
    *,
    root: str = "",
    regions: str | RegionProposer = MODEL_REGIONS,
    symmetries: int = 1,
    batch_size: int | None = None,
    workers: int | None = None,
    dtype: Precision = "float32",
    shard_rows: int = SHARD_ROWS,
    progress: Progress | None = None,
) -> EmbeddingReport:
    """Embed pictures into a folder, which afterwards holds exactly those that could be read.

    Started by ``accelerate launch`` or ``torchrun``, each process embeds its share. What is written
    stays whatever happens, and the next run goes on from there. No more than a shard's vectors are
    held in memory.

    Args:
        loaded: a dual encoder with its processor (``encoder.load_dual_encoder``).
        pictures: all pictures, in the same order in every process.
        folder: made if missing, on a disk that all processes share;
            ``dataset_rows.load_embeddings`` opens it.
        root: folder that the ids are paths in, or data set that they are rows of.
        regions: see ``encode.embed_images``.
        symmetries: see ``encode.embed_images``.
        batch_size: see ``encode.embed_images``.
        workers: see ``encode.embed_images``.
        dtype: of the stored numbers.
        shard_rows: rows of a full shard.
        progress: called with (done, total) of what this process must look at.

    Raises:
        QueryError: two pictures have one id.
        IndexMismatchError: the folder holds embeddings of another model or other options.
        FolderBusyError: another run is writing there.
        StorageError: no space or no permission; what is finished is kept.
        RegionsError, UnsupportedError: see ``encode.embed_images``.
    """
    ids = {picture.id for picture in pictures}
    if len(ids) != len(pictures):
        raise QueryError(
            f"{len(pictures)} pictures have {len(ids)} different ids. Give each its own id."
        )
    maker = made_by(loaded, regions=regions, symmetries=symmetries, dtype=dtype)
    run = _Run(
        model=loaded.model,
        preparation=Preparation(
            loaded.model, loaded.processor, regions=regions, symmetries=symmetries
        ),
        store=EmbeddingStore(Path(folder), maker, root=root, shard_rows=shard_rows),
        batch_size=batch_size or default_batch_size(loaded.model),
        workers=workers,
        progress=progress,
    )
    with joined_processes() as rank:
        if rank.number:
            return run.help(pictures, rank)
        with run.store.locked():
            return run.lead(pictures, ids, rank)


def image_batches(
    loaded: LoadedModel,
    sources: Sequence[ImageSource],
    folder: str | Path | None,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    regions: str | RegionProposer = MODEL_REGIONS,
) -> Iterator[EmbeddedImages]:
    """Yield pictures as vectors, batch by batch, or shard by shard of a folder that keeps them.

    The arguments are those of ``embed_pictures``.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "progress": progress, "regions": regions}
    if folder is None:
        yield from embed_image_batches(loaded.model, loaded.processor, sources, **options)
        return
    records, root = source_records(sources)
    report = embed_pictures(loaded, records, folder, root=root, **options)
    place_of = {record.id: place for place, record in enumerate(records)}
    yield EmbeddedImages(torch.zeros(0, 0), (), report.skipped)
    for rows, vectors in iterate_embeddings(folder):
        yield EmbeddedImages(vectors, tuple(place_of[each] for each in rows["id"].to_pylist()), ())


@dataclass
class _Run:
    """One process's part of a run."""

    model: nn.Module
    preparation: Preparation
    store: EmbeddingStore
    batch_size: int
    workers: int | None
    progress: Progress | None

    def lead(self, pictures: Sequence[PictureRecord], ids: set[str], rank: Rank) -> EmbeddingReport:
        """Embed this process's share, wait for the others, and put the shards together."""
        found = self.help(pictures, rank)
        missing = {each.path for each in found.skipped}
        record = self.store.finish(ids - missing)
        if record.rows != len(ids - missing):
            raise StorageError(
                f"{self.store.folder} holds {record.rows} of {len(ids - missing)} pictures: the "
                "pictures changed, or a shard was damaged, while the run went on. Run it again."
            )
        return EmbeddingReport(record.rows, found.embedded, found.reused, found.skipped)

    def help(self, pictures: Sequence[PictureRecord], rank: Rank) -> EmbeddingReport:
        """Embed this process's share; return what all processes did."""
        rank.gather(None)  # the folder is there, and nobody has written to it
        embedded, reused, skipped = self.embed(rank.share(pictures), rank.number)
        parts = rank.gather((embedded, reused, tuple(skipped)))
        return EmbeddingReport(
            rows=0,
            embedded=sum(part[0] for part in parts),
            reused=sum(part[1] for part in parts),
            skipped=tuple(each for part in parts for each in part[2]),
        )

    def embed(self, pictures: Sequence[PictureRecord], rank: int) -> tuple[int, int, list[Skipped]]:
        """Embed what is not there; return how many were embedded, and reused, and the skipped."""
        writer, known = self.store.writer(rank), self.store.known()
        changed = _changed(pictures, known)
        embedded, done, skipped = 0, 0, list[Skipped]()
        for batch in read_ahead(
            partial(_load, known=known, preparation=self.preparation),
            [changed[at : at + self.batch_size] for at in range(0, len(changed), self.batch_size)],
            workers=self.preparation.workers(self.workers),
        ):
            if rows := self.new_rows(batch, known):
                writer.add(rows)
            embedded += len(batch.prepared.kept)
            skipped += [*batch.skipped, *batch.prepared.skipped]
            done += batch.size
            if self.progress is not None:
                self.progress(done, len(changed))
        return embedded, len(pictures) - embedded - len(skipped), skipped

    def new_rows(self, batch: _Batch, known: Known) -> pa.Table | None:
        """Run the model on a batch's fresh pictures; return the rows that are not stored yet."""
        computed = embed_prepared(self.model, batch.prepared)
        vectors = dict(
            zip((batch.fresh[place] for place in batch.prepared.kept), computed, strict=True)
        )
        fresh = set(batch.fresh)
        for place, each in enumerate(batch.loaded):
            if place not in fresh and known.latest.get(each.picture.id) != (
                each.stamp,
                each.content_hash,
            ):
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
            dtype=self.store.maker.dtype,
        )


def _changed(pictures: Sequence[PictureRecord], known: Known) -> list[tuple[PictureRecord, str]]:
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
    pictures: Sequence[tuple[PictureRecord, str]], *, known: Known, preparation: Preparation
) -> _Batch:
    """Read a batch of pictures; make those with unknown content model inputs."""
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
    prepared = preparation(
        [contents[place] for place in fresh], [loaded[place].picture.id for place in fresh]
    )
    return _Batch(len(pictures), loaded, fresh, prepared, skipped)


def _content_hash(content: bytes | Image.Image) -> str:
    if isinstance(content, bytes):
        return _digest(content)
    return _digest(f"{content.mode} {content.size} ".encode() + content.tobytes())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()
