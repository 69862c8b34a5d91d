"""What a text says it does not want: "boats without sand" asks for boats, and for no sand.

The models never learnt the word: as one text such a query finds the sand as well. Read as a part
that is wanted and parts that are not, it ranks better by a third (``benchmarks/
composed_queries.py``).
"""

import re

_NEGATION = re.compile(
    r"^(?P<wanted>.*?)[\s,;]*\b(?:but |and |with |there (?:is|are) )?"
    r"(?:without|but not|and not|(?<=, )not|no(?! ?\d|\.))\b\s+(?P<unwanted>.+?)[\s.!?]*$",
    re.IGNORECASE,
)
_LIST = re.compile(r"\s*,\s*(?:and|or|nor)\s+|\s*,\s*|\s+(?:and|or|nor)\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:without |no )?(?:any |an? |the )?", re.IGNORECASE)
#: After these the sentence goes on with something that is wanted, or denied a second time.
_GOES_ON = re.compile(
    r"\b(?:but|with|while|where|which|that|is|are|not|no|without)\b", re.IGNORECASE
)
_DENIES = re.compile(r"\b(?:without|no(?! ?\d|\.)|not)\b", re.IGNORECASE)


def denies(text: str) -> bool:
    """Return whether a text holds a word that denies something."""
    return _DENIES.search(text) is not None


def read_negation(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Return what a text asks for, perhaps nothing, and what it wants to be absent.

    None for a text that denies nothing, or in a way that is not understood for sure.
    """
    found = _NEGATION.match(text.strip())
    if found is None:
        return None
    listed = (_ARTICLE.sub("", part.strip()) for part in _LIST.split(found["unwanted"]))
    unwanted = tuple(part for part in listed if part)
    if not unwanted or any(map(_GOES_ON.search, unwanted)):
        return None
    return found["wanted"].strip(" ,;-"), unwanted
