"""Expressions over labels: how they are read, what they mean, and what is refused."""

import pytest
import torch

from rsctir_hf.errors import QueryError
from rsctir_hf.labels.expression import MOST_LABELS, read_labels

KNOWN = ("bare-soil", "dock", "mobile-home", "sand", "sea", "ship", "trees and grass", "water")


def truth(text, **shown):
    """Tell whether an expression holds of a picture that shows exactly this."""
    query = read_labels(text, KNOWN)
    likely = {name: torch.tensor([float(name in shown)]) for name in KNOWN}
    return bool(query.likelihood(likely)[0])


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("ship", "ship"),
        ("ship and dock and not sand", "ship and dock and not sand"),
        ("ship or dock and sea", "ship or dock and sea"),
        ("(ship or dock) and sea", "(ship or dock) and sea"),
        ("not (ship or dock)", "not (ship or dock)"),
        ("NOT ship AND Dock", "not ship and dock"),
        ("not not ship", "ship"),
        ("((ship))and(not(dock))", "ship and not dock"),
        ("ship and ship or ship", "ship"),
        ("ship and not (dock and (sea or not sand))", "ship and not (dock and (sea or not sand))"),
    ],
)
def test_an_expression_holds_where_python_says_so(text, python):
    names = ("ship", "dock", "sea", "sand")
    for way in range(2 ** len(names)):
        shown = {name: True for place, name in enumerate(names) if way >> place & 1}
        expected = eval(python, {name: name in shown for name in names})
        assert truth(text, **shown) == expected, shown


def test_likelihoods_multiply_and_are_what_is_left():
    likely = {"ship": torch.tensor([0.5, 1.0]), "dock": torch.tensor([0.4, 0.0])}
    for text, expected in (
        ("ship and dock", [0.2, 0.0]),
        ("ship and not dock", [0.3, 1.0]),
        ("ship or dock", [0.7, 1.0]),  # 1 - 0.5 * 0.6
        ("not (ship and dock)", [0.8, 1.0]),
    ):
        assert read_labels(text, KNOWN).likelihood(likely).tolist() == pytest.approx(expected)


def test_a_label_is_found_in_any_spelling_and_of_several_words():
    for text in ("bare-soil", "Bare soil", "bare_soil", '"bare-soil"', " bare   SOIL "):
        assert read_labels(text, KNOWN).names == ("bare-soil",)
    query = read_labels("'trees and grass' and not mobile home", KNOWN)
    assert query.names == ("trees and grass", "mobile-home")
    assert str(query) == '"trees and grass" and not mobile-home'


@pytest.mark.parametrize("text", ["ship and (dock or not sand)", "not (ship or dock)", "ship"])
def test_what_is_written_reads_the_same(text):
    query = read_labels(text, KNOWN)
    assert str(query) == text and read_labels(str(query), KNOWN) == query


def test_labels_and_whether_they_are_wanted_stand_in_order():
    query = read_labels("ship and not (dock or not sand) and ship", KNOWN)
    assert query.literals == (("ship", True), ("dock", False), ("sand", True))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ship and not ship", "'ship' .* no picture can fulfil it"),
        ("ship and dock and not (sea or ship)", "'ship' .* no picture can fulfil it"),
        ("not (ship or not ship)", "'ship' .* no picture can fulfil it"),
        ("(ship and dock) and not (dock and ship)", "'ship' and 'dock' .* no picture"),
        ("ship or not ship", "'ship' .* every picture fulfils it"),
    ],
)
def test_a_contradiction_is_refused_and_its_label_named(text, what):
    with pytest.raises(QueryError, match=f"contradict themselves: {what}"):
        read_labels(text, KNOWN)


def test_a_label_both_wanted_and_not_is_taken_where_it_can_hold():
    assert truth("(ship and dock) or (not ship and sand)", sand=True)


def test_an_unknown_label_is_answered_with_the_nearest():
    with pytest.raises(QueryError, match=r"No label is called 'shipp'\. Did you mean 'ship'\?"):
        read_labels("shipp and dock", KNOWN)
    with pytest.raises(
        QueryError, match=r"Did you mean 'ship' or 'sea'\? The labels are bare-soil"
    ):
        read_labels("boat", KNOWN, nearest=lambda said: ["ship", "sea"])
    with pytest.raises(QueryError, match=r"No label is called 'ship but'"):
        read_labels("ship but not dock", KNOWN)
    many = [f"label {place}" for place in range(100)]
    with pytest.raises(QueryError, match="and 60 more"):
        read_labels("zzz", many)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "''; expected"),
        ("  ", "expected an expression"),
        (None, "None; expected"),
        ("and", "a label is missing before 'and'"),
        ("ship and", "a label is missing at the end"),
        ("ship or or dock", "a label is missing before 'or'"),
        ("()", r"a label is missing before '\)'"),
        ("(ship", "a bracket is not closed"),
        ("ship)", r"'\)' stands where"),
        ("ship (dock)", r"'\(' stands where"),
        ('"ship', "a quote is not closed"),
        ("(" * 30 + "ship" + ")" * 30, "more than 20 deep"),
        ("not " * 600 + "ship", "2,404 characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_an_example(text, found):
    with pytest.raises(QueryError, match=found):
        read_labels(text, KNOWN)


def test_many_nots_and_labels_are_read_and_too_many_labels_refused():
    assert truth("not " * 400 + "ship", ship=True)
    many = [f"l{place}" for place in range(MOST_LABELS + 1)]
    assert len(read_labels(" and ".join(many[:-1]), many).names) == MOST_LABELS
    with pytest.raises(QueryError, match=f"names {MOST_LABELS + 1} labels; at most {MOST_LABELS}"):
        read_labels(" or ".join(many), many)
