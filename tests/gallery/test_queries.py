"""What a person is told about a query."""

from pathlib import Path

import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.gallery.queries import describe_query, split_query


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
    assert "10,000 words" in describe_query("boats " * 10_000)


def test_contradictory_and_absent_queries_are_refused():
    with pytest.raises(QueryError, match="There is no query"):
        split_query(None, None, None)
    with pytest.raises(QueryError, match="text already and text= was given too"):
        split_query("a", "b", None)
    with pytest.raises(QueryError, match="image already and image= was given too"):
        split_query(Path("a.jpg"), None, "b.jpg")
