"""The HTML of results, details, badges and messages: pure functions of records.

Every text that comes from a file or a visitor is escaped here. Curly braces and dollar signs are
written as entities, because ``gr.HTML`` treats them as template marks.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from rsctir_hf.search.confidence import Level
from rsctir_hf.ui.server.messages import counted, without_folders

#: Said after the coordinates of what our own code drew.
MADE_UP = ", a made-up place"
_MARKS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


@dataclass(frozen=True)
class Card:
    """One result, ready to be shown.

    Attributes:
        title: caption or file name.
        subtitle: file name below a caption; may be empty.
        picture: data URI, or an empty string for a result that is a sentence.
        score: cosine similarity, -1..1.
        rank: place after reranking, from 1.
        moved: places gained by reranking (negative: lost); None without reranking.
    """

    title: str
    subtitle: str
    picture: str
    score: float
    rank: int
    moved: int | None = None


def escape(text: object) -> str:
    """Escape text for use inside a ``gr.HTML``."""
    return html.escape(str(text)).translate(_MARKS)


def card_grid(cards: Sequence[Card], *, label: str) -> str:
    """Lay picture results out as a grid of buttons; ``data-item`` is the position in ``cards``."""
    items = "".join(f"<li>{_picture_card(card, item)}</li>" for item, card in enumerate(cards))
    return f'<ol class="rs-grid" aria-label="{escape(label)}">{items}</ol>'


def sentence_list(cards: Sequence[Card]) -> str:
    """Lay caption results out as a list with score bars."""
    items = "".join(
        f'<li class="rs-sentence"><span class="rs-rank">{card.rank}</span>'
        f'<div class="rs-sentence-body"><span class="rs-title">{escape(card.title)}</span>'
        f"{_score(card)}</div>{_move(card.moved)}</li>"
        for card in cards
    )
    return f'<ol class="rs-sentences" aria-label="Best captions">{items}</ol>'


def notice(kind: str, title: str, text: str = "") -> str:
    """Return a message: ``kind`` is info, hint, warning or error, and is also said in words."""
    sign = {"info": "i", "hint": "?", "warning": "!", "error": "×"}[kind]  # noqa: RUF001
    role = "alert" if kind == "error" else "status"
    body = f"<p>{escape(text)}</p>" if text else ""
    return (
        f'<div class="rs-notice rs-{kind}" role="{role}"><span class="rs-sign" aria-hidden="true">'
        f"{sign}</span><div><strong>{escape(title)}</strong>{body}</div></div>"
    )


def refusal(error: Exception, title: str = "This search cannot be answered") -> str:
    """Return a message that says why something is not done."""
    return notice("error", title, without_folders(error))


def hint(text: str | None) -> str:
    """Return what to know about a query; empty where there is nothing."""
    return notice("hint", "About your query", text) if text else ""


def doubts(where: str, found: str) -> dict[Level | None, str]:
    """Return what to say, by level, where nothing ``where`` surely fits, though it is ``found``."""
    nothing = f"Nothing in this {where} fits well. These are the nearest {found} all the same."
    perhaps = f"The nearest {found} of this {where} are not clearly what you asked for."
    return {
        Level.NOTHING: notice("warning", "No confident match", nothing),
        Level.PERHAPS: notice("hint", "Perhaps a match", perhaps),
    }


def note(markup: str) -> str:
    """Return small print; what comes from a file or a visitor is escaped already."""
    return f'<p class="rs-note">{markup}</p>'


def heading(text: str) -> str:
    """Return a heading above results."""
    return f'<h2 class="rs-head">{escape(text)}</h2>'


def badge(label: str, value: str, note: str = "") -> str:
    """Return one badge of the header."""
    small = f'<span class="rs-badge-note">{escape(note)}</span>' if note else ""
    return (
        f'<div class="rs-badge"><span class="rs-badge-label">{escape(label)}</span>'
        f'<span class="rs-badge-value">{escape(value)}</span>{small}</div>'
    )


def progress_bar(text: str, done: int, total: int) -> str:
    """Return a progress bar with its state in words; without a total it only says the words."""
    share = 100 * done / total if total else 100
    moving = "" if total else " rs-busy"
    return (
        f'<div class="rs-progress" role="status"><span>{escape(text)}</span>'
        f'<div class="rs-track{moving}"><i style="width:{share:.0f}%"></i></div></div>'
    )


def detail(picture: str, title: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return the large picture of a result with a list of facts."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return (
        f'<figure class="rs-detail"><img src="{picture}" alt="{escape(title)}">'
        f"<figcaption>{escape(title)}</figcaption><dl>{rows}</dl></figure>"
    )


def moved_in_words(moved: int | None) -> str:
    """Say in words what reranking did to a result; empty without reranking."""
    if moved is None:
        return ""
    if moved == 0:
        return "same place"
    return f"{'up' if moved > 0 else 'down'} {counted(abs(moved), 'place')}"


def _picture_card(card: Card, item: int) -> str:
    words = f"Rank {card.rank}: {card.title}, similarity {card.score:.2f}"
    change = moved_in_words(card.moved)
    spoken = f"{words}, {change}" if change else words
    subtitle = f'<span class="rs-subtitle">{escape(card.subtitle)}</span>' if card.subtitle else ""
    return (
        f'<button type="button" class="rs-card" data-item="{item}" aria-label="{escape(spoken)}">'
        f'<span class="rs-frame"><img src="{card.picture}" alt="{escape(card.title)}" '
        f'loading="lazy"><span class="rs-rank">{card.rank}</span></span>'
        f'<span class="rs-body"><span class="rs-title">{escape(card.title)}</span>{subtitle}'
        f'<span class="rs-line">{_score(card)}{_move(card.moved)}</span></span></button>'
    )


def _score(card: Card) -> str:
    width = 100 * min(max(card.score, 0.0), 1.0)
    return (
        f'<span class="rs-score" title="Cosine similarity, 1 is identical">'
        f'<span class="rs-bar" aria-hidden="true"><i style="width:{width:.0f}%"></i></span>'
        f"<span>{round(card.score, 2) + 0.0:.2f}</span></span>"
    )


def _move(moved: int | None) -> str:
    if moved is None:
        return ""
    sign, kind = ("=", "same") if moved == 0 else ("▲", "up") if moved > 0 else ("▼", "down")
    return (
        f'<span class="rs-move rs-move-{kind}" title="{moved_in_words(moved)} after reranking">'
        f'<span aria-hidden="true">{sign}</span>{abs(moved) or ""}'
        f'<span class="rs-spoken">{moved_in_words(moved)}</span></span>'
    )
