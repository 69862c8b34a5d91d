"""The figures of docs/methods.md are those that their script draws, and can be read."""

from itertools import combinations
from xml.etree import ElementTree

import pytest
from draw_methods import FIGURES, FOLDER, LETTERS, drawing

from tests.conftest import ROOT


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_one_that_the_script_draws(name):
    drawn = drawing(FIGURES[name])
    assert (FOLDER / f"{name}.svg").read_text("utf-8") == drawn, "run python docs/draw_methods.py"
    assert ElementTree.fromstring(drawn).get("aria-label")


@pytest.mark.parametrize("name", FIGURES)
def test_boxes_stand_apart_and_hold_their_words_and_arrows_go_on(name):
    boxes = FIGURES[name].boxes
    for one, other in combinations(boxes.values(), 2):
        assert one.column != other.column or abs(one.row - other.row) >= 1, (one, other)
    for box in boxes.values():
        assert len(box.title) <= LETTERS[0] and len(box.line) <= LETTERS[1], box
    for start, end in FIGURES[name].arrows:
        assert 0 <= boxes[end].column - boxes[start].column <= 2


def test_every_figure_stands_in_the_page_and_no_other():
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert {f"{name}.svg" for name in FIGURES} == {file.name for file in FOLDER.iterdir()}
    assert all(page.count(f"](methods/{name}.svg)") == 1 for name in FIGURES)
