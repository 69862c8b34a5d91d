"""An audit of a table, its list and its page."""

import csv
import io
import re
from dataclasses import replace

import datasets
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rsctir_hf.audit.audit_page import MOST_SHOWN, audit_page
from rsctir_hf.audit.findings import Findings, Suspect, audit
from rsctir_hf.data.left_out import leave_out, read_pairs
from rsctir_hf.errors import DataLayoutError

KINDS = ("pier", "farm", "river", "runway", "forest", "stadium", "beach", "bridge")
PICTURES = 96
OTHER = [(number + 1 + number % 5) % len(KINDS) for number in range(PICTURES)]


class Scripted:
    """An encoder for which pictures of one colour, and sentences of one kind, lie together."""

    id = "scripted"

    model = property(lambda self: self)

    def modules(self):
        return ()

    def inputs(self, pictures):
        return {"pixel_values": torch.tensor([p.getpixel((0, 0))[0] for p in pictures])}

    def get_image_features(self, pixel_values):
        return torch.stack([self._vector(kind) for kind in pixel_values])

    def texts(self, sentences):
        kinds = [next(n for n, kind in enumerate(KINDS) if kind in text) for text in sentences]
        return torch.stack([self._vector(kind) for kind in kinds])

    def _vector(self, kind):
        return F.normalize(torch.eye(len(KINDS))[kind] + 0.15 * torch.randn(len(KINDS)), dim=0)


def rows(wrong=()):
    kinds = [number % len(KINDS) for number in range(PICTURES)]
    said = [OTHER[number] if number in wrong else kind for number, kind in enumerate(kinds)]
    return datasets.Dataset.from_dict(
        {
            "image": [Image.new("RGB", (8, 8), (kind, 0, 0)) for kind in kinds],
            "captions": [
                [f"A {KINDS[kind]} with {number} <b>cars", f"{KINDS[kind]} number {number}"]
                for number, kind in enumerate(said)
            ],
            "file_name": [f"{number}.png" for number in range(PICTURES)],
        },
        features=datasets.Features(
            image=datasets.Image(),
            captions=datasets.List(datasets.Value("string")),
            file_name=datasets.Value("string"),
        ),
    )


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


WRONG = frozenset(range(0, PICTURES, 7))


def test_an_audit_lists_the_wrong_pairs_worst_first_and_what_like_pictures_say():
    found = audit(Scripted(), rows(WRONG), data="mine")
    rows_listed = {each.row for each in found.suspects}
    assert rows_listed >= WRONG and len(rows_listed - WRONG) <= 2
    assert [each.score for each in found.suspects] == sorted(s.score for s in found.suspects)
    assert (found.pictures, found.pairs) == (PICTURES, 2 * PICTURES)
    for each in found.suspects:
        assert each.row not in WRONG or KINDS[OTHER[each.row]] in each.caption.lower()
        assert len(each.instead) == 2
    right = sum(
        KINDS[s.row % len(KINDS)] in said.lower() for s in found.suspects for said in s.instead
    )
    assert right > 0.9 * 2 * len(found.suspects)


def test_the_list_is_what_a_training_leaves_out(tmp_path):
    table = rows(WRONG)
    found = audit(Scripted(), table, data="mine")
    (tmp_path / "list.csv").write_bytes(found.csv())
    kept = leave_out(table, read_pairs(tmp_path / "list.csv"))
    assert sum(map(len, kept["captions"])) == 2 * PICTURES - len(found.suspects)
    gone = {text for each in table["captions"] for text in each}
    gone -= {text for each in kept["captions"] for text in each}
    assert gone == {each.caption for each in found.suspects}


def test_of_a_clean_set_next_to_nothing_is_listed():
    assert len(audit(Scripted(), rows(), data="mine").suspects) <= 2


def test_an_empty_list_can_be_read(tmp_path):
    found = Findings("m", "d", PICTURES, 2 * PICTURES, [])
    (tmp_path / "list.csv").write_bytes(found.csv())
    assert read_pairs(tmp_path / "list.csv") == set()
    assert not found.most and "No caption looks wrong." in audit_page(found, rows())


def test_too_few_pictures_are_refused():
    with pytest.raises(DataLayoutError, match=r"mine has 19 captioned pictures.*at least 20"):
        audit(Scripted(), rows().take(19), data="mine")


def test_the_page_shows_every_picture_with_its_captions_and_runs_none_of_them():
    table = rows(WRONG)
    found = audit(Scripted(), table, data="mine <i>")
    page = audit_page(found, table)
    shown = {each.row for each in found.suspects}
    assert page.count("data:image/jpeg;base64,") == len(shown)
    assert "<b>cars" not in page and "&lt;b&gt;cars" in page and "mine &lt;i&gt;" in page
    assert "Said of the pictures most like it" in page
    assert not re.search(r"https?://", page)


def test_the_page_says_how_many_pictures_it_leaves_to_the_list_and_that_most_look_wrong():
    table = rows()
    suspect = Suspect(0, "0.png", table["captions"][0][0], 0.9, -1.0, ())
    found = Findings("m", "d", PICTURES, 2 * PICTURES, [suspect] * 97)
    assert found.most and "More than half of the pairs look wrong" in audit_page(found, table)
    assert not replace(found, suspects=[suspect] * 96).most
    many = [replace(suspect, row=row % PICTURES) for row in range(MOST_SHOWN)]
    assert "more pictures are in" not in audit_page(replace(found, suspects=many), table)


def test_cells_that_a_spreadsheet_would_run_come_back_as_they_were(tmp_path):
    suspect = Suspect(0, "=cmd.png", "-1 degrees, a bay", 0.9, -1.0, ("a", "b"))
    found = Findings("m", "d", 20, 20, [suspect])
    row = next(csv.DictReader(io.StringIO(found.csv().decode("utf-8-sig"))))
    assert row["picture"] == "'=cmd.png" and row["caption"] == "'-1 degrees, a bay"
    (tmp_path / "list.csv").write_bytes(found.csv())
    assert read_pairs(tmp_path / "list.csv") == {("=cmd.png", "-1 degrees, a bay")}
