"""How a text that denies something is read."""

import pytest

from rsctir_hf.search.negation import denies, read_negation


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("boats without sand", "boats", ("sand",)),
        ("A road without any cars.", "A road", ("cars",)),
        ("a runway with no planes", "a runway", ("planes",)),
        ("boats but not sand", "boats", ("sand",)),
        ("ships, not sand", "ships", ("sand",)),
        ("harbor, no boats", "harbor", ("boats",)),
        ("harbor, but no boats", "harbor", ("boats",)),
        ("beach without trees, cars or boats", "beach", ("trees", "cars", "boats")),
        ("water but no sand and no cars", "water", ("sand", "cars")),
        ("no boats", "", ("boats",)),
        ("There are no cars", "", ("cars",)),
    ],
)
def test_a_plain_denial_is_read_as_parts(text, wanted, unwanted):
    assert read_negation(text) == (wanted, unwanted)
    assert denies(text)


@pytest.mark.parametrize(
    "text",
    ["boats beside a pier", "runway no 5", "No. 12", "a notable piano", "Northern canoes"],
)
def test_a_text_that_denies_nothing_is_left_alone(text):
    assert read_negation(text) is None
    assert not denies(text)


@pytest.mark.parametrize(
    "text",
    [
        "not far from a river",
        "a beach without trees and with boats",
        "no boats without sand",
        "two roads that are not parallel",
        "without",
    ],
)
def test_what_is_not_surely_understood_is_not_taken_apart(text):
    assert read_negation(text) is None
