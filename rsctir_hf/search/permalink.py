"""A question with its filters as the query part of an address, and back.

``?text=a+pier&where=class%3Dharbor&after=2024-05&top_k=12``: the names are those of the options of
``rsctir search``, so that page and command line ask the same of one link.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

from rsctir_hf.errors import QueryError

#: What a link may say several times, and what once.
SEVERAL = ("text", "image", "not", "not_image", "weight", "concept", "where")
ONCE = ("labels", "label_head", "bbox", "after", "before", "rerank", "fold", "top_k")
NAMES = (*SEVERAL, *ONCE)
_LONGEST = 20_000  # characters of a link


def write_link(asked: Mapping[str, object]) -> str:
    """Return the link of a question: of each name one value, or several; None and empty are none.

    Raises:
        QueryError: a name that no link has.
    """
    _refuse_unknown(asked)
    pairs: list[tuple[str, str]] = []
    for name in NAMES:
        value = asked.get(name)
        several = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, str(each)) for each in several if each not in (None, "")]
    return f"?{urlencode(pairs)}" if pairs else ""


def read_link(link: str) -> dict[str, list[str]]:
    """Return what a link asks: by name its values. A whole address may be given.

    Raises:
        QueryError: it is too long, or says what no link says, or something twice.
    """
    if len(link) > _LONGEST:
        raise QueryError(f"The link has {len(link):,} characters; at most {_LONGEST:,} are read.")
    _, _, query = link.partition("?") if "?" in link else ("", "", link)
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.partition("#")[0]):
        found.setdefault(name, []).append(value)
    _refuse_unknown(found)
    twice = [name for name, values in found.items() if len(values) > 1 and name in ONCE]
    if twice:
        raise QueryError(f"The link says {twice[0]!r} twice; expected it once.")
    return found


def _refuse_unknown(names: Mapping[str, object] | Sequence[str]) -> None:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise QueryError(
            f"The link says {unknown[0]!r}; expected some of {', '.join(NAMES)}, such as "
            "?text=a+pier&where=class%3Dharbor."
        )
