"""Hits as one page: thumbnails with what is known of each, to look at, to mail and to print.

The page holds everything within itself. A browser's *print* makes a PDF of it, whose pages break
between pictures.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from rsctir_hf.collection.features import Feature, TakenHome, box_of, middle_of, picture_of
from rsctir_hf.errors import RsctirError
from rsctir_hf.files.atomic import replacing
from rsctir_hf.files.data_uris import encode_picture

SIDE = 320  # pixels of a thumbnail
_SHOWN = {  # has a line of its own, or says nothing to a reader
    "rank", "score", "level", "file", "caption", "note", "path", "tile", "pixels", "windows",
    "rerank_score", "text", "image", "link",
}  # fmt: skip
_STYLE = """
:root { color-scheme: light; --ink: #16242b; --soft: #5b6b73; --line: #dde3e6; --mark: #0b6b75; }
* { box-sizing: border-box; }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1.5rem; color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; background: #fff; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
header p { color: var(--soft); margin: 0 0 1.5rem; overflow-wrap: anywhere; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
li { border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; break-inside: avoid; }
img, .gone { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: cover;
  background: #edf1f3; }
.gone { display: grid; place-items: center; color: var(--soft); }
.said { padding: .6rem .8rem .8rem; }
.said p { margin: .15rem 0; overflow-wrap: anywhere; }
.top { display: flex; justify-content: space-between; gap: .5rem; font-weight: 600; }
.top span + span { color: var(--mark); font-variant-numeric: tabular-nums; white-space: nowrap; }
.more, .name { color: var(--soft); font-size: .85em; }
.note { border-left: 3px solid var(--mark); padding-left: .5rem; white-space: pre-line; }
@media print {
  @page { margin: 12mm; }
  body { margin: 0; padding: 0; max-width: none; font-size: 10px; }
  ol { grid-template-columns: repeat(4, 1fr); gap: 4mm; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""


def write_contact_sheet(taken: TakenHome, path: Path) -> None:
    """Write the page; the file appears whole or not at all.

    A picture that is gone or unreadable has an empty field that says so.

    Raises:
        StorageError: it cannot be written.
    """
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as page:
        page.writelines(_page(taken))


def _page(taken: TakenHome) -> Iterator[str]:
    title = escape(taken.title or "Pictures found")
    made = str(taken.made_by.get("model") or "")
    facts = [f"{len(taken)} pictures", made, f"{datetime.now(UTC):%Y-%m-%d}", taken.link]
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n<header><h1>{title}</h1>"
        f"<p>{' &middot; '.join(escape(fact) for fact in facts if fact)}</p></header>\n<ol>\n"
    )
    for feature in taken:
        yield _entry(feature)
    yield "</ol></body></html>\n"


def _entry(feature: Feature) -> str:
    said = feature["properties"]
    name, caption = str(said.get("file") or ""), str(said.get("caption") or "")
    score = said.get("score")
    number = f"{said['rank']}. " if said.get("rank") else ""
    lines = [
        f'<p class="top"><span>{number}{escape(caption or name)}</span>'
        f"<span>{'' if score is None else f'{score:.3f}'}</span></p>"
    ]
    lines += [f'<p class="name">{escape(name)}</p>'] if caption else []
    lines += [f'<p class="note">{escape(str(said["note"]))}</p>'] if said.get("note") else []
    more = escape(", ".join(_facts(feature, said)))
    lines += [f'<p class="more">{more}</p>'] if more else []
    shown = _picture(feature, caption or name)
    return f'<li>{shown}<div class="said">{"".join(lines)}</div></li>\n'


def _picture(feature: Feature, alt: str) -> str:
    try:
        uri = encode_picture(picture_of(feature), SIDE)
    except (RsctirError, OSError):
        return '<div class="gone">not there any more</div>'
    return f'<img src="{uri}" alt="{escape(alt)}">'


def _facts(feature: Feature, said: Mapping[str, Any]) -> Iterator[str]:
    box = box_of(feature)
    if box is not None:
        longitude, latitude = middle_of(box)
        yield f"{latitude:.5f} {longitude:.5f}"
    if said.get("tile"):
        yield f"pixels {', '.join(map(str, said['pixels']))}"
    if (said.get("windows") or 1) > 1:
        yield f"stands for {said['windows']}"
    yield from (f"{name}: {value}" for name, value in said.items() if name not in _SHOWN and value)
