"""What a person is told about a query."""

from pathlib import Path

import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.search.query import (
    QueryPart,
    check_top_k,
    describe_parts,
    describe_query,
    read_parts,
)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_query_is_an_error_with_an_example(text):
    with pytest.raises(QueryError, match="boats moored"):
        describe_query(text)


@pytest.mark.parametrize(
    "text",
    [
        "boats moored beside a pier",
        "two baseball fields in the park",
        "Rio de Janeiro airport",
        "tennis court",
        "a plane at Los Angeles",
    ],
)
def test_plain_english_gives_no_hint(text):
    assert describe_query(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "🚢🌊",
        "many boats 🚢",
        "码头旁边的船",
        "лодки у причала",  # noqa: RUF001 - Cyrillic is meant
        "Boote neben einem Steg im Hafen",
        "des bateaux dans le port",
        "barcos en el puerto cerca del muelle",
        "42",
    ],
)
def test_emoji_and_other_languages_are_answered_with_a_hint(text):
    assert "trained on English captions" in describe_query(text)


def test_a_very_long_query_is_said_to_be_cut():
    assert "300 words" in describe_query("boats " * 300)


def test_a_query_of_more_than_a_page_is_refused():
    assert describe_query("a " * 1_000)
    with pytest.raises(QueryError, match="has 2,001 characters; at most 2,000 are taken"):
        describe_query("a " * 1_000 + "b")


def test_a_denial_is_said_to_be_read_as_parts_or_what_to_do_instead():
    assert describe_query("boats without sand") == "Read as 'boats' without 'sand'."
    assert "least like it" in describe_query("no boats")
    assert "--not" in describe_query("a beach without trees and with boats")


def test_the_hint_about_parts_names_each_thing_once():
    unwanted = QueryPart("barcos en el puerto", wanted=False), QueryPart("sand", wanted=False)
    said = describe_parts(unwanted)
    assert "does not look English" in said and said.count("least like it") == 1
    assert describe_parts((QueryPart("boats"), *unwanted[1:])) is None


@pytest.mark.parametrize("text", ["\ud800", "boats \udcff.png"])
def test_half_a_surrogate_pair_is_refused(text):
    with pytest.raises(QueryError, match="broken character"):
        describe_query(text)


def test_contradictory_and_absent_queries_are_refused():
    with pytest.raises(QueryError, match="There is no query"):
        read_parts(None)
    with pytest.raises(QueryError, match="picture already and image= was given too"):
        read_parts(Path("a.jpg"), "b.jpg")


@pytest.mark.parametrize("query", [["a"], {"a": 1}, 3.5, b"a pier", None])
def test_a_query_that_is_no_text_is_refused(query):
    with pytest.raises(QueryError, match="expected words"):
        describe_query(query)


@pytest.mark.parametrize("top_k", [0, -1, 2.5, True, "3"])
def test_a_number_of_hits_is_a_whole_one_above_zero(top_k):
    with pytest.raises(QueryError, match="whole number of hits"):
        check_top_k(top_k)
