"""The HTML of results, details, badges and messages: pure functions of records.

Every text that comes from a file or a visitor is escaped here. Curly braces and dollar signs are
written as entities, because ``gr.HTML`` treats them as template marks.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from rsctir_hf.search.confidence import Level
from rsctir_hf.ui.server.messages import counted, without_folders

_DIVIDER = (
    '<p class="rs-divider"><span>Weaker matches: these fit less well. Another query may find '
    "better ones.</span></p>"
)
#: By name: sign, words and key of what can be done with a result.
ACTS = {
    "good": ("✓", "Good: this is what I look for", "g"),
    "bad": ("✗", "Bad: this is not what I look for", "b"),
    "keep": ("+", "Collect", "c"),
}
#: Said after the coordinates of what our own code drew.
MADE_UP = ", a made-up place"
_MARKS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


@dataclass(frozen=True)
class Card:
    """One result, ready to be shown.

    Attributes:
        title: caption in quotation marks, or file name.
        subtitle: file name below a caption; may be empty.
        picture: data URI, or an empty string for a result that is a sentence.
        score: cosine, or how likely it fits; None: nothing asked, or no order by it.
        rank: place after reranking, from 1; 0 where nothing was asked.
        moved: places gained by reranking (negative: lost); None without reranking.
        weak: it does not fit well; shown all the same.
        key: what tells its picture from others; with one, it can be marked and collected.
        merged: how many pictures or windows it stands for.
    """

    title: str
    subtitle: str
    picture: str
    score: float | None
    rank: int
    moved: int | None = None
    weak: bool = False
    key: str = ""
    merged: int = 1


def escape(text: object) -> str:
    """Escape text for use inside a ``gr.HTML``."""
    return html.escape(str(text)).translate(_MARKS)


def card_grid(cards: Sequence[Card], *, label: str) -> str:
    """Lay picture results out as a grid of buttons; ``data-item`` is the position in ``cards``.

    The weak ones at the end stand apart, below a line that says so.
    """
    strong = len(cards)
    while strong and cards[strong - 1].weak:
        strong -= 1
    items = [
        f'<li data-key="{escape(card.key)}">{_picture_card(card, item)}{acts() if card.key else ""}'
        "</li>"
        for item, card in enumerate(cards)
    ]
    grids = [_grid(items[:strong], label)] if strong or not items else []
    if items[strong:]:
        grids += [_DIVIDER] if strong else []
        grids += [_grid(items[strong:], f"{label}, weaker matches")]
    return "".join(grids)


def acts() -> str:
    """Return the buttons that mark a picture or collect it; ``app.js`` knows of which one."""
    buttons = "".join(
        f'<button type="button" class="rs-act" data-act="{act}" aria-pressed="false" '
        f'aria-label="{words}" title="{words} ({key})">{sign}</button>'
        for act, (sign, words, key) in ACTS.items()
    )
    return f'<span class="rs-acts" role="group" aria-label="Mark">{buttons}</span>'


def _grid(items: Sequence[str], label: str) -> str:
    return f'<ol class="rs-grid" aria-label="{escape(label)}">{"".join(items)}</ol>'


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


def is_weak(level: Level | None) -> bool:
    """Tell whether a result does not fit well; one that was not judged may."""
    return level is Level.NOTHING


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


def pages_nav(page: int, pages: int) -> str:
    """Return the buttons that turn the pages of the gallery."""
    if pages < 2:
        return ""
    back = _page_button(page - 1, "Previous pictures", disabled=page == 1)
    on = _page_button(page + 1, "More pictures", disabled=page == pages)
    return (
        f'<nav class="rs-pages" aria-label="Pages of the gallery">{back}<span>Page {page} of '
        f"{pages}</span>{on}</nav>"
    )


def _page_button(page: int, label: str, *, disabled: bool) -> str:
    off = " disabled" if disabled else ""
    return f'<button type="button" class="rs-page" data-item="{page}"{off}>{label}</button>'


def progress_bar(text: str, done: int, total: int) -> str:
    """Return a progress bar with its state in words; without a total, how far is not known."""
    if not total:
        return (
            '<div class="rs-progress" role="status"><span class="rs-spinner" aria-hidden="true">'
            f"</span><span>{escape(text)}</span></div>"
        )
    return (
        f'<div class="rs-progress"><span>{escape(text)}</span><div class="rs-track" '
        f'role="progressbar" aria-label="Pictures made ready" aria-valuenow="{done}" '
        f'aria-valuemax="{total}"><i style="width:{100 * done / total:.1f}%"></i></div></div>'
    )


def detail(picture: str, title: str, facts: Sequence[tuple[str, str]], *, copied: str = "") -> str:
    """Return the large picture of a result, with facts beside it and what its button copies."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return (
        f'<figure class="rs-detail" data-copy="{escape(copied)}"><img src="{picture}" '
        f'alt="{escape(title)}"><figcaption>{escape(title)}<dl>{rows}</dl></figcaption></figure>'
    )


def moved_in_words(moved: int | None) -> str:
    """Say in words what reranking did to a result; empty without reranking."""
    if moved is None:
        return ""
    if moved == 0:
        return "same place"
    return f"{'up' if moved > 0 else 'down'} {counted(abs(moved), 'place')}"


def _picture_card(card: Card, item: int) -> str:
    """Return a card as a button; what is read to it is what stands on it."""
    file = escape(card.subtitle).replace("_", "_<wbr>")  # where a long name may break
    subtitle = f'<span class="rs-subtitle">{file}</span>' if file else ""
    rank = f'<span class="rs-rank">{_spoken("Rank ")}{card.rank}</span>' if card.rank else ""
    scored = card.score is not None
    line = f'<span class="rs-line">{_score(card)}{_move(card.moved)}</span>' if scored else ""
    kind = "rs-card rs-weak" if card.weak else "rs-card"
    return (
        f'<button type="button" class="{kind}" data-item="{item}">'
        f'<span class="rs-frame"><img src="{card.picture}" alt="" loading="lazy">{rank}</span>'
        f'<span class="rs-body"><span class="rs-title">{escape(card.title)}</span>{subtitle}'
        f"{_merged(card.merged)}{line}</span></button>"
    )


def _merged(count: int) -> str:
    return f'<span class="rs-merged">stands for {counted(count, "picture")}</span>' * (count > 1)


def _spoken(text: str) -> str:
    """Return words for screen readers alone."""
    return f'<span class="rs-spoken">{text}</span>'


def _score(card: Card) -> str:
    score = card.score or 0.0
    width = 100 * min(max(score, 0.0), 1.0)
    return (
        f'<span class="rs-score" title="Similarity: 1 is identical">'
        f'<span class="rs-bar" aria-hidden="true"><i style="width:{width:.0f}%"></i></span>'
        f"<span>{_spoken('similarity ')}{round(score, 2) + 0.0:.2f}</span></span>"
    )


def _move(moved: int | None) -> str:
    if moved is None:
        return ""
    sign, kind = ("=", "same") if moved == 0 else ("▲", "up") if moved > 0 else ("▼", "down")
    return (
        f'<span class="rs-move rs-move-{kind}" title="{moved_in_words(moved)} after reranking">'
        f'<span aria-hidden="true">{sign}</span>{abs(moved) or ""}'
        f"{_spoken(moved_in_words(moved))}</span>"
    )
