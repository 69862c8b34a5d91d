"""Queries: what was asked for, and what to tell a user about a text before it is answered."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from PIL import Image

from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import QueryError
from rsctir_hf.files.names import as_text
from rsctir_hf.files.sentences import normalise_caption
from rsctir_hf.search.negation import denies, read_negation

MAX_QUERY_WORDS = 40  # they about fill a model's text window; the rest is cut off
#: Far more than any model reads; a tokenizer takes seconds for a text of megabytes.
MAX_QUERY_CHARACTERS = 2_000
MAX_PARTS = 20


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Function words of German, French, Spanish, Italian, Portuguese and Dutch that no English query
# holds; one is enough.
_FOREIGN_WORDS = _words(
    "der das dem ein eine einen einem einer und mit neben auf zwischen viele "
    "une et avec dans sous entre beaucoup près plusieurs "
    "uno una unos unas y con en sobre cerca muchos muchas "
    "gli nel nella della sopra vicino molti molte "
    "um uma uns umas na nas nos muitos muitas perto "
    "het een naast veel"
)
# Words that English place names use too ("Rio de la Plata", "Big Sur"); two are needed.
_NAME_WORDS = _words("la le les el los las de des del di du da van il lo den im am un sur")
_ENGLISH_WORDS = _words(
    "a the and of with in on at by near to is are there some many two several beside "
    "next from between over under around surrounded it its this that"
)

TRAINED_ON_ENGLISH = "this model was trained on English captions"
NOTHING_WANTED = (
    "Only what is not wanted is named: the hits are the pictures least like it. Add what you look "
    "for."
)


def describe_query(text: str) -> str | None:
    """Return a hint for the person who typed a query, or None where there is nothing to say.

    Raises:
        QueryError: the query is empty, longer than ``MAX_QUERY_CHARACTERS``, or no Unicode text.
    """
    if not isinstance(text, str):
        raise QueryError(f"The query is a {type(text).__name__}; expected words.")
    if not text.strip():
        raise QueryError(
            "The query is empty. Describe what the picture shows, "
            "for example: boats moored beside a pier."
        )
    if len(text) > MAX_QUERY_CHARACTERS:
        raise QueryError(
            f"The query has {len(text):,} characters; at most {MAX_QUERY_CHARACTERS:,} are taken. "
            "A sentence or two say it best."
        )
    if any("\ud800" <= character <= "\udfff" for character in text):  # half of a pair
        raise QueryError("The query holds a broken character. Type it anew.")
    hints = []
    words = text.split()
    if len(words) > MAX_QUERY_WORDS:
        hints.append(
            f"The query has {len(words):,} words; the model reads about the first "
            f"{MAX_QUERY_WORDS}, the rest is cut off."
        )
    if language := _language_hint(text, words):
        hints.append(language)
    if negation := _negation_hint(text):
        hints.append(negation)
    return " ".join(hints) or None


@dataclass(frozen=True)
class QueryPart:
    """Words or a picture, as one part of a query.

    Attributes:
        text: the words.
        image: or the picture, as a path or PIL picture.
        weight: how much it counts, above 0.
        wanted: False for what the hits should not show.

    Raises:
        QueryError: neither or both, an empty text, or no such weight.
    """

    text: str | None = None
    image: PictureSource | None = None
    weight: float = 1.0
    wanted: bool = True

    def __post_init__(self) -> None:
        if (self.text is None) == (self.image is None):
            given = "neither" if self.text is None else "both"
            raise QueryError(f"A part of a query is a text or a picture; this has {given}.")
        if self.text is not None:
            describe_query(self.text)
        number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not number or not 0 < self.weight < inf:
            raise QueryError(
                f"The weight of {self} is {self.weight!r}; expected a number above 0, such as "
                "0.5. Leave a part out that should not count; what is not wanted is said with "
                "--not or --not-image (wanted=False in Python)."
            )

    def __str__(self) -> str:
        return _name(self) if self.text is None else repr(self.text)


Asked = str | Path | Image.Image | QueryPart


def read_parts(
    query: Asked | Sequence[Asked] | None, image: PictureSource | None = None
) -> tuple[QueryPart, ...]:
    """Return the parts of a query.

    A bare ``str`` is words, a ``Path`` or PIL picture an image. Words that deny something in a
    plain way become several parts (``negation``).

    Raises:
        QueryError: nothing was asked for, two pictures where one is expected, an empty text, the
            same wanted and not wanted, or more than ``MAX_PARTS``.
    """
    beside = query is None or isinstance(query, str | list | tuple | QueryPart)
    if image is not None and not beside:
        raise QueryError(
            "The query is a picture already and image= was given too. Give one text, one picture, "
            "one of each, or a list of all."
        )
    asked = query if isinstance(query, list | tuple) else [] if query is None else [query]
    parts = [part for one in asked for part in _parts_of(one)]
    parts += [] if image is None else [QueryPart(image=image)]
    if not parts:
        raise QueryError("There is no query. Give a text, a picture, or both.")
    if len(parts) > MAX_PARTS:
        raise QueryError(f"The query has {len(parts)} parts; at most {MAX_PARTS} are taken.")
    _refuse_contradiction(parts)
    return tuple(parts)


def describe_parts(parts: Sequence[QueryPart]) -> str | None:
    """Return a hint about the words of several parts, or None; see ``describe_query``."""
    hints = [describe_query(part.text) for part in parts if part.text is not None]
    found = dict.fromkeys(hint for hint in hints if hint)
    found.pop(NOTHING_WANTED, None)
    if not any(part.wanted for part in read_parts(parts)):
        found[NOTHING_WANTED] = None
    return " ".join(found) or None


def in_words(parts: Sequence[QueryPart]) -> str:
    """Return parts as a title: ``harbor + pier.jpg - sand``."""
    said = " ".join(f"{'+' if part.wanted else '-'} {_name(part)}" for part in parts)
    return said.removeprefix("+ ")


def joined_words(parts: Sequence[QueryPart]) -> list[QueryPart]:
    """Return parts with the wanted words of the same weight as one sentence.

    The model learnt from sentences: "harbor and boats" finds both better than two cosines do
    (``benchmarks/composed_queries.py``). What the model would cut off stays apart.
    """
    texts = dict[float, list[str]]()
    for part in parts:
        if part.text is not None and part.wanted:
            texts.setdefault(part.weight, []).append(part.text.strip(" .,;"))
    joined = {weight: " and ".join(same) for weight, same in texts.items() if len(same) > 1}
    joined = {w: text for w, text in joined.items() if len(text.split()) <= MAX_QUERY_WORDS}
    apart = [
        part for part in parts if part.text is None or not part.wanted or part.weight not in joined
    ]
    return [QueryPart(text, weight=weight) for weight, text in joined.items()] + apart


def _parts_of(asked: Any) -> list[QueryPart]:  # noqa: ANN401 - it may come from anywhere
    """Return the parts of one text, picture or part."""
    if isinstance(asked, QueryPart):
        part = asked
    else:
        part = QueryPart(asked) if isinstance(asked, str) else QueryPart(image=asked)
    found = read_negation(part.text) if part.text is not None and part.wanted else None
    if found is None:
        return [part]
    wanted, unwanted = found
    parts = [replace(part, text=wanted)] if wanted else []
    return parts + [replace(part, text=text, wanted=False) for text in unwanted]


def _refuse_contradiction(parts: Sequence[QueryPart]) -> None:
    """Raise ``QueryError`` where the same words or file are wanted and not wanted."""
    wanted = {_what(part) for part in parts if part.wanted}
    for part in parts:
        if not part.wanted and _what(part) in wanted:
            raise QueryError(
                f"The query contradicts itself: {part} is wanted and not wanted. Leave one out."
            )


def _name(part: QueryPart) -> str:
    if part.text is not None:
        return part.text
    return as_text(Path(part.image).name) if isinstance(part.image, str | Path) else "a picture"


def _what(part: QueryPart) -> Any:  # noqa: ANN401 - a text, a path or a picture's identity
    if part.text is not None:
        return normalise_caption(part.text)
    return os.path.abspath(part.image) if isinstance(part.image, str | Path) else id(part.image)


def check_top_k(top_k: Any) -> None:  # noqa: ANN401 - it may come from anywhere
    """Raise ``QueryError`` unless ``top_k`` is a whole number above 0."""
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise QueryError(f"top_k is {top_k!r}; expected a whole number of hits, 1 or more.")


def _negation_hint(text: str) -> str | None:
    """Say how a text was read that denies something."""
    found = read_negation(text)
    if found is None:
        return (
            "The model does not understand what a sentence denies. Name it as a part of its own: "
            "--not (QueryPart(..., wanted=False) in Python)."
            if denies(text)
            else None
        )
    wanted, unwanted = found
    if not wanted:
        return NOTHING_WANTED
    return f"Read as {wanted!r} without {' and '.join(map(repr, unwanted))}."


def _language_hint(text: str, words: list[str]) -> str | None:
    """Hint at emoji, other scripts and other languages in Latin script."""
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return f"The query holds no words; {TRAINED_ON_ENGLISH}. Try words such as: tennis courts."
    foreign = sum(not unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    if 2 * foreign > len(letters):
        return f"The query is not in Latin script; {TRAINED_ON_ENGLISH}, so hits may be poor."
    if _looks_non_english(words):
        return f"The query does not look English; {TRAINED_ON_ENGLISH}, so hits may be poor."
    if any(unicodedata.category(character) == "So" for character in text):
        return f"Emoji say nothing to the model; {TRAINED_ON_ENGLISH}."
    return None


def _looks_non_english(words: list[str]) -> bool:
    """Compare how many function words of English and of its neighbours occur."""
    plain = {word.strip(".,;:!?\"'()").casefold() for word in words}
    english, sure = len(plain & _ENGLISH_WORDS), len(plain & _FOREIGN_WORDS)
    possible = sure + len(plain & _NAME_WORDS)
    return (sure > 0 or possible > 1) and possible > english
