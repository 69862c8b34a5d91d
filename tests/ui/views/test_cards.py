"""The HTML of results and messages."""

from rsctir_hf.ui.views.cards import Card, badge, card_grid, moved_in_words, notice, sentence_list

CARD = Card("a pier", "pier.png", "data:image/jpeg;base64,", score=0.25, rank=2, moved=3)


def test_a_card_is_a_button_that_says_rank_score_and_move():
    grid = card_grid([CARD], label="Pictures")
    assert '<button type="button"' in grid
    assert 'aria-label="Rank 2: a pier, similarity 0.25, up 3 places"' in grid
    assert 'alt="a pier"' in grid
    assert "▲" in grid
    assert "width:25%" in grid


def test_a_negative_score_has_an_empty_bar():
    assert "width:0%" in sentence_list([Card("a", "", "", score=-0.5, rank=1)])


def test_moves_are_said_in_words():
    said = [moved_in_words(moved) for moved in (None, 0, 1, -1, 4, -7)]
    assert said == ["", "same place", "up 1 place", "down 1 place", "up 4 places", "down 7 places"]


def test_text_from_visitors_cannot_become_markup_or_a_template():
    shown = notice("hint", "<b>title</b>", "${alert(1)} {{value}} `x`") + badge("<i>", "<u>")
    for mark in ("<b>", "<i>", "<u>", "${", "{{", "`"):
        assert mark not in shown


def test_errors_are_announced_to_screen_readers():
    assert 'role="alert"' in notice("error", "Broken")
    assert 'role="status"' in notice("info", "Fine")
