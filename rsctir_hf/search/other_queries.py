"""Rerank one live query: other queries, kept at hand, stand in for those of a test set.

SMR (our reading) needs one number per candidate, its hubness over those queries; it is computed
once and kept. MR needs their ranks and is computed anew for each query.
"""

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor, nn

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.reranking import SMR_TEMPERATURE, hubness, mr_single, smr_single
from rsctir_hf.search.query import QueryPart

RERANKS = ("none", "smr", "mr", "match", "fine")
_OF_TEXTS = {
    "match": "judges a picture against a text",
    "fine": "compares the patches of pictures with a text",
}
Compare = Callable[[Tensor, Tensor], Tensor]
_QUERIES_AT_ONCE = 256  # bounds the (Q, G) block that is in memory


def check_rerank(rerank: str) -> None:
    """Raise ``QueryError`` when ``rerank`` is not one of ``RERANKS``."""
    if rerank not in RERANKS:
        raise QueryError(f"rerank is {rerank!r}; expected one of {', '.join(RERANKS)}.")


def check_rerank_of(rerank: str, parts: Sequence[QueryPart]) -> None:
    """Raise ``QueryError`` when ``rerank`` cannot be asked for with the parts of a query."""
    if rerank not in _OF_TEXTS:
        return
    if not any(part.text and part.wanted for part in parts):
        raise QueryError(
            f"rerank {rerank!r} {_OF_TEXTS[rerank]} and there is no text. Add one, or use rerank "
            "'none', 'smr' or 'mr'."
        )
    if not all(part.wanted for part in parts):
        raise QueryError(f"rerank {rerank!r} cannot judge what is not wanted. Use rerank 'none'.")


def smr_temperature(model: nn.Module, temperature: float | None = None) -> float:
    """Return ``temperature``, else ``config.smr_temperature``, else 0.1.

    Raises:
        QueryError: a temperature that is not above 0.
    """
    if temperature is None:
        temperature = getattr(model.config, "smr_temperature", None) or SMR_TEMPERATURE
    if not 0 < temperature < inf:
        raise QueryError(
            f"The SMR temperature is {temperature}; it must be above 0 and finite, for example 0.1."
        )
    return float(temperature)


def cosines(queries: Tensor, candidates: Tensor) -> Tensor:
    """Compare unit vectors (Q, D) and (G, D)."""
    return queries @ candidates.T


class OtherQueries:
    """Queries that stand in for the other queries of a live one.

    Args:
        queries: (Q, D) unit vectors.
        candidates: (G, D) unit vectors.
        own_candidates: where the queries are candidates themselves, the candidate (Q,) each one
            is, or -1: its score with itself says nothing and counts as the smallest of its column.
        compare: returns the scores (Q, G) of queries and candidates; by default their cosines.
    """

    def __init__(
        self,
        queries: Tensor,
        candidates: Tensor,
        *,
        own_candidates: Sequence[int] | None = None,
        compare: Compare = cosines,
    ) -> None:
        self.candidates = candidates
        self._queries = queries
        self._compare = compare
        self._own = None if own_candidates is None else torch.tensor(own_candidates)
        self._hubness: dict[float, Tensor] = {}

    def rerank(
        self, scores: Tensor, *, rerank: str, temperature: float, left_out: Sequence[int] = ()
    ) -> Tensor:
        """Return the scores (G,) of one query after ``smr`` or ``mr``.

        Args:
            scores: (G,) cosine of the query with each candidate.
            rerank: ``smr`` or ``mr``.
            temperature: of SMR.
            left_out: rows of ``queries`` that are the live query itself.

        Raises:
            QueryError: no other query is left.
        """
        if len(set(left_out)) >= len(self._queries):
            raise QueryError(
                f"rerank {rerank!r} compares with other queries and there are none: the caption "
                "bank (for text) or the gallery (for pictures) holds nothing but the query. "
                "Use rerank 'none', or a larger bank or gallery."
            )
        rows = torch.ones(len(self._queries), dtype=torch.bool)
        rows[list(left_out)] = False
        if rerank == "mr":
            return mr_single(scores, self._bank_scores(rows.nonzero().flatten()))
        return smr_single(scores, self._hubs(rows, temperature), temperature=temperature)

    def _hubs(self, rows: Tensor, temperature: float) -> Tensor:
        """Hubness (G,) over the given rows; that over all rows is kept."""
        everyone = bool(rows.all())
        if everyone and temperature in self._hubness:
            return self._hubness[temperature]
        parts = [
            hubness(self._bank_scores(chunk), temperature=temperature)
            for chunk in rows.nonzero().flatten().split(_QUERIES_AT_ONCE)
        ]
        hubs = torch.stack(parts).logsumexp(dim=0)  # (G,)
        if everyone:
            self._hubness[temperature] = hubs
        return hubs

    def _bank_scores(self, rows: Tensor) -> Tensor:
        """Score (Q', G) of the given queries with the candidates."""
        scores = self._compare(self._queries[rows], self.candidates)
        if self._own is not None:
            among = (self._own[rows] >= 0).nonzero().flatten()
            own = self._own[rows[among]]
            scores[among, own] = (self._queries @ self.candidates[own].T).amin(dim=0)
        return scores


def bank_queries(encoder: Encoder, sentences: Tensor, pictures: Tensor) -> OtherQueries:
    """Let sentences (Q, D) stand in for queries to pictures (G, D), scored as the model does."""
    return OtherQueries(sentences, pictures, compare=lambda q, g: encoder.compare(g, q).T)
