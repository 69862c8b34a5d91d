"""``rsctir search`` with marks and concepts, from end to end, with a tiny CLIP."""

import json
import shutil

import pytest

from rsctir_hf.search.concept import Concept


@pytest.fixture
def places(rsctir, clip_folder, picture_folder, tmp_path):
    """Two indexes of one model: of eight pictures, and of copies of six of them."""
    other = tmp_path / "other"
    shutil.copytree(picture_folder, other)
    (other / "red.png").unlink()
    (other / "green.png").unlink()
    for images, name in ((picture_folder, "index"), (other, "second")):
        made = ("--model", clip_folder, "--images", images, "--index", tmp_path / name)
        assert rsctir("index", *made)[0] == 0
    return tmp_path / "index", tmp_path / "second"


def names(out):
    return [hit["path"].rpartition("/")[2] for hit in json.loads(out)["hits"]]


def test_marks_are_learnt_kept_and_found_again(rsctir, places, tmp_path):
    file = tmp_path / "kept" / "water.json"
    asked = ("search", "--index", places[0], "--json", "--top-k", 8)
    code, out, err = rsctir(
        *asked, "--text", "a river", "--good", "green.png", "--bad", "red.png",
        "--save-concept", file,
    )  # fmt: skip
    assert code == 0 and "water ('a river'): 1 good, 1 bad kept in" in err
    rest = names(out)
    assert len(rest) == 6 and not {"green.png", "red.png"} & set(rest)
    answer = json.loads(out)
    assert answer["good"] == ["green.png"] and answer["bad"] == ["red.png"]
    assert names(rsctir(*asked, "--concept", file)[1]) == ["green.png", *rest]
    assert names(rsctir(*asked, "--concept", file, "--marked", "out")[1]) == rest
    code, _, _ = rsctir(*asked, "--concept", file, "--bad", "blue.png", "--save-concept", file)
    assert code == 0 and len(Concept.load(file).marks) == 3


def test_a_concept_is_looked_for_in_several_indexes(rsctir, places, tmp_path):
    file = tmp_path / "water.json"
    rsctir("search", "--index", places[0], "--good", "green.png", "--save-concept", file)
    code, out, err = rsctir(
        "search", "--concept", file, "--index", places[0], "--also", places[1], "--json"
    )
    assert code == 0 and f"# {places[1]}" in err
    first, second = out.replace("}\n{", "}\0{").split("\0")
    assert json.loads(first)["index"] == str(places[0])
    assert json.loads(second)["index"] == str(places[1])
    assert names(first)[0] == "green.png" and "green.png" not in names(second)


def test_of_several_indexes_all_are_searched_and_those_that_fail_are_named(
    rsctir, places, tmp_path
):
    gone = tmp_path / "gone"
    asked = ("search", "--text", "a river", "--index", gone, "--also", places[0], "--json")
    code, out, err = rsctir(*asked)
    assert code == 2 and json.loads(out)["index"] == str(places[0])
    lines = err.splitlines()
    assert lines[:2] == [f"# {gone}", lines[1]] and lines[1].startswith("not searched: ")
    assert f"1 of 2 indexes could not be searched, as said above: {gone}." in lines[-1]


def test_a_fold_holds_for_marks_too(rsctir, clip_folder, picture_folder, tmp_path):
    shutil.copy(picture_folder / "blue.png", picture_folder / "same.png")
    made = ("--model", clip_folder, "--images", picture_folder, "--index", tmp_path / "index")
    rsctir("index", *made)
    asked = ("search", "--index", tmp_path / "index", "--good", "green.png", "--json")
    found = [names(rsctir(*asked, "--top-k", 9, "--fold", fold)[1]) for fold in ("tiles", "all")]
    assert [{"blue.png", "same.png"} <= set(each) for each in found] == [True, False]
    assert [len(each) for each in found] == [8, 7]


def test_a_picture_to_search_by_is_a_good_mark(rsctir, places, picture_folder, tmp_path):
    file = tmp_path / "c.json"
    asked = ("search", "--index", places[0], "--image", picture_folder / "green.png")
    assert rsctir(*asked, "--bad", "red.png", "--save-concept", file)[0] == 0
    assert [mark.good for mark in Concept.load(file).marks] == [True, False]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bad", "red.png"], "No picture is marked good, and there are no words"),
        (["--good", "red.png", "--bad", "red.png"], "Marked both good and bad"),
        (["--good", "gren.png"], "Did you mean"),
        (["--good", "red.png", "--rerank", "smr"], "--rerank smr is not for marks"),
        (["--text", "a", "--remake"], "--remake and --marked are about"),
        (["--text", "a", "--marked", "out"], "--remake and --marked are about"),
        (["--good", "red.png", "--remake"], "Name its file: --concept"),
        (["--concept", "none.json"], "cannot be read"),
        (["--concept", "EMPTY"], "no concept, or damaged"),
        (["--good", "red.png", "--save-concept", "FOLDER"], "is a folder"),
        (["--text", "a", "--also", "x", "--output", "y.geojson"], "--output takes the hits of one"),
        (["--good", "red.png", "--also", "x", "--save-concept", "c"], "learnt in one index"),
        (["--text", "a", "--also", "x", "--pick", "y"], "The ranks are 'y'"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_two(rsctir, places, tmp_path, options, said):
    (tmp_path / "empty.json").touch()
    known = {"EMPTY": tmp_path / "empty.json", "FOLDER": tmp_path}
    code, out, err = rsctir(
        "search", "--index", places[0], *(known.get(each, each) for each in options)
    )
    assert code == 2 and said in err and not out
    assert len(err.strip().splitlines()) == 1
