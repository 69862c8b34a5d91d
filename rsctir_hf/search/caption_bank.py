"""The caption bank: sentences that caption pictures and stand in for other people's queries."""

import threading
from collections.abc import Sequence

from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.kept_vectors import kept_texts
from rsctir_hf.errors import QueryError
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.search.confidence import typical_sentences, yardstick_sentences
from rsctir_hf.search.hits import Item


class CaptionBank:
    """Sentences and, once asked for, their unit vectors.

    Args:
        sentences: the captions.
        keep: keep their vectors on disk for other runs (``embedding.kept_vectors``).
    """

    def __init__(self, sentences: Sequence[str], *, keep: bool = True) -> None:
        self.sentences = tuple(sentences)
        self.items = [Item(path=None, caption=sentence) for sentence in self.sentences]
        self._keep = keep
        self._vectors: Tensor | None = None
        self._embedding = threading.Lock()
        self._yardstick: Tensor | None = None
        self._rows: dict[str, list[int]] = {}
        for row, sentence in enumerate(self.sentences):
            self._rows.setdefault(normalise_caption(sentence), []).append(row)

    def rows_of(self, sentence: str) -> list[int]:
        """Return the rows that hold this sentence, as ``sentences.normalise_caption`` compares."""
        return self._rows.get(normalise_caption(sentence), [])

    def vectors(self, encoder: Encoder) -> Tensor:
        """Return the sentences as unit vectors (C, D), embedded at the first call or kept.

        Raises:
            QueryError: there are no sentences.
        """
        if not self.sentences:
            raise QueryError(
                "This needs a caption bank and an empty one was given. Leave bank out for the "
                "sentences that ship, or pass bank=[...], or --bank FILE with one sentence a line."
            )
        with self._embedding:  # whoever comes meanwhile waits for the same vectors
            if self._vectors is None:
                self._vectors = kept_texts(encoder, self.sentences, keep=self._keep)
            return self._vectors

    def yardstick(self, encoder: Encoder) -> Tensor:
        """Return the unit vectors (N + M, D) that scores are judged by, embedded at the first call.

        They are those of ``confidence.yardstick_sentences``, whatever this bank holds.
        """
        if self._yardstick is None:
            self._yardstick = kept_texts(encoder, yardstick_sentences(), keep=self._keep)
        return self._yardstick

    def average(self, encoder: Encoder) -> Tensor:
        """Return the mean vector (D,) of captions of all kinds, whatever this bank holds."""
        return self.yardstick(encoder)[-len(typical_sentences()) :].mean(dim=0)
