"""When two captions are the same sentence."""

import pytest

from rsctir_hf.files.sentences import normalise_caption, number_captions


@pytest.mark.parametrize(
    "same",
    ["Many boats .", "many boats.", "  Many\tboats ", "MANY  BOATS . ", "many boats\n"],
)
def test_spelling_of_space_case_and_stop_makes_no_difference(same):
    assert normalise_caption(same) == "many boats"


def test_other_words_and_inner_punctuation_make_a_difference():
    assert normalise_caption("many boat") != normalise_caption("many boats")
    assert normalise_caption("boats , piers .") == "boats, piers"


def test_sentences_are_numbered_once_each():
    rows, total = number_captions([["a b .", "c"], ["C.", "A b"], ["d", "d"], []])
    assert rows == [[0, 1], [0, 1], [2], []]
    assert total == 3


def test_a_comma_makes_another_sentence_and_bare_stops_are_kept():
    assert normalise_caption("A pier , with boats .") == normalise_caption("a pier, with boats")
    assert normalise_caption("a pier, with boats") != normalise_caption("a pier with boats")
    assert normalise_caption(" ... ") == "..."
