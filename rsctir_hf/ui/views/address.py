"""What a visitor looks at in *Search*, and how the address of the page says it.

Filters and the parts of a query have the names that a link of ``search.permalink`` gives them, so
that the page opens what ``rsctir search --json`` prints as ``link``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from os.path import isabs
from time import monotonic_ns
from urllib.parse import parse_qs, urlencode

from rsctir_hf.search.permalink import write_link
from rsctir_hf.ui.views.cards import escape
from rsctir_hf.ui.views.results import NO_RERANK, RERANK_NAMES

RESULTS = 12
MOST_RESULTS = 48
_MOST = 2100  # characters of a value that are read: more than a query may have
_MOST_PLACE = 10**6
MOST_SAID = 20  # parts of a query, and conditions, that an address may hold
TABS = ("search", "picture", "regions", "scene", "about")
_KINDS = {"text": (True, "text"), "image": (True, "image")}
_KINDS |= {"not": (False, "text"), "not_image": (False, "image")}


@dataclass(frozen=True)
class AskedPart:
    """Words or a picture beside the question.

    Attributes:
        text: the words, or empty.
        image: else the name of a picture of the gallery, or the path of an upload.
        wanted: False for what results should not show.
        weight: how much it counts.
    """

    text: str = ""
    image: str = ""
    wanted: bool = True
    weight: float = 1.0

    @property
    def kind(self) -> str:
        """What a link calls it."""
        return next(k for k, v in _KINDS.items() if v == (self.wanted, self._what))

    @property
    def _what(self) -> str:
        return "text" if self.text else "image"


@dataclass(frozen=True)
class Asked:
    """One question, or a page of the gallery where there is none.

    Attributes:
        q: the words; empty for none.
        labels: what pictures show, as ``rsctir search --labels`` takes it; asked only alone.
        like: file name, below the gallery, of the picture whose likes are asked for.
        rerank: how results are ordered.
        type: scene type that pictures must have; empty for any.
        results: how many.
        page: of the gallery, from 1, where nothing is asked.
        open: place in the grid, from 1, of the picture that is open; 0 for none.
        tab: the tab that is shown.
        bbox: ``west,south,east,north`` in degrees that pictures must touch; empty for anywhere.
        after: the first date of pictures, or empty.
        before: the last one.
        fold: ``all``: copies of a picture are folded into the best of them; or empty.
        where: what else pictures must have, as ``rsctir search --where`` takes it.
        parts: more of the question.
        marked: answered by the visitor's marks, which no address holds.
    """

    q: str = ""
    labels: str = ""
    like: str = ""
    rerank: str = NO_RERANK
    type: str = ""
    results: int = RESULTS
    page: int = 1
    open: int = 0
    tab: str = TABS[0]
    bbox: str = ""
    after: str = ""
    before: str = ""
    fold: str = ""
    where: tuple[str, ...] = ()
    parts: tuple[AskedPart, ...] = ()
    marked: bool = False

    @property
    def asks(self) -> bool:
        """Something is asked; else the gallery is browsed."""
        return bool(self.q or self.like or self.parts or self.labels)

    @property
    def filtered(self) -> bool:
        """Only some pictures are wanted, by what is known of them."""
        return bool(self.bbox or self.after or self.before or self.where)

    @property
    def address(self) -> str:
        """What stands in the address after the path: all that differs from the default."""
        given = {name: value for name, value in vars(self).items() if value != _DEFAULTS[name]}
        pairs = [(name, value) for name, value in given.items() if name not in _LISTS]
        pairs += [("where", condition) for condition in self.where]
        pairs += _said_of(self.parts)
        return f"?{urlencode(pairs)}" if pairs else ""

    def link(self, *conditions: str) -> str:
        """Return the link that asks the same of ``rsctir search``, with more conditions."""
        first = [AskedPart(self.q)] if self.q else []
        first += [AskedPart(image=self.like)] if self.like else []
        said: dict[str, list[object]] = {"where": [*self.where, *conditions]}
        for name, value in _said_of([*first, *self.parts]):
            said.setdefault(name, []).append(value)
        for name in ("labels", "bbox", "after", "before", "fold"):
            said[name] = [getattr(self, name)]
        said["rerank"] = [self.rerank if self.rerank != NO_RERANK else None]
        return write_link({**said, "top_k": self.results})


_DEFAULTS = {field.name: field.default for field in fields(Asked)}
_LISTS = ("where", "parts", "marked")


def _said_of(parts: Sequence[AskedPart]) -> list[tuple[str, object]]:
    """Return names and values of parts in the order of a link; weights only where they differ."""
    named = [part for part in parts if not isabs(part.image)]  # uploads are nobody else's
    ordered = sorted(named, key=lambda part: list(_KINDS).index(part.kind))
    said: list[tuple[str, object]] = [(part.kind, part.text or part.image) for part in ordered]
    if any(part.weight != 1 for part in ordered):
        said += [("weight", f"{part.weight:g}") for part in ordered]
    return said


def read_address(text: object) -> Asked:
    """Read an address; anybody may write one, so what makes no sense is the default."""
    said = parse_qs(str(text or "")[: 4 * _MOST].lstrip("?"))
    given = {name: said[name][0][:_MOST] for name in _DEFAULTS if name in said}
    rerank, tab = given.get("rerank", NO_RERANK), given.get("tab", TABS[0])
    asked = Asked(
        q=given.get("q", ""),
        labels=given.get("labels", ""),
        like=given.get("like", ""),
        rerank=rerank if rerank in RERANK_NAMES else NO_RERANK,
        type=given.get("type", ""),
        results=_count(given.get("results") or said.get("top_k", [None])[0], RESULTS, MOST_RESULTS),
        page=_count(given.get("page"), 1, _MOST_PLACE),
        open=_count(given.get("open"), 0, _MOST_PLACE),
        tab=tab if tab in TABS else TABS[0],
        bbox=given.get("bbox", ""),
        after=given.get("after", ""),
        before=given.get("before", ""),
        fold="all" if given.get("fold") == "all" else "",
        where=tuple(each[:_MOST] for each in said.get("where", ())[:MOST_SAID]),
        parts=_parts_of(said),
    )
    return _with_words_first(asked)


def _parts_of(said: dict[str, list[str]]) -> tuple[AskedPart, ...]:
    found = [
        _part(what, value[:_MOST], wanted=wanted)
        for name, (wanted, what) in _KINDS.items()
        for value in said.get(name, ())
    ][:MOST_SAID]
    weights = said.get("weight", [])
    if len(weights) != len(found):
        return tuple(found)
    return tuple(
        replace(part, weight=_weight(text)) for part, text in zip(found, weights, strict=True)
    )


def _part(what: str, value: str, *, wanted: bool) -> AskedPart:
    return AskedPart(value, wanted=wanted) if what == "text" else AskedPart("", value, wanted)


def _with_words_first(asked: Asked) -> Asked:
    """Let the first words of a link of the command line be those of the box."""
    first = asked.parts[0] if asked.parts else AskedPart()
    if asked.q or asked.like or not (first.text and first.wanted and first.weight == 1):
        return asked
    return replace(asked, q=first.text, parts=asked.parts[1:])


def kept_address(asked: Asked) -> str:
    """Return what the page's script reads; the moment makes each answer differ from the last."""
    opened = f' data-open="{asked.open}"' if asked.open else ""
    return f'<i data-address="{escape(asked.address)}" data-moment="{monotonic_ns()}"{opened}></i>'


def _weight(text: str) -> float:
    try:
        weight = float(text[:20])
    except ValueError:
        return 1.0
    return weight if 0 < weight < 1000 else 1.0


def _count(text: str | None, default: int, most: int) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        return default
    return min(max(int(text[:9]), min(default, 1)), most)
