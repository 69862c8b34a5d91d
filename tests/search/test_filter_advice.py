"""A filter that no picture passes is answered with what the index holds."""

import pytest
import torch

from rsctir_hf.search.filter_advice import filter_advice
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.opening import open_index


@pytest.fixture(params=["exact", "hnsw"])
def index(request):
    made = open_index(request.param)
    entries = [
        {"class": "Harbor", "year": "2020", "cloudy": True, "path": "/a.png", "caption": "a pier"},
        {"class": "beach", "year": "2021", "cloudy": False, "path": "/b.png"},
        {"class": "beach", "year": "2021", "cloudy": False, "path": "/c.png"},
    ]
    made.add(torch.eye(3), metadata=entries)
    return made


@pytest.mark.parametrize(
    "where",
    [None, {}, {"class": "beach"}, {"class": ["Harbor", "beach"], "cloudy": True}],
)
def test_nothing_is_said_of_a_filter_whose_parts_are_there(index, where):
    assert filter_advice(index, None if where is None else SearchFilter(where)) is None


CASES = {
    "another case": ({"class": "harbor"}, "has class=harbor. Is Harbor meant? There are beach, "),
    "a slip": ({"class": "Habor"}, "Is Harbor meant?"),
    "a number for a text": ({"year": 2020}, 'has year=2020. Is "2020" meant? There are "2021", '),
    "a text for a truth": ({"cloudy": "True"}, "has cloudy=True. Is true meant? There are false, "),
    "a field's case": ({"Class": "beach"}, "no field"),
    "a number": ({"year": 2019}, 'has year=2019. There are "2021", "2020".'),
    "one of two": ({"class": ["beach", "forest"]}, "has class=forest. There are beach, Harbor."),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_there_is_named_with_what_is(index, case):
    where, expected = CASES[case]
    if expected == "no field":
        expected = "a field 'Class'. Is class meant? There are class, cloudy, year."
    assert expected in filter_advice(index, SearchFilter(where))


def test_an_index_without_metadata_says_so():
    index = open_index("exact")
    index.add(torch.eye(1), metadata=[{"path": "/a.png"}])
    said = filter_advice(index, SearchFilter({"a": [1, 2]}))
    assert said == "No picture of the index has a field 'a'. Its pictures have no metadata."


def test_the_command_says_it(rsctir, clip_folder, picture_folder, tmp_path):
    bank = tmp_path / "bank.txt"
    bank.write_text("a river\n")
    (picture_folder / "metadata.csv").write_text("file_name,class\nred.png,Harbor\n")
    target = tmp_path / "i"
    rsctir("index", "--model", clip_folder, "--images", picture_folder, "--output", target)
    search = ("search", "--index", target, "--text", "a", "--bank", bank, "--where")
    code, out, err = rsctir(*search, "class=harbor")
    assert (code, out) == (0, "") and "Is Harbor meant?" in err
    assert rsctir(*search, "class=Harbor")[1].strip().endswith("red.png")
