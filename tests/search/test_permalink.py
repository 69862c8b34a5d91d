"""A question as a link and back."""

import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.search.permalink import read_link, write_link

ASKED = {
    "text": ["a pier & boats", "käse"],
    "where": ["class=harbor", "gsd<=0.5"],
    "bbox": "8.4,53.0,8.9,53.3",
    "after": "2024-05",
    "top_k": "12",
}


def test_a_link_asks_what_was_asked():
    link = write_link({name: value if name != "top_k" else 12 for name, value in ASKED.items()})
    assert link.startswith("?text=a+pier+%26+boats&text=k%C3%A4se&where=class%3Dharbor")
    assert read_link(link) == {
        name: value if isinstance(value, list) else [value] for name, value in ASKED.items()
    }
    assert read_link(f"https://example.org/app{link}#top") == read_link(link)
    assert read_link(link[1:]) == read_link(link)


def test_nothing_asked_is_no_link():
    assert write_link({"text": None, "where": [], "bbox": ""}) == ""
    assert read_link("") == {}


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("?words=a", r"says 'words'; expected some of text, image, .*top_k"),
        ("?top_k=1&top_k=2", "says 'top_k' twice"),
        ("?text=" + "a" * 30_000, "30,006 characters; at most 20,000"),
    ],
)
def test_what_no_link_says_is_refused(link, expected):
    with pytest.raises(QueryError, match=expected):
        read_link(link)


def test_a_name_that_no_link_has_is_not_written():
    with pytest.raises(QueryError, match="'device'"):
        write_link({"device": "cpu"})
