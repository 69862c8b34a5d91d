"""``rsctir search`` with marks: what was good and bad is learnt from, and kept as a concept."""

import sys
from collections.abc import Sequence
from typing import Any

from rsctir_cli.commands import Search
from rsctir_cli.marks import Marked
from rsctir_hf.cli.output import check_writable
from rsctir_hf.cli.sources import asked_parts
from rsctir_hf.errors import QueryError
from rsctir_hf.search.concept import Concept
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.query import read_parts
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import SearchFilter


def has_marks(asked: Search) -> bool:
    """Tell whether a search learns, or looks for a concept."""
    return bool(asked.good or asked.bad or asked.concept or asked.save_concept)


def check_marks(asked: Search) -> None:
    """Refuse, before any work, options that make no sense together.

    Raises:
        QueryError: they contradict each other, or the concept cannot be read.
        StorageError: the concept could not be saved.
    """
    if asked.also:
        _check_files_of_one(asked)
    if not has_marks(asked):
        if asked.remake or asked.marked is not None:
            raise QueryError("--remake and --marked are about --concept, --good and --bad.")
        return
    if asked.rerank.value != "none":
        raise QueryError(f"--rerank {asked.rerank.value} is not for marks and concepts.")
    _check_words(asked)
    if asked.remake and asked.concept is None:
        raise QueryError("--remake makes a concept anew. Name its file: --concept.")
    if asked.concept is not None:
        Concept.load(asked.concept)
    if asked.save_concept is not None:
        check_writable("--save-concept", asked.save_concept)


def _check_files_of_one(asked: Search) -> None:
    """Refuse files that each index would write anew."""
    if asked.output is not None:
        raise QueryError("--output takes the hits of one index. Leave out --also or --output.")
    if asked.save_concept is not None:
        raise QueryError(
            "--save-concept keeps what is learnt in one index. Save it there first, then look for "
            "it in the others: --concept and --also."
        )


def _check_words(asked: Search) -> None:
    parts = asked_parts(asked, needed=False)
    if parts and not all(part.wanted and part.weight == 1 for part in read_parts(parts)):
        raise QueryError(
            "--not, --weight and words that deny something are not for marks and concepts. Mark "
            "what is not wanted: --bad."
        )


def find_marked(retriever: Retriever, asked: Search, only: SearchFilter | None) -> Sequence[Hit]:
    """Learn what is asked for, keep it where that is asked for, and look for it.

    Raises:
        QueryError, IndexMismatchError, UnknownItemError, ImageReadError: see ``ConceptSearch``.
    """
    concepts = retriever.concepts
    concept = None if asked.concept is None else Concept.load(asked.concept)
    if concept is not None and asked.remake:
        concept = concepts.relearn(concept)
    text = " and ".join(asked.text or ()) or None
    shown = [str(image) for image in asked.image or ()]
    good, bad = [*shown, *(asked.good or ())], asked.bad or ()
    learning = bool(good or bad or text)
    if concept is None or learning:
        name = "" if asked.save_concept is None else asked.save_concept.stem
        concept = concepts.learn(text, good=good, bad=bad, start=concept, name=name)
    if asked.save_concept is not None:
        concept.save(asked.save_concept)
        print(f"{concept} kept in {asked.save_concept}", file=sys.stderr)
    marked = asked.marked or (Marked.OUT if learning else Marked.FIRST)
    return concepts.find(concept, top_k=asked.top_k, only=only, marked=marked.value)


def said_of_marks(asked: Search) -> dict[str, Any]:
    """Return what an answer in JSON says of marks, and of which index it is."""
    said = {"index": asked.place}
    if not has_marks(asked):
        return said
    return {**said, "concept": asked.concept, "good": asked.good, "bad": asked.bad}
