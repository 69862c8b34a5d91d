"""Bounding boxes, filters and metadata: what is understood and what is refused."""

import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.vector_index.contract import (
    EXACT,
    BoundingBox,
    Recall,
    SearchFilter,
    checked_metadata,
    recorded_recall,
)
from rsctir_hf.vector_index.filters import milvus_condition, sql_condition


def test_a_box_is_read_from_four_numbers():
    box = BoundingBox.read("8.4, 53,8.9,53.3")
    assert box.corners == (8.4, 53.0, 8.9, 53.3)
    assert box.parts == (box,)


@pytest.mark.parametrize(
    "text", ["1,2,3", "a,b,c,d", "0,1,1,0", "-181,0,0,1", "0,0,1,91", "nan,0,1,1", "0,0,inf,1", ""]
)
def test_what_is_no_box_on_the_earth_is_refused(text):
    with pytest.raises(QueryError, match=r"bounding box is .*expected"):
        BoundingBox.read(text)


def test_a_box_across_the_antimeridian_has_two_parts():
    box = BoundingBox(170, -20, -160, 10)
    assert [part.corners for part in box.parts] == [(170, -20, 180, 10), (-180, -20, -160, 10)]


def test_a_filter_takes_one_value_or_several():
    only = SearchFilter({"class": "sea", "year": range(2000, 2002), "cloudy": False})
    assert only.wanted == {"class": ("sea",), "year": (2000, 2001), "cloudy": (False,)}
    assert SearchFilter({"class": (name for name in ("a", "b"))}).wanted == {"class": ("a", "b")}


@pytest.mark.parametrize(
    "where", [{"class": []}, {"class": None}, {"class": [None]}, {"class": {"a": 1}, 3: "b"},
              {"class": [["nested"]]}, {"class": float("nan")}]
)  # fmt: skip
def test_a_filter_without_a_plain_value_is_refused(where):
    with pytest.raises(QueryError):
        SearchFilter(where)


def test_metadata_that_say_nothing_are_left_out():
    plain = {"b": 0, "c": "", "d": False}
    assert checked_metadata({"a": None, **plain}) == plain


@pytest.mark.parametrize("metadata", [{"a": [1]}, {"a": {}}, {1: "a"}, {"a": float("inf")}])
def test_metadata_that_are_no_plain_values_are_refused(metadata):
    with pytest.raises(QueryError, match="expected a text as name"):
        checked_metadata(metadata)


def test_recall_is_said_in_words():
    assert str(EXACT) == "exact"
    assert "not measured" in str(recorded_recall({}))
    assert str(Recall(1.0, "recall@10 measured")) == "1.000 (recall@10 measured)"
    noted = recorded_recall({"recall": {"value": 0.9871, "how": "recall@10 measured"}})
    assert noted == Recall(0.9871, "recall@10 measured")
    assert str(noted) == "0.987 (recall@10 measured)"


def test_nothing_a_user_wrote_stands_in_the_sql():
    evil = "'; DROP TABLE pictures; --"
    condition, values = sql_condition(SearchFilter({evil: [evil, 1]}, BoundingBox(170, 0, -170, 1)))
    assert evil not in condition
    assert condition.count("%s") == len(values) == 2 + 2 * 8


def test_what_a_user_wrote_is_a_quoted_literal_for_milvus():
    condition = milvus_condition(SearchFilter({'a"] or true or metadata["b': 'x" or "1" == "1'}))
    assert condition == (
        r'(id >= 0) and (metadata["a\"] or true or metadata[\"b"] == "x\" or \"1\" == \"1")'
    )
