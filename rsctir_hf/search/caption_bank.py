"""The caption bank: sentences that caption pictures and stand in for other people's queries."""

from collections.abc import Sequence

from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.search.hits import Item


class CaptionBank:
    """Sentences and, once asked for, their unit vectors."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        self.items = [Item(path=None, caption=sentence) for sentence in self.sentences]
        self._vectors: Tensor | None = None
        self._rows: dict[str, list[int]] = {}
        for row, sentence in enumerate(self.sentences):
            self._rows.setdefault(normalise_caption(sentence), []).append(row)

    def rows_of(self, sentence: str) -> list[int]:
        """Return the rows that hold this sentence, as ``sentences.normalise_caption`` compares."""
        return self._rows.get(normalise_caption(sentence), [])

    def vectors(self, encoder: Encoder) -> Tensor:
        """Return the sentences as unit vectors (C, D), embedded at the first call.

        Raises:
            QueryError: there are no sentences.
        """
        if not self.sentences:
            raise QueryError(
                "This needs a caption bank and an empty one was given. Leave bank out for the "
                "sentences that ship, or pass bank=[...], or --bank FILE with one sentence a line."
            )
        if self._vectors is None:
            self._vectors = encoder.texts(self.sentences)
        return self._vectors
