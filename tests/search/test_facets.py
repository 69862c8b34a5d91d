"""The columns of an index, and the dates among them."""

import json

import pytest
import torch

from rsctir_hf.errors import QueryError
from rsctir_hf.search.facets import Facet, date_column, dated, facets
from rsctir_hf.search.written_filters import read_filter
from rsctir_hf.vector_index.conditions import Contains, Dates, Range
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.opening import open_index

ENTRIES = [
    {"class": "harbor", "gsd": 0.3, "cloudy": True, "Acquired": "2024-05-01", "path": "/a"},
    {"class": "harbor", "gsd": 2, "cloudy": False, "Acquired": "2024:04:30 10:00:00", "odd": 1},
    {"class": "beach", "gsd": 0.3, "Acquired": "2023", "odd": "1"},
    {"class": "beach", "gsd": 0.5, "code": 20240501, "caption": "sand"},
]


@pytest.fixture(params=["exact", "hnsw"])
def index(request):
    made = open_index(request.param)
    made.add(torch.eye(4), metadata=ENTRIES)
    return made


def test_each_column_has_its_kind_its_values_and_their_counts(index):
    assert facets(index) == [
        Facet("class", "text", 4, 2, (("beach", 2), ("harbor", 2))),
        Facet("gsd", "number", 4, 3, ((0.3, 2), (0.5, 1), (2, 1)), 0.3, 2),
        Facet(
            "Acquired", "date", 3, 3,
            (("2023", 1), ("2024-05-01", 1), ("2024:04:30 10:00:00", 1)), "2023", "2024-05-01",
        ),
        Facet("cloudy", "truth", 2, 2, ((False, 1), (True, 1))),
        Facet("odd", "mixed", 2, 2, ((1, 1), ("1", 1))),
        Facet("code", "number", 1, 1, ((20240501, 1),), 20240501, 20240501),
    ]  # fmt: skip


def test_facets_count_what_passes_a_filter(index):
    found = facets(index, only=SearchFilter({"class": "harbor"}), values=1)
    assert [(facet.name, facet.count, facet.distinct) for facet in found[:2]] == [
        ("Acquired", 2, 2),
        ("class", 2, 1),
    ]
    assert [len(facet.values) for facet in found] == [1] * len(found)
    with pytest.raises(QueryError, match="-1 values of each column"):
        facets(index, values=-1)


def test_dates_are_found_under_the_name_that_the_gallery_has_for_them(index):
    assert date_column(index) == "Acquired"
    only = dated(index, SearchFilter({"class": "harbor"}), Dates(after="2024-05"))
    assert index.ids(only).tolist() == [0]
    assert dated(index, None, None) is None
    with pytest.raises(QueryError, match="same column"):
        dated(index, SearchFilter({"Acquired": "2023"}), Dates("2024"))


def test_an_index_without_dates_says_which_columns_it_has():
    index = open_index("exact")
    index.add(torch.eye(1), metadata=[{"class": "x", "time": "noon"}])
    with pytest.raises(QueryError, match=r"no column of dates named date, .*columns: class, time"):
        date_column(index)


READ = {
    ("gsd<=0.5",): {"gsd": (Range(high=0.5),)},
    ("gsd>=0.3", "gsd<=0.5", "gsd=2"): {"gsd": (2, Range(0.3, 0.5))},
    ("day>=2024-05-01",): {"day": (Range("2024-05-01"),)},
    ("name~=Ber=lin",): {"name": (Contains("Ber=lin"),)},
    ("name~=12",): {"name": (Contains("12"),)},
    ('name~="12"',): {"name": (Contains("12"),)},
    ("name=>5",): {"name": (">5",)},
}


@pytest.mark.parametrize("given", READ)
def test_ranges_and_parts_of_texts_are_read(given):
    assert read_filter(given, None) == SearchFilter(READ[given])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("gsd>=5", "gsd<=3"), "5 to 3; expected the lower end first"),
        (("gsd>=5", "gsd>=3"), "gsd>= is given twice"),
        (("gsd>=true",), "expected two numbers or two texts"),
        ((">=5",), "'>=5' is not understood; expected NAME>=VALUE"),
        (("gsd<=",), "expected NAME=VALUE"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(given, expected):
    with pytest.raises(QueryError, match=expected):
        read_filter(given, None)


def test_the_command_lists_columns_and_search_takes_dates(
    rsctir, clip_folder, picture_folder, tmp_path
):
    bank, target = tmp_path / "bank.txt", tmp_path / "i"
    bank.write_text("a river\n")
    rows = "file_name,class,date\nred.png,pier,2024-05-01\nblue.png,pier,2023-01-01\n"
    (picture_folder / "metadata.csv").write_text(rows)
    rsctir("index", "--model", clip_folder, "--images", picture_folder, "--output", target)
    code, out, _ = rsctir("facets", "--index", target, "--where", "class~=PI")
    lines = out.splitlines()
    assert (code, lines[0].split(" of ")[0]) == (0, "2")
    assert lines[1:] == [
        "class (text, 2): pier (2)",
        "date (date, 2): 2023-01-01 to 2024-05-01, 2023-01-01 (1), 2024-05-01 (1)",
    ]
    told = json.loads(rsctir("facets", "--index", target, "--before", "2023", "--json")[1])
    assert told["passing"] == 1 and told["facets"][0]["values"] == [["pier", 1]]
    search = ("search", "--index", target, "--text", "a", "--bank", bank)
    out = rsctir(*search, "--after", "2024")[1]
    assert [line.split("/")[-1] for line in out.splitlines()] == ["red.png"]
    code, out, err = rsctir(*search, "--after", "2030")
    assert (code, out) == (0, "") and "date at least 2030. There are 2023-01-01, 2024-05-01" in err
    code, _, err = rsctir(*search, "--after", "May")
    assert code == 2 and "The date is 'May'; expected one such as 2024" in err
