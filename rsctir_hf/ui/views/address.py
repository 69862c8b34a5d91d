"""What a visitor looks at in *Search*, and how the address of the page says it."""

from dataclasses import dataclass, fields
from time import monotonic_ns
from urllib.parse import parse_qs, urlencode

from rsctir_hf.ui.views.cards import escape
from rsctir_hf.ui.views.results import NO_RERANK, RERANK_NAMES

RESULTS = 12
MOST_RESULTS = 48
_MOST = 2100  # characters of a value that are read: more than a query may have
_MOST_PLACE = 10**6
TABS = ("search", "picture", "regions", "scene", "about")


@dataclass(frozen=True)
class Asked:
    """One question, or a page of the gallery where there is none.

    Attributes:
        q: the words; empty for none.
        like: file name, below the gallery, of the picture whose likes are asked for.
        rerank: how results are ordered.
        type: scene type that pictures must have; empty for any.
        results: how many.
        page: of the gallery, from 1, where nothing is asked.
        open: place in the grid, from 1, of the picture that is open; 0 for none.
        tab: the tab that is shown.
    """

    q: str = ""
    like: str = ""
    rerank: str = NO_RERANK
    type: str = ""
    results: int = RESULTS
    page: int = 1
    open: int = 0
    tab: str = TABS[0]

    @property
    def address(self) -> str:
        """What stands in the address after the path: all that differs from the default."""
        given = {name: value for name, value in vars(self).items() if value != _DEFAULTS[name]}
        return f"?{urlencode(given)}" if given else ""


_DEFAULTS = {field.name: field.default for field in fields(Asked)}


def read_address(text: object) -> Asked:
    """Read an address; anybody may write one, so what makes no sense is the default."""
    said = parse_qs(str(text or "")[: 4 * _MOST].lstrip("?"))
    given = {name: said[name][0][:_MOST] for name in _DEFAULTS if name in said}
    rerank, tab = given.get("rerank", NO_RERANK), given.get("tab", TABS[0])
    return Asked(
        q=given.get("q", ""),
        like=given.get("like", ""),
        rerank=rerank if rerank in RERANK_NAMES else NO_RERANK,
        type=given.get("type", ""),
        results=_count(given.get("results"), RESULTS, MOST_RESULTS),
        page=_count(given.get("page"), 1, _MOST_PLACE),
        open=_count(given.get("open"), 0, _MOST_PLACE),
        tab=tab if tab in TABS else TABS[0],
    )


def kept_address(asked: Asked) -> str:
    """Return what the page's script reads; the moment makes each answer differ from the last."""
    opened = f' data-open="{asked.open}"' if asked.open else ""
    return f'<i data-address="{escape(asked.address)}" data-moment="{monotonic_ns()}"{opened}></i>'


def _count(text: str | None, default: int, most: int) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        return default
    return min(max(int(text[:9]), min(default, 1)), most)
