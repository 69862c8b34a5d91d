"""The HTML of results and messages."""

import re
from dataclasses import replace

from rsctir_hf.ui.views.cards import (
    Card,
    card_grid,
    moved_in_words,
    notice,
    progress_bar,
    sentence_list,
)
from rsctir_hf.ui.views.results import quoted

CARD = Card("a pier", "pier.png", "data:image/jpeg;base64,", score=0.25, rank=2, moved=3)


def test_a_card_is_a_button_that_says_rank_score_and_move():
    grid = card_grid([CARD], label="Pictures")
    assert '<button type="button"' in grid
    read = re.sub(r"<[^>]*>", " ", grid)
    for words in ("Rank  2", "a pier", "pier.png", "similarity  0.25", "up 3 places"):
        assert read.count(words) == 1
    assert "▲" in grid
    assert "width:25%" in grid


def test_a_negative_score_has_an_empty_bar():
    assert "width:0%" in sentence_list([Card("a", "", "", score=-0.5, rank=1)])


def test_moves_are_said_in_words():
    said = [moved_in_words(moved) for moved in (None, 0, 1, -1, 4, -7)]
    assert said == ["", "same place", "up 1 place", "down 1 place", "up 4 places", "down 7 places"]


def test_text_from_visitors_cannot_become_markup_or_a_template():
    shown = notice("hint", "<b>title</b>", "${alert(1)} {{value}} `x`") + progress_bar("<i>", 1, 2)
    for mark in ("<b>", "<i>", "${", "{{", "`"):
        assert mark not in shown


def test_errors_are_announced_to_screen_readers():
    assert 'role="alert"' in notice("error", "Broken")
    assert 'role="status"' in notice("info", "Fine")


def test_weak_results_at_the_end_stand_below_a_line():
    weak = replace(CARD, weak=True)
    grid = card_grid([CARD, weak, CARD, weak, weak], label="Pictures")
    before, after = grid.split('<p class="rs-divider">')
    assert (before.count("data-item"), after.count("data-item")) == (3, 2)
    assert "rs-divider" not in card_grid([CARD], label="") + card_grid([weak], label="")


def test_progress_of_an_unknown_length_shows_no_bar_and_none_done_an_empty_one():
    assert "rs-track" not in progress_bar("Loading", 0, 0)
    assert "rs-spinner" in progress_bar("Loading", 0, 0)
    assert "width:0.0%" in progress_bar("Indexing", 0, 200)
    assert 'aria-valuenow="50" aria-valuemax="200"' in progress_bar("Indexing", 50, 200)


def test_a_long_file_name_may_break_at_its_underscores():
    grid = card_grid([replace(CARD, subtitle="baseball_field_00.jpg")], label="Pictures")
    assert "baseball_<wbr>field_<wbr>00.jpg" in grid


def test_a_caption_is_quoted_without_the_space_before_its_full_stop():
    assert quoted("a pier . and a boat .") == "“a pier . and a boat.”"
