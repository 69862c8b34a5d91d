"""Mark hits good and bad, learn from it, and search again: what ``Retriever.concepts`` offers."""

from collections.abc import Sequence
from copy import copy

from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.search.concept import Concept, Mark, joined_marks
from rsctir_hf.search.folding import TILES
from rsctir_hf.search.gallery import PictureGallery
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.marking import Marked, MarkReader
from rsctir_hf.search.query import check_top_k, describe_query
from rsctir_hf.search.session import SearchSession
from rsctir_hf.vector_index.contract import SearchFilter

MARKED = ("out", "first")  # what may become of marked pictures in an answer


class ConceptSearch:
    """Learns concepts on one gallery with one model, and finds them there.

    Args:
        encoder: embeds words, and pictures from elsewhere.
        gallery: the pictures.
        session: answers over the gallery.
    """

    def __init__(self, encoder: Encoder, gallery: PictureGallery, session: SearchSession) -> None:
        self._encoder = encoder
        self._gallery = gallery
        self._session = session
        self._marks = MarkReader(encoder, gallery)
        self._fold = TILES

    def folding(self, fold: str) -> "ConceptSearch":
        """Return a search on the same gallery that folds hits; see ``Retriever.folding``."""
        other = copy(self)
        other._fold = fold
        return other

    def learn(
        self,
        words: str | None = None,
        *,
        good: Sequence[Marked] = (),
        bad: Sequence[Marked] = (),
        start: Concept | None = None,
        name: str = "",
    ) -> Concept:
        """Learn what is looked for from words and marked pictures; ``find`` then looks for it.

        Args:
            words: what is looked for, if it can be said.
            good: pictures that show it: ids or paths of hits, paths below the folder of the
                pictures, or pictures from elsewhere, which are embedded.
            bad: pictures that do not.
            start: a concept to go on with: its words and name, unless others are given, and its
                marks, of which a new one of the same picture takes the place.
            name: of the concept.

        Raises:
            QueryError: neither words nor marks; marks that are all bad and no words; a picture
                marked both ways; a name that is unknown; nothing indexed.
            UnknownItemError: an id that the index does not hold.
            ImageReadError: a picture from elsewhere cannot be read.
            IndexMismatchError: a concept of another model.
        """
        self._check_indexed()
        older: Sequence[Mark] = ()
        if start is not None:
            start.check_model(self._encoder.made_by)
            words, name, older = words or start.words, name or start.name, start.marks
        marks = joined_marks(older, self._marks.read(good, bad))
        return Concept(self._learned(words, marks), marks, self._encoder.made_by, words, name)

    def relearn(self, concept: Concept) -> Concept:
        """Make a concept anew for this model, from those of its marks whose pictures are at hand.

        Raises:
            QueryError: too few of them are; see ``learn``.
        """
        there = self._marks.at_hand(concept.marks)
        good, bad = ([m.path for m in there if m.path and m.good is kind] for kind in (True, False))
        return self.learn(concept.words, good=good, bad=bad, name=concept.name)

    def find(
        self,
        concept: Concept,
        *,
        top_k: int = 5,
        only: SearchFilter | None = None,
        marked: str = MARKED[0],
    ) -> list[Hit]:
        """Find what a concept of this model looks for; hits have no level.

        Args:
            concept: from ``learn`` or ``Concept.load``.
            top_k: how many hits.
            only: which pictures may be found.
            marked: what becomes of the marked pictures of this gallery: ``out``, they are left out,
                so that each answer has something to mark; ``first``, the good ones come first.

        Raises:
            QueryError: nothing indexed, or another value of ``marked``.
            IndexMismatchError: a concept of another model.
            IndexUnavailableError: the server that keeps the index does not answer.
        """
        check_top_k(top_k)
        if marked not in MARKED:
            raise QueryError(f"marked is {marked!r}; expected {' or '.join(MARKED)}.")
        self._check_indexed()
        concept.check_model(self._encoder.made_by)
        held = self._marks.ids_of(concept.marks)
        first = [one for one, mark in held.items() if mark.good and marked == "first"]
        out = [one for one in held if one not in first]
        return self._session.along(
            concept.direction, top_k=top_k, only=only, first=first, out=out, fold=self._fold
        )

    def _learned(self, words: str | None, marks: Sequence[Mark]) -> Tensor:
        """Return the direction (D,) of words and marks.

        Raises:
            QueryError: they do not say what is looked for.
        """
        if words is not None:
            describe_query(words)
            asked = self._encoder.texts([words])[0]
            return self._session.learned(marks, asked) if marks else asked
        if not any(mark.good for mark in marks):
            raise QueryError(
                "No picture is marked good, and there are no words. Say what is looked for: mark "
                "one picture good, or give words."
            )
        return self._session.learned(marks, None)

    def _check_indexed(self) -> None:
        if len(self._gallery) == 0:
            raise QueryError("Nothing is indexed yet. Index a folder of pictures first.")
