"""``rsctir search`` with several words and pictures, weighed and not wanted."""

import json

import pytest

from rsctir_cli.commands import Search
from rsctir_cli.weighed import weights_by_part
from rsctir_hf.cli.search import link_of, said_of, with_link
from rsctir_hf.cli.sources import asked_parts
from rsctir_hf.errors import QueryError
from rsctir_hf.search.query import QueryPart


@pytest.fixture
def index_folder(rsctir, clip_folder, picture_folder, tmp_path):
    target = tmp_path / "index"
    rsctir("index", "--model", clip_folder, "--images", picture_folder, "--index", target)
    return target


@pytest.mark.parametrize(
    ("names", "weights", "expected"),
    [
        ("text image weight unwanted", ["0.5"], ["1", "0.5", "1"]),
        ("text weight unwanted weight", ["2", "3"], ["2", "3"]),
        ("unwanted weight top_k text text weight", ["2", "3"], ["1", "3", "2"]),
        ("image top_k weight", ["2"], ["2"]),
    ],
)
def test_a_weight_is_of_the_part_before_it(names, weights, expected):
    assert weights_by_part(names.split(), weights) == expected


def test_parts_and_weights_of_a_command_line_reach_the_search(rsctir, index_folder, picture_folder):
    red, green = picture_folder / "red.png", picture_folder / "green.png"
    line = ["--not", "sand", "--text", "harbor", "--image", red, "--weight", "0.5"]
    line += ["--not-image", green, "--weight", "2"]
    code, out, _ = rsctir("search", "--index", index_folder, *line, "--top-k", "8", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["parts"] == [
        {"text": "harbor", "image": None, "weight": 1.0, "wanted": True},
        {"text": None, "image": str(red), "weight": 0.5, "wanted": True},
        {"text": "sand", "image": None, "weight": 1.0, "wanted": False},
        {"text": None, "image": str(green), "weight": 2.0, "wanted": False},
    ]
    assert (said["text"], said["image"]) == ("harbor - sand", str(red))
    scores = [hit["rerank_score"] for hit in said["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert said["confidence"] is None and said["hint"] is None


def test_a_denial_is_told_and_read_as_parts(rsctir, index_folder):
    shown = []
    for line in (["--text", "boats without sand"], ["--text", "boats", "--not", "sand"]):
        code, out, _ = rsctir("search", "--index", index_folder, *line)
        assert code == 0
        shown.append(out)
    assert shown[0] == shown[1]
    _, _, err = rsctir("search", "--index", index_folder, "--text", "boats without sand")
    assert "Read as 'boats' without 'sand'." in err
    _, _, err = rsctir("search", "--index", index_folder, "--not", "sand")
    assert "least like it" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--weight 2 --text boats", "no query before it"),
        ("--text boats --weight 2 --weight 3", "no query before it"),
        ("--text boats --weight much", "parse string as a number"),
        ("--text boats --weight nan", "expected a number above 0"),
        ("--text boats --weight 0", "expected a number above 0"),
        ("--text boats --weight -1", "expected a number above 0"),
        ("--text boats --not Boats", "contradicts itself"),
        ("--text boats --not=", "The query is empty"),
        ("", "There is no query"),
        ("--text boats --not sand --good a.png", "not for marks"),
        ("--text boats --not sand --rerank match", "cannot judge what is not wanted"),
    ],
)
def test_bad_queries_end_with_code_two(rsctir, index_folder, line, message):
    code, _, err = rsctir("search", "--index", index_folder, *line.split())
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())


def test_a_link_asks_the_same_with_its_weights(tmp_path):
    picture = tmp_path / "a pier.png"
    asked = Search(
        place="index", text=["harbor"], image=[picture], unwanted=["sand"], weight=[1.0, 0.5, 2.0]
    )
    again = with_link(Search(place="index", link=link_of(asked)))
    assert asked_parts(again) == asked_parts(asked)
    with pytest.raises(QueryError, match="1 weights for a query of 2 parts"):
        asked_parts(with_link(Search(place="i", link="?text=a&not=b&weight=2")))


def test_a_query_of_one_text_is_said_as_before():
    assert said_of([QueryPart("boats")]) == {"text": "boats", "image": None}
