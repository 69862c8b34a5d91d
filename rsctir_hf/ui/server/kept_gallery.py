"""The vectors of the launched gallery: those that ship, those kept by an earlier launch, the rest.

A folder of pictures has a folder of embeddings in the cache, one for each model and way of looking
at pictures. What is new or changed is embedded; a cache that cannot be used costs time only.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from rsctir_hf.embedding.kept_vectors import shipped_pictures
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.provenance import Provenance
from rsctir_hf.embedding.records import file_picture
from rsctir_hf.embedding.roles import Progress
from rsctir_hf.embedding.store import EmbeddingStore, start_rebuild
from rsctir_hf.errors import DataLayoutError, FolderBusyError, IndexMismatchError, StorageError
from rsctir_hf.files.cache import cache_folder
from rsctir_hf.files.names import as_text, path_of
from rsctir_hf.search.annotations import notes_of_rows
from rsctir_hf.search.gallery import IndexReport, PictureNotes
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.vector_index.shards import unit_vectors_of

logger = logging.getLogger(__name__)

#: Folder of the cache with a folder of embeddings for each gallery.
GALLERIES = "gallery_vectors"
_STRIDE = 10  # neighbours in a gallery are often alike


def index_gallery(
    retriever: Retriever, gallery: Gallery, *, keep: bool, progress: Progress
) -> IndexReport:
    """Index the pictures of a gallery; each can be found as soon as its vector is there.

    Args:
        retriever: with nothing indexed.
        gallery: of picture files.
        keep: use the cache.
        progress: told how many are done of those that the model must look at.

    Raises:
        RegionsError: see ``Encoder.images``.
    """
    shipped = shipped_pictures(retriever.encoder, gallery.paths) if gallery.drawn else None
    if shipped is not None:
        retriever.add(shipped, gallery.paths, notes_of(gallery, gallery.paths))
        return IndexReport(len(shipped), ())
    paths, cache = spread(gallery.paths), cache_folder(GALLERIES) if keep else None
    if cache is None or gallery.folder is None:
        return _index_anew(retriever, gallery, paths, progress)
    kept = _KeptVectors(retriever, paths, gallery, cache)
    try:
        return kept.index(progress)
    except (StorageError, FolderBusyError, IndexMismatchError, DataLayoutError) as error:
        logger.warning("The vectors of this gallery are not kept: %s", error)
    rest = [path for path in paths if str(path) not in kept.arrived]
    made = _index_anew(retriever, gallery, rest, progress)
    return IndexReport(len(retriever), made.skipped)


def notes_of(gallery: Gallery, paths: Sequence[Path]) -> PictureNotes:
    """Return what a gallery says of pictures, to filter by; its captions are shown, not kept."""
    notes = notes_of_rows(gallery.records, paths, lenient=True)
    return replace(notes, captions=[None] * len(paths))


def _index_anew(
    retriever: Retriever, gallery: Gallery, paths: Sequence[Path], progress: Progress
) -> IndexReport:
    notes = notes_of(gallery, paths)
    return retriever.index(paths, metadata=notes.metadata, boxes=notes.boxes, progress=progress)


def spread(paths: Sequence[Path]) -> list[Path]:
    """Return the pictures in an order whose first ones already span the whole gallery."""
    return [path for start in range(_STRIDE) for path in paths[start::_STRIDE]]


class _KeptVectors:
    """A gallery on its way from the cache, and from the model into it.

    Args:
        retriever: that searches it.
        paths: of its pictures, in the order in which they are embedded.
        gallery: that they are of.
        cache: the folder of the cache for galleries.

    Attributes:
        arrived: the pictures that can be searched.
    """

    def __init__(
        self, retriever: Retriever, paths: Sequence[Path], gallery: Gallery, cache: Path
    ) -> None:
        folder = gallery.folder or Path(gallery.root)
        self._retriever, self._folder = retriever, folder
        self._notes = notes_of(gallery, paths)
        self._row = {str(path): row for row, path in enumerate(paths)}
        self._pictures = [file_picture(path, folder) for path in paths]
        self._made_by = retriever.encoder.made_by
        self._store = EmbeddingStore(
            cache / _name(folder, self._made_by), self._made_by, root=as_text(folder)
        )
        self.arrived: set[str] = set()

    def index(self, progress: Progress) -> IndexReport:
        """Index all; a damaged cache is made anew."""
        logger.info("The vectors of %s are kept in %s", self._folder, self._store.folder)
        try:
            return self._embed(progress)
        except (IndexMismatchError, DataLayoutError) as error:
            logger.warning("The kept vectors are made anew: %s", error)
        start_rebuild(self._store.folder, self._made_by)
        return self._embed(progress)

    def _embed(self, progress: Progress) -> IndexReport:
        encoder = self._retriever.encoder
        report = embed_pictures(
            encoder, self._pictures, self._store, arrived=self._take, progress=progress
        )
        return IndexReport(report.rows, report.skipped)

    def _take(self, rows: pa.Table) -> None:
        paths = [str(self._folder / path_of(each)) for each in rows["id"].to_pylist()]
        self._retriever.add(
            unit_vectors_of(rows), paths, self._notes.at([self._row[path] for path in paths])
        )
        self.arrived.update(paths)


def _name(folder: Path, made_by: Provenance) -> str:
    """Return the name of the folder in the cache, by all that its vectors depend on."""
    said = repr((str(folder), made_by.fingerprint, made_by.regions, made_by.detector))
    said += made_by.preprocessing
    return hashlib.blake2b(said.encode(errors="surrogateescape"), digest_size=12).hexdigest()
