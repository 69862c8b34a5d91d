"""The predicted scene on the command line: names given to an index, classes asked of it."""

import json

import pytest


@pytest.fixture
def index(rsctir, clip_folder, picture_folder, tmp_path):
    target, names = tmp_path / "index", tmp_path / "names.txt"
    names.write_text("red field\n\nblueSea\n")
    code, _, err = rsctir(
        "index", "--model", clip_folder, "--images", picture_folder, "--index", target,
        "--classes", names,
    )  # fmt: skip
    assert code == 0, err
    return target


def search(rsctir, index, *more):
    code, out, err = rsctir("search", "--index", index, "--text", "a river", "--top-k", "8", *more)
    return code, out, err


def test_each_hit_has_a_scene_with_its_probability_and_a_class_can_be_asked_for(rsctir, index):
    _, out, _ = search(rsctir, index, "--json")
    scenes = [hit["metadata"]["predicted_scene"] for hit in json.loads(out)["hits"]]
    assert len(scenes) == 8 and set(scenes) <= {"red field", "blue sea"}
    _, out, _ = search(rsctir, index)
    for line, scene in zip(out.splitlines(), scenes, strict=True):
        assert f"  {scene} " in line and " %" in line
    for name, asked in (("red field", "redField"), ("blue sea", "blue_sea")):
        code, out, _ = search(rsctir, index, "--class", asked, "--json")
        answer = json.loads(out)
        assert code == 0
        assert len(answer["hits"]) == scenes.count(name)
        assert answer["link"].count("where=predicted_scene%3D") == 1


def test_an_unknown_class_offers_the_nearest(rsctir, index):
    _, out, err = search(rsctir, index, "--class", "red feild")
    assert not out
    assert "predicted_scene" in err and "No picture passes the filter." in err


def test_an_index_without_scenes_says_how_to_get_them(
    rsctir, clip_folder, picture_folder, tmp_path
):
    target = tmp_path / "plain"
    rsctir("index", "--model", clip_folder, "--images", picture_folder, "--index", target)
    _, out, err = search(rsctir, target, "--class", "harbor")
    assert not out
    assert "Index them again with --classes NAMES" in err


@pytest.mark.parametrize(
    ("names", "said"),
    [(" , ", "names nothing"), ("no.txt", "cannot be read"), ("harbor", "only name of a scene")],
)
def test_names_that_name_nothing_are_refused(
    rsctir, clip_folder, picture_folder, tmp_path, names, said
):
    code, _, err = rsctir(
        "index", "--model", clip_folder, "--images", picture_folder, "--index", tmp_path / "i",
        "--classes", names,
    )  # fmt: skip
    assert code == 2 or code == 1
    assert said in err
    assert not (tmp_path / "i").exists()
