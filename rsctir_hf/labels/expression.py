"""What is asked of labels: ``ship and dock and not sand``, with ``or`` and brackets.

How likely a picture fulfils it comes from how likely it shows each label, as if labels did not
depend on one another: *and* multiplies, *not* takes from one, and *or* is what is left when none
holds. Of likelihoods that are 0 or 1 this is the logic itself.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain

import torch
from torch import Tensor

from rsctir_hf.errors import QueryError

MOST_LABELS = 17  # that one expression may name: every way they can stand is looked at
_MOST_CHARACTERS, _DEEPEST = 2_000, 20
_MOST_LISTED = 40
_TOKEN = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([()])|([^\s()"']+))""")
_JOINING = ("and", "or", "not")
_EXAMPLE = "ship and dock and not sand"
_SEPARATORS = re.compile(r"[\s_-]+")

#: Returns the labels nearest in meaning to a word that none is called.
Nearest = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class LabelQuery:
    """An expression, or a part of one.

    Attributes:
        kind: ``label``, ``not``, ``and`` or ``or``.
        parts: what it joins.
        name: of a label.
    """

    kind: str
    parts: tuple["LabelQuery", ...] = ()
    name: str = ""

    def __str__(self) -> str:
        if self.kind == "label":
            plain = not set(self.name.casefold().split()) & {*_JOINING} and "(" not in self.name
            return self.name if plain and ")" not in self.name else f'"{self.name}"'
        said = [
            f"({part})" if part.kind in ("and", "or") and part.kind != self.kind else str(part)
            for part in self.parts
        ]
        return f"not {said[0]}" if self.kind == "not" else f" {self.kind} ".join(said)

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that it names, in order of first mention."""
        return tuple(dict.fromkeys(name for name, _ in self.literals))

    @property
    def literals(self) -> tuple[tuple[str, bool], ...]:
        """Each label that is mentioned, and whether it is wanted there, once."""
        return tuple(dict.fromkeys(self._literals(wanted=True)))

    def likelihood(self, shown: Mapping[str, Tensor]) -> Tensor:
        """Return how likely it holds: (G,), from how likely each label is shown, (G,) each."""
        if self.kind == "label":
            return shown[self.name]
        parts = torch.stack([part.likelihood(shown) for part in self.parts])  # (parts, G)
        if self.kind == "or":
            return 1 - (1 - parts).prod(dim=0)
        return parts.prod(dim=0) if self.kind == "and" else 1 - parts[0]

    def _literals(self, *, wanted: bool) -> Iterator[tuple[str, bool]]:
        """Yield each label as it is mentioned, and whether it is wanted there."""
        if self.kind == "label":
            yield self.name, wanted
        inside = wanted != (self.kind == "not")
        yield from chain.from_iterable(part._literals(wanted=inside) for part in self.parts)

    def check(self) -> None:
        """Refuse an expression that no picture, or that every picture fulfils.

        Raises:
            QueryError: says which labels are wanted and not wanted; or there are too many to tell.
        """
        names = self.names
        if len(names) > MOST_LABELS:
            raise QueryError(
                f"The query names {len(names)} labels; at most {MOST_LABELS} are taken. Leave out "
                "those that matter least."
            )
        every = torch.arange(2 ** len(names))
        ways = {name: (every >> place & 1).float() for place, name in enumerate(names)}
        holds = self.likelihood(ways) > 0.5  # (2 ** labels,)
        if holds.any() and not holds.all():
            return
        mentioned = Counter(name for name, _ in self.literals)
        both = " and ".join(repr(name) for name in names if mentioned[name] > 1)
        what = "every picture fulfils it" if holds.any() else "no picture can fulfil it"
        raise QueryError(
            f"The labels {str(self)!r} contradict themselves: {both} is wanted and not wanted, so "
            f"that {what}. Leave one of them out."
        )


def read_labels(text: str, known: Sequence[str], *, nearest: Nearest | None = None) -> LabelQuery:
    """Read an expression over labels that are known.

    ``not`` binds more closely than ``and``, and that more closely than ``or``. Case, hyphens and
    underscores of a label make no difference; one that holds such a word stands in quotes.

    Args:
        text: the expression.
        known: the labels.
        nearest: names labels for a word that no label is called; by default only those spelt alike
            are offered.

    Raises:
        QueryError: it is empty, broken or too long, names an unknown label, or contradicts itself.
    """
    if not isinstance(text, str) or not text.strip():
        raise QueryError(f"The labels are {text!r}; expected an expression, such as '{_EXAMPLE}'.")
    if len(text) > _MOST_CHARACTERS:
        raise QueryError(
            f"The labels have {len(text):,} characters; at most {_MOST_CHARACTERS:,} are read."
        )
    reader = _Reader(text, known, nearest)
    query = reader.joined("or")
    reader.expect_end()
    query.check()
    return query


def any_spelling(label: str) -> str:
    """Return a label as it is compared: ``mobile-home`` and ``Mobile home`` are one."""
    return _SEPARATORS.sub(" ", label).strip().casefold()


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str, known: Sequence[str], nearest: Nearest | None) -> None:
        self._text, self._nearest = text, nearest
        self._known = {any_spelling(name): name for name in known}
        self._tokens = list(_tokens(text))
        self._depth = 0

    def joined(self, kind: str) -> LabelQuery:
        """Read parts joined by ``or``, or by ``and``; one part alone is itself."""
        read = self._one if kind == "and" else lambda: self.joined("and")
        parts = [read()]
        while self._next() == (kind, False):
            self._tokens.pop(0)
            parts.append(read())
        once = tuple(dict.fromkeys(parts))
        return once[0] if len(once) == 1 else LabelQuery(kind, once)

    def expect_end(self) -> None:
        """Refuse what stands behind a whole expression."""
        if self._tokens:
            raise self._broken(f"{self._tokens[0][0]!r} stands where 'and' or 'or' was expected")

    def _one(self) -> LabelQuery:
        """Read a label or an expression in brackets, with any number of ``not`` before it."""
        denied = False
        while self._next() == ("not", False):
            self._tokens.pop(0)
            denied = not denied
        inside = self._brackets() if self._next() == ("(", False) else self._label()
        return LabelQuery("not", (inside,)) if denied else inside

    def _brackets(self) -> LabelQuery:
        self._tokens.pop(0)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._broken(f"brackets lie more than {_DEEPEST} deep")
        inside = self.joined("or")
        if self._next() != (")", False):
            raise self._broken("a bracket is not closed")
        self._tokens.pop(0)
        self._depth -= 1
        return inside

    def _label(self) -> LabelQuery:
        said, quoted = self._next()
        if not quoted and said in ("", ")", *_JOINING):
            where = f"before {said!r}" if said else "at the end"
            raise self._broken(f"a label is missing {where}")
        self._tokens.pop(0)
        name = self._known.get(any_spelling(said))
        if name is None:
            raise QueryError(self._unknown(said))
        return LabelQuery("label", name=name)

    def _next(self) -> tuple[str, bool]:
        return self._tokens[0] if self._tokens else ("", False)

    def _broken(self, found: str) -> QueryError:
        return QueryError(
            f"The labels {self._text!r} are not understood: {found}. Expected labels with and, or, "
            f"not and brackets, such as '{_EXAMPLE}'."
        )

    def _unknown(self, said: str) -> str:
        alike = get_close_matches(any_spelling(said), self._known, n=3, cutoff=0.7)
        near = [self._known[each] for each in alike]
        near += [
            each for each in (self._nearest(said) if self._nearest else ()) if each not in near
        ]
        names = sorted(self._known.values())
        told = f" Did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""
        more = f", and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        return (
            f"No label is called {said!r}.{told} The labels are {', '.join(names[:_MOST_LISTED])}"
            f"{more}."
        )


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Yield words that join, brackets and labels, whose words are put together; and if quoted."""
    words, place = list[str](), 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None:
            raise QueryError(f"The labels {text!r} are not understood: a quote is not closed.")
        place = found.end()
        quoted, sign, word = found[1] or found[2], found[3], found[4]
        plain = word is not None and word.casefold() not in _JOINING
        if plain:
            words.append(word)
            continue
        if words:
            yield " ".join(words), False
            words = []
        yield (quoted, True) if quoted else (sign or word.casefold(), False)
    if words:
        yield " ".join(words), False
