"""The caption bank: sentences that caption pictures and stand in for other people's queries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rsctir_hf.errors import QueryError
from rsctir_hf.gallery.embedding import embed_texts
from rsctir_hf.gallery.manifest import Item
from rsctir_hf.gallery.queries import same_sentence_key


class CaptionBank:
    """Sentences and, once asked for, their unit vectors."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        self.items = [Item(path=None, caption=sentence) for sentence in self.sentences]
        self._vectors: Tensor | None = None
        self._rows: dict[str, list[int]] = {}
        for row, sentence in enumerate(self.sentences):
            self._rows.setdefault(same_sentence_key(sentence), []).append(row)

    def rows_of(self, sentence: str) -> list[int]:
        """Return the rows that hold this sentence; case and punctuation make no difference."""
        return self._rows.get(same_sentence_key(sentence), [])

    def vectors(self, model: nn.Module, processor: Any) -> Tensor:  # noqa: ANN401
        """Return the sentences as unit vectors (C, D), embedded at the first call.

        Raises:
            QueryError: there are no sentences.
        """
        if not self.sentences:
            raise QueryError(
                "This needs a caption bank and none was given. Pass bank=[...] to the Retriever "
                "(rsctir_hf.drawn.read_caption_bank() is the one that ships), or --bank FILE with "
                "one sentence a line."
            )
        if self._vectors is None:
            self._vectors = embed_texts(model, processor, self.sentences)
        return self._vectors


def read_sentences(file: Path) -> list[str]:
    """Read a caption bank, one sentence a line; empty lines are passed over.

    Raises:
        QueryError: the file cannot be read or holds no sentence.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"The caption bank {file} cannot be read ({error}). Expected a UTF-8 text file with "
            "one sentence a line."
        ) from error
    sentences = [line for line in lines if line]
    if not sentences:
        raise QueryError(f"The caption bank {file} is empty. Put one sentence a line into it.")
    return sentences
