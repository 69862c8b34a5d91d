"""One live search: candidates from the index, their order by cosine, and a rerank of it.

The reranks compare candidates with one another. The exact engine scores every picture of the
gallery, so there all of them are candidates; from any other engine it is the best ``RERANK_POOL``
by cosine, whose vectors are fetched (our reading of how a rerank is used live: the papers rerank
the whole matrix of a test set, and what stands below the first thousand hardly comes to the top).
A query that no single vector says (``Query.rescore``) is answered in the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.files.pictures import read_image
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.concept import Mark
from rsctir_hf.search.confidence import (
    OFF_TOPIC,
    PICTURES,
    WORDS,
    Cuts,
    ScoreScale,
    likely_level,
    score_scale,
)
from rsctir_hf.search.feedback import learned_direction
from rsctir_hf.search.fine import FineStage
from rsctir_hf.search.folding import TILES, folded_hits
from rsctir_hf.search.gallery import PictureGallery
from rsctir_hf.search.hits import Hit, best_hits, judged
from rsctir_hf.search.matcher import LiveMatcher
from rsctir_hf.search.other_queries import OtherQueries, bank_queries, cosines, smr_temperature
from rsctir_hf.vector_index.contract import SearchFilter, VectorIndex
from rsctir_hf.vector_index.exact import ExactIndex
from rsctir_hf.vector_index.nearest import all_scores

RERANK_POOL = 1000
MAX_OTHER_PICTURES = 2000  # a larger gallery is represented by evenly spaced pictures
SOFT = "soft"  # of AMFMN's forms the one that is exact over an index
_ABOVE = 4.0  # more than two cosines are ever apart


@dataclass(frozen=True)
class Query:
    """What a user asked.

    Attributes:
        vector: (D,) unit vector; the candidates are the nearest to it.
        words: the text of it, if any.
        picture: the picture of it, if any.
        rescore: returns the scores (G,) that order candidates by their vectors (G, D), where that
            is not the cosine with ``vector``.
    """

    vector: Tensor
    words: str | None = None
    picture: PictureSource | None = None
    rescore: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Candidates:
    """Pictures that a rerank may put in any order.

    Attributes:
        ids: (G,), ascending unless the index was given them otherwise.
        vectors: (G, D).
        scores: (G,) cosine with the query.
    """

    ids: Tensor
    vectors: Tensor
    scores: Tensor


def find_candidates(
    index: VectorIndex, query: Tensor, *, most: int, only: SearchFilter | None
) -> Candidates:
    """Return all that pass a filter from the exact engine, else the best ``most`` of them.

    Of several queries (Q, D) the best of each are candidates; scores are those of the first.
    """
    queries = query.view(-1, query.shape[-1])
    if isinstance(index, ExactIndex):
        if only is None:
            ids, vectors = index.everything()
        else:
            ids = index.ids(only)
            vectors = index.vectors_of(ids)
        scores = all_scores(vectors, queries[0]) if len(ids) else torch.zeros(0)
        return Candidates(ids, vectors, scores)
    _, found = index.search(queries, most, only=only)
    ids = found[found >= 0].unique()  # sorted
    vectors = index.vectors_of(ids)
    return Candidates(ids, vectors, vectors @ queries[0])


class SearchSession:
    """Answers queries on one gallery with one model, and keeps what the reranks need again.

    Args:
        encoder: embeds queries and sentences.
        gallery: the pictures.
        bank: the sentences.

    Attributes:
        fine: the fine stage.
        growing: pictures are being added.
    """

    def __init__(self, encoder: Encoder, *, gallery: PictureGallery, bank: CaptionBank) -> None:
        self._encoder = encoder
        self._gallery = gallery
        self._bank = bank
        self._others: dict[str, OtherQueries] = {}
        self._samples: tuple[Tensor, Tensor] | None = None
        self._matcher: LiveMatcher | None = None
        self._bests: tuple[tuple[int, SearchFilter | None], Tensor] | None = None
        self.growing = False
        self.fine = FineStage(encoder, gallery)

    def forget(self) -> None:
        """Forget what was kept; the gallery has changed."""
        self._others.clear()
        self._samples = None
        self._bests = None
        self._matcher = None  # it keeps pictures by their id

    def pictures(
        self,
        query: Query,
        *,
        rerank: str,
        temperature: float | None,
        top_k: int,
        only: SearchFilter | None = None,
        fold: str = TILES,
    ) -> list[Hit]:
        """Return the best pictures; see ``Retriever.search``."""
        index, describe = self._gallery.index, self._gallery.items_of
        only_words = query.words is not None and query.picture is None and query.rescore is None
        guided = bool(self._encoder.guided) and only_words
        if rerank == "none" and query.rescore is None and not guided:

            def ranked(most: int) -> list[Hit]:
                scores, ids = index.search(query.vector[None], most, only=only)
                return best_hits(scores[0], None, ids=ids[0], describe=describe, top_k=most)
        else:
            found = find_candidates(index, query.vector, most=max(RERANK_POOL, top_k), only=only)
            if not len(found.ids):
                return []
            if guided:
                found = replace(found, scores=self._guided_scores(found, query.vector))
            reranked = self._reranked(found, query, rerank=rerank, temperature=temperature)

            def ranked(most: int) -> list[Hit]:
                return best_hits(
                    found.scores, reranked, ids=found.ids, describe=describe, top_k=most
                )

        hits = folded_hits(ranked, self._gallery, top_k=top_k, fold=fold)
        if query.rescore is not None or guided:  # a cosine alone does not say how well they fit
            return hits
        return judged(hits, self.scale(query.words, query.picture, only))

    def along(
        self,
        direction: Tensor,
        *,
        top_k: int,
        only: SearchFilter | None = None,
        first: Sequence[int] = (),
        out: Sequence[int] = (),
        fold: str = TILES,
    ) -> list[Hit]:
        """Return the best pictures along a direction (D,) that was learnt; they are not judged.

        Args:
            direction: a unit vector.
            top_k: how many.
            only: which pictures may be found.
            first: ids that come before all others.
            out: ids that are left out.
            fold: see ``folded_hits``.
        """
        most = max(RERANK_POOL, top_k) + len(out)
        found = find_candidates(self._gallery.index, direction, most=most, only=only)
        kept = ~torch.isin(found.ids, torch.tensor(out, dtype=torch.int64))
        ids, scores = found.ids[kept], found.scores[kept]
        raised = scores + _ABOVE * torch.isin(ids, torch.tensor(first, dtype=torch.int64))

        def ranked(most: int) -> list[Hit]:
            describe = self._gallery.items_of
            hits = best_hits(scores, raised, ids=ids, describe=describe, top_k=most)
            return [replace(hit, rerank_score=None) for hit in hits]

        return folded_hits(ranked, self._gallery, top_k=top_k, fold=fold)

    def likely(
        self,
        likelihood: Callable[[Tensor], Tensor],
        *,
        directions: Tensor,
        top_k: int,
        only: SearchFilter | None = None,
        fold: str = TILES,
    ) -> list[Hit]:
        """Return the pictures that most likely are what is asked for.

        Args:
            likelihood: of pictures (G, D), (G,) from 0 to 1; it orders and judges them.
            directions: (Q, D) unit vectors; candidates lie far along one of them.
            top_k: how many.
            only: which pictures may be found.
            fold: see ``folded_hits``.
        """
        most = max(RERANK_POOL, top_k)
        found = find_candidates(self._gallery.index, directions, most=most, only=only)
        if not len(found.ids):
            return []
        scores = likelihood(found.vectors)

        def ranked(most: int) -> list[Hit]:
            describe = self._gallery.items_of
            return best_hits(scores, None, ids=found.ids, describe=describe, top_k=most)

        hits = folded_hits(ranked, self._gallery, top_k=top_k, fold=fold)
        return [replace(hit, level=likely_level(hit.score)) for hit in hits]

    def learned(self, marks: Sequence[Mark], words: Tensor | None) -> Tensor:
        """Return the direction (D,) that marks, at least one, and words (D,) lead to."""
        return learned_direction(
            torch.stack([mark.vector for mark in marks]),
            torch.tensor([mark.good for mark in marks]),
            gallery=self._other_pictures()[1],
            words=words,
        )

    def _reranked(
        self, found: Candidates, query: Query, *, rerank: str, temperature: float | None
    ) -> Tensor | None:
        """Return the scores (G,) of candidates after a rerank; None: their own."""
        if rerank == "none":
            return query.rescore(found.vectors) if query.rescore is not None else None
        if rerank == "match" and query.words is not None:
            return self._match().rerank_pictures(
                found.scores, query.words, ids=found.ids, read=self._gallery.read
            )
        if rerank == "fine":
            return self.fine.rerank_pictures(found.scores, query.vector, vectors=found.vectors)
        kind = "text" if query.words else "image"
        return self._other_queries(kind, found).rerank(
            found.scores,
            rerank=rerank,
            temperature=smr_temperature(self._encoder.model, temperature),
            left_out=self._bank.rows_of(query.words)
            if query.words
            else self._own_rows(query.picture),
        )

    def _guided_scores(self, found: Candidates, query: Tensor) -> Tensor:
        """Return the model's own scores (G,) of candidates with a sentence (D,).

        Two matrix products score all of them (``soft``). The other forms look at each pair, of the
        best ``RERANK_POOL`` by cosine; the rest stay behind these, in their order.
        """
        best = torch.arange(len(found.scores))
        if self._encoder.guided != SOFT:
            best = found.scores.topk(min(RERANK_POOL, len(best))).indices
        judged = self._encoder.compare(found.vectors[best], query[None])[:, 0]
        scores = found.scores - _ABOVE / 2
        scores[best] = judged
        return scores

    def captions(
        self, query: Query, *, rerank: str, temperature: float | None, top_k: int
    ) -> list[Hit]:
        """Return the sentences that suit a picture best; see ``Retriever.caption_candidates``."""
        bank = self._bank.vectors(self._encoder)
        scores = self._encoder.compare(query.vector[None], bank)[0]
        reranked = None
        if rerank == "match" and query.picture is not None:
            reranked = self._match().rerank_captions(
                scores, read_image(query.picture), captions=self._bank.sentences
            )
        elif rerank == "fine" and query.picture is not None:
            reranked = self.fine.rerank_captions(scores, read_image(query.picture), bank=bank)
        elif rerank != "none":
            sentences = Candidates(torch.arange(len(bank)), bank, scores)
            reranked = self._other_queries("caption", sentences).rerank(
                scores,
                rerank=rerank,
                temperature=smr_temperature(self._encoder.model, temperature),
                left_out=self._own_rows(query.picture),
            )
        hits = best_hits(
            scores,
            reranked,
            ids=torch.arange(len(bank)),
            describe=lambda rows: [self._bank.items[row] for row in rows],
            top_k=top_k,
        )
        return hits if self._encoder.guided else judged(hits, self._scale(WORDS, None))

    def scale(
        self, words: str | None, picture: PictureSource | None, only: SearchFilter | None = None
    ) -> ScoreScale | None:
        """Return what cosines of a query mean; see ``Retriever.score_scale``."""
        if words is not None and picture is not None:
            return None
        return self._scale(PICTURES if words is None else WORDS, only)

    def _scale(self, cuts: Cuts, only: SearchFilter | None) -> ScoreScale | None:
        return None if self.growing else self.yardstick_scale(cuts, only)

    def yardstick_scale(self, cuts: Cuts, only: SearchFilter | None = None) -> ScoreScale | None:
        """Ask the gallery the sentences of the yardstick, once while it stays as it is."""
        index = self._gallery.index
        if not len(index):
            return None
        state = (len(index), only)
        if self._bests is None or self._bests[0] != state:
            scores, _ = index.search(self._bank.yardstick(self._encoder), 1, only=only)
            self._bests = state, scores
        bests = self._bests[1]
        if not bests.isfinite().all() or not bests.numel():  # nothing passes the filter
            return None
        off_topic = len(OFF_TOPIC)
        return score_scale(bests[:off_topic, 0], bests[off_topic:, 0], cuts)

    def _other_queries(self, kind: str, found: Candidates) -> OtherQueries:
        """Return what stands in for other queries, kept while the candidates are the same.

        Args:
            kind: ``text`` (bank against pictures), ``image`` (pictures against pictures) or
                ``caption`` (pictures against bank).
            found: the candidates.
        """
        kept = self._others.get(kind)
        if kept is not None and kept.candidates is found.vectors:
            return kept
        if kind == "text":
            others = bank_queries(self._encoder, self._bank.vectors(self._encoder), found.vectors)
        else:
            ids, vectors = self._other_pictures()
            own = None
            if kind == "image":
                place = {one: position for position, one in enumerate(found.ids.tolist())}
                own = [place.get(one, -1) for one in ids.tolist()]
            compare = self._encoder.compare if kind == "caption" else cosines
            others = OtherQueries(vectors, found.vectors, own_candidates=own, compare=compare)
        self._others[kind] = others
        return others

    def _other_pictures(self) -> tuple[Tensor, Tensor]:
        """Return ids (P,) and vectors (P, D) of pictures that stand in for picture queries."""
        if self._samples is None:
            ids = self._gallery.index.ids(most=MAX_OTHER_PICTURES)
            self._samples = ids, self._gallery.index.vectors_of(ids)
        return self._samples

    def _own_rows(self, picture: PictureSource | None) -> list[int]:
        """Return the rows of the other pictures that are the query picture itself, by its file."""
        own = torch.tensor(self._gallery.ids_of(picture), dtype=torch.int64)
        return torch.isin(self._other_pictures()[0], own).nonzero().flatten().tolist()

    def _match(self) -> LiveMatcher:
        if self._matcher is None:
            self._matcher = LiveMatcher(self._encoder)
        return self._matcher
