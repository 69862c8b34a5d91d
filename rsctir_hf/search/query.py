"""Queries: what was asked for, and what to tell a user about a text before it is answered."""

import unicodedata
from pathlib import Path
from typing import Any

from PIL import Image

from rsctir_hf.embedding.roles import PictureSource
from rsctir_hf.errors import QueryError

MAX_QUERY_WORDS = 40  # they about fill a model's text window; the rest is cut off
#: Far more than any model reads; a tokenizer takes seconds for a text of megabytes.
MAX_QUERY_CHARACTERS = 2_000


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
    return " ".join(hints) or None


def split_query(
    query: str | Path | Image.Image | None, image: PictureSource | None = None
) -> tuple[str | None, PictureSource | None]:
    """Tell words from picture: a bare ``str`` is words, a ``Path`` or PIL picture an image.

    Raises:
        QueryError: nothing was asked for, two pictures, or an empty text.
    """
    if isinstance(query, str):
        describe_query(query)
        return query, image
    if query is not None and image is not None:
        raise QueryError(
            "The query is a picture already and image= was given too. Give one text, one picture, "
            "or one of each."
        )
    if query is None and image is None:
        raise QueryError("There is no query. Give a text, a picture, or both.")
    return None, image if query is None else query


def check_top_k(top_k: Any) -> None:  # noqa: ANN401 - it may come from anywhere
    """Raise ``QueryError`` unless ``top_k`` is a whole number above 0."""
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise QueryError(f"top_k is {top_k!r}; expected a whole number of hits, 1 or more.")


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
