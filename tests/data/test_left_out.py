"""Pairs that a list takes out of training pictures, and lists that are refused."""

import logging

import pytest

from rsctir_hf.data.left_out import leave_out, read_pairs
from rsctir_hf.data.tables import our_table
from rsctir_hf.errors import DataLayoutError


def table(**captions):
    return our_table(
        [None] * len(captions),
        captions=list(captions.values()),
        names=[f"{name}.png" for name in captions],
        categories=[None] * len(captions),
    )


@pytest.fixture
def train():
    return table(a=["A pier .", "boats"], b=["a farm"], c=["a river", "water", "a bend"])


def test_a_list_is_read_by_two_columns_whatever_else_it_holds(tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("score;caption;picture\n-3;A  Pier.;in\\a.png\n-2;'-1 degrees;'=b.png\n")
    assert read_pairs(file) == {("in/a.png", "a pier"), ("=b.png", "-1 degrees")}


def test_numbers_are_names_as_well(tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("picture,caption\n001,3\n")
    assert read_pairs(file) == {("001", "3")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("picture,caption\na.png,\n", "row 2 has picture 'a.png' and caption None"),
        ("file,caption\na.png,a pier\n", "row 2 has picture None and caption 'a pier'"),
    ],
)
def test_a_row_without_picture_or_caption_is_named(tmp_path, content, said):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(DataLayoutError, match=said):
        read_pairs(tmp_path / "list.csv")


def test_a_list_that_is_not_there_says_what_writes_one(tmp_path):
    with pytest.raises(DataLayoutError, match=r"no list at .*none.csv; `rsctir audit-captions`"):
        read_pairs(tmp_path / "none.csv")


def test_listed_captions_go_and_a_picture_without_any_goes_along(train, caplog):
    caplog.set_level(logging.INFO)
    kept = leave_out(train, {("a.png", "a pier"), ("b.png", "a farm")}, source="my list")
    assert kept["file_name"][:] == ["a.png", "c.png"]
    assert kept["captions"][:] == [["boats"], ["a river", "water", "a bend"]]
    assert (
        "my list: 2 of 6 training pairs are left out, and with them 1 of 3 pictures" in caplog.text
    )


def test_pairs_of_other_splits_stay_where_they_are(train, caplog):
    caplog.set_level(logging.INFO)
    validation = table(d=["a lake"])
    kept = leave_out(train, {("a.png", "boats"), ("d.png", "a lake")}, elsewhere=[validation])
    assert kept["captions"][0] == ["A pier ."]
    assert "1 more of the list are not for training" in caplog.text


def test_a_list_of_other_data_is_refused(train):
    with pytest.raises(DataLayoutError, match=r"names 1 of 2 pairs .* such as z.png with 'a pier'"):
        leave_out(train, {("a.png", "boats"), ("z.png", "a pier")})


def test_more_than_half_is_refused_unless_told(train):
    exactly_half = {("c.png", "a river"), ("c.png", "water"), ("c.png", "a bend")}
    assert len(leave_out(train, exactly_half)) == 2
    more = exactly_half | {("b.png", "a farm")}
    with pytest.raises(DataLayoutError, match=r"4 of the 6 training pairs, more than half.*_most"):
        leave_out(train, more)
    assert leave_out(train, more, most=True)["file_name"][:] == ["a.png"]


def test_nothing_left_is_refused_whatever_is_told(train):
    everything = {("a.png", "a pier"), ("a.png", "boats"), ("b.png", "a farm")}
    everything |= {("c.png", "a river"), ("c.png", "water"), ("c.png", "a bend")}
    with pytest.raises(DataLayoutError, match="names every training pair"):
        leave_out(train, everything, most=True)
