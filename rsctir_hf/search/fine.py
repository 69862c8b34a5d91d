"""The fine stage of a search: the best pictures are compared again, patch by patch.

"FTF-style": stage one ranks by the cosine of whole pictures, stage two pools the stored patches of
the best ``FINE_TOP_K`` anew for each query (``reranking.text_gated``). Nothing of it is trained
apart from the model. The score mixes both stages as EERCF does; the weight, the temperature and how
many are compared are our choice, on validation (``benchmarks/second_stage.py``).
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import Skipped
from rsctir_hf.embedding.roles import Progress
from rsctir_hf.errors import ImageReadError, UnsupportedError
from rsctir_hf.reranking import reordered, text_gated
from rsctir_hf.search.gallery import IndexReport, PictureGallery
from rsctir_hf.vector_index.memory import MEMORY
from rsctir_hf.vector_index.patches import PART_ROWS, PatchStore

FINE_TOP_K = 100
FINE_WEIGHT = 0.1  # of the fine score beside the cosine
FINE_TEMPERATURE = 0.1


def fine_scores(scores: Tensor, texts: Tensor, patches: Tensor) -> Tensor:
    """Return the mixed scores (P,) of P pairs of a text and a picture.

    Args:
        scores: (P,) cosines of the pairs.
        texts: (P, D), or (1, D) of one text for all.
        patches: (P, T, D), or (T, D) of one picture for all.
    """
    fine, _ = text_gated(texts, patches, temperature=FINE_TEMPERATURE)
    return (1 - FINE_WEIGHT) * scores + FINE_WEIGHT * fine


def fine_rerank(scores: Tensor, texts: Tensor, patches: Tensor) -> Tensor:
    """Return the scores (G,) of one query after the fine stage.

    Args:
        scores: (G,) cosines with the candidates.
        texts: (1, D) the query, or (K, D) the best K candidates.
        patches: (K, T, D) of the best K candidates, or (T, D) of the query, likewise.
    """
    first = best_of(scores)
    return reordered(scores, first, fine_scores(scores[first], texts, patches))


def fine_order(scores: Tensor, mixed: Tensor) -> Tensor:
    """Return the scores (Q, G) after the fine stage of Q queries.

    Args:
        scores: (Q, G) cosines.
        mixed: (Q, G) what ``fine_scores`` gives; what counts is that of the best K of each query.
    """
    firsts = [best_of(row) for row in scores]
    return torch.stack(
        [
            reordered(row, first, fine[first])
            for row, first, fine in zip(scores, firsts, mixed, strict=True)
        ]
    )


def best_of(scores: Tensor) -> Tensor:
    """Return the candidates (K,) that the fine stage compares again, of scores (G,)."""
    return scores.topk(min(FINE_TOP_K, len(scores))).indices


class FineStage:
    """Second stage of a live search, and what fills its store.

    Args:
        encoder: of the pictures.
        gallery: that they are in. Where its index lies in a folder, so do the patches; else they
            are kept in memory until ``save``.
    """

    def __init__(self, encoder: Encoder, gallery: PictureGallery) -> None:
        self._encoder, self._gallery = encoder, gallery

    @cached_property
    def _store(self) -> PatchStore:
        place = self._gallery.index.place
        kept = not self._gallery.index.persistent and place != MEMORY and Path(place).is_dir()
        return PatchStore(self._encoder.fingerprint, Path(place) if kept else None)

    @property
    def pictures(self) -> int:
        """Of how many pictures the patches are kept.

        Raises:
            IndexMismatchError: what the folder holds is damaged.
        """
        return len(self._store)

    def add_patches(
        self, *, progress: Progress | None = None, batch_size: int | None = None
    ) -> IndexReport:
        """Embed the patches of all pictures of the gallery that have none yet, and keep them.

        Each of its pictures is read once more. What is written stays, so a run that was cut short
        goes on.

        Args:
            progress: called with (done, total).
            batch_size: see ``BatchOptions``.

        Returns:
            How many pictures got their patches, and which could not be read.

        Raises:
            UnsupportedError: a server keeps the index, or the model has no patches.
            QueryError: a picture was handed in from memory and is not stored.
            StorageError, FolderBusyError: they cannot be written.
        """
        index = self._gallery.index
        if index.persistent:
            raise UnsupportedError(
                f"The index in {index.place} is kept by a server, and patch tokens lie in the "
                "folder of an index. Index the pictures with --output FOLDER (engine exact or "
                "hnsw)."
            )
        with self._store.writing():
            vectors = index.vectors_of(index.ids())
            wanted = index.ids()[self._store.missing(vectors)]
            report = self._fill(wanted, progress=progress, batch_size=batch_size)
            self._store.drop_others(vectors)
        return report

    def save(self, folder: Path) -> None:
        """Keep the patches in the folder of an index, if any were added or asked for."""
        if "_store" in vars(self):
            self._store.move_to(folder)

    def rerank_pictures(self, scores: Tensor, query: Tensor, *, vectors: Tensor) -> Tensor:
        """Return the scores (G,) of pictures with these vectors (G, D) for a query (D,).

        Raises:
            IndexMismatchError: the patches of some are not in the store; says how to add them.
        """
        patches = self._store.patches_of(vectors[best_of(scores)])  # (K, T, D)
        return fine_rerank(scores, query[None], patches)

    def rerank_captions(self, scores: Tensor, picture: Image.Image, *, bank: Tensor) -> Tensor:
        """Return the scores (C,) of captions with these vectors (C, D) for a picture.

        Raises:
            UnsupportedError: the model has no patches.
        """
        (patches,) = (each.vectors[0] for each in self._encoder.patch_batches([picture]))
        return fine_rerank(scores, bank[best_of(scores)], patches)

    def _fill(
        self, wanted: Tensor, *, progress: Progress | None, batch_size: int | None
    ) -> IndexReport:
        """Embed and keep the patches of the pictures under these ids (n,)."""
        read, unread = list[int](), list[Skipped]()
        waiting, added = list[Tensor](), 0

        def keep() -> None:
            ids = read[added : added + sum(map(len, waiting))]
            self._store.add(self._gallery.index.vectors_of(ids), torch.cat(waiting))

        pictures = self._readable(wanted.tolist(), read, unread)
        for batch in self._encoder.patch_batches(pictures, batch_size=batch_size):
            waiting.append(batch.vectors)
            held = sum(map(len, waiting))
            if held >= PART_ROWS:
                keep()
                added, waiting = added + held, []
            if progress is not None:
                progress(added + sum(map(len, waiting)), len(wanted))
        if waiting:
            keep()
        return IndexReport(added + sum(map(len, waiting)), tuple(unread))

    def _readable(
        self, ids: Sequence[int], read: list[int], unread: list[Skipped]
    ) -> Iterator[Image.Image]:
        """Yield the pictures under these ids that can be read; note which could and which not."""
        for one in ids:
            try:
                picture = self._gallery.read(one)
            except ImageReadError as error:
                unread.append(Skipped(str(self._gallery.items_of([one])[0].path), str(error)))
                continue
            read.append(one)
            yield picture
