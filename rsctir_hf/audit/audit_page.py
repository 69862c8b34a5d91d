"""The page that shows which captions look wrong, to be looked at before anything is left out.

It is one file without references to others.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import jinja2

from rsctir_hf.audit.findings import Findings, Suspect
from rsctir_hf.data.collator import picture_source, undecoded
from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.files.pictures import read_image

PAGE_FILE, LIST_FILE = "report.html", "looks_wrong.csv"
TEMPLATE = Path(__file__).with_name("audit_page.html")
MOST_SHOWN = 300  # pictures; a page of more is slow to open
SIDE = 240  # pixels of a thumbnail


def audit_page(findings: Findings, table: datasets.Dataset) -> str:
    """Return the page; pictures come in the order of their worst caption."""
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    by_row: dict[int, list[Suspect]] = {}
    for suspect in findings.suspects:
        by_row.setdefault(suspect.row, []).append(suspect)
    return template.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        found=findings,
        list_file=LIST_FILE,
        affected=len(by_row),
        most_shown=MOST_SHOWN,
        cards=_cards(dict(islice(by_row.items(), MOST_SHOWN)), table),
    )


def _cards(by_row: dict[int, list[Suspect]], table: datasets.Dataset) -> Iterator[dict[str, Any]]:
    pictures = undecoded(table)
    for row, suspects in by_row.items():
        content = pictures[row]
        wrong = {suspect.caption for suspect in suspects}
        yield {
            "name": suspects[0].picture,
            "picture": encode_picture(read_image(picture_source(content["image"])), SIDE),
            "suspects": suspects,
            "others": [text for text in content["captions"] if text not in wrong],
            "instead": suspects[0].instead,
        }
