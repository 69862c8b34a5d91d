"""Hits into files and collections, from the command line."""

import csv
import json
import re
import shlex
import zipfile

import pyarrow.parquet as pq
import pytest
from PIL import Image

from rsctir_cli.options import HitsFormat
from rsctir_hf.collection.take_home import FORMATS
from tests.conftest import ROOT


@pytest.fixture
def search(rsctir, clip_folder, picture_folder, tmp_path):
    """Search an index of five coloured pictures, one of them with a place."""
    bank, target = tmp_path / "bank.txt", tmp_path / "index"
    bank.write_text("a river\n")
    rows = 'file_name,class,bounding_box\nred.png,pier,"8,53,9,54"\nblue.png,pier,\n'
    (picture_folder / "metadata.csv").write_text(rows)
    rsctir("index", "--model", clip_folder, "--images", picture_folder, "--output", target)
    return lambda *more: rsctir("search", "--index", target, "--bank", bank, *more)


def test_hits_are_written_in_the_format_of_the_suffix(search, tmp_path):
    asked = ("--text", "a pier", "--where", "class=pier", "--output")
    code, out, err = search(*asked, tmp_path / "hits.csv", "--note", "=look")
    assert code == 0 and len(out.splitlines()) == 2
    rows = list(csv.DictReader((tmp_path / "hits.csv").open(encoding="utf-8-sig")))
    assert [row["note"] for row in rows] == ["'=look"] * 2 and rows[0]["class"] == "pier"
    code, _, err = search(*asked, tmp_path / "hits.parquet")
    assert code == 0 and "1 of 2 pictures have no place on earth: their geometry is null" in err
    table = pq.read_table(tmp_path / "hits.parquet")
    assert table.num_rows == 2 and b"geo" in table.schema.metadata
    assert search(*asked, tmp_path / "hits.zip", "--pick", "2")[0] == 0
    with zipfile.ZipFile(tmp_path / "hits.zip") as archive:
        assert len(archive.namelist()) == 2
    assert search(*asked, tmp_path / "hits.html")[0] == 0
    code, _, err = search(*asked, tmp_path / "stac", "--format", "stac")
    assert code == 0, err
    whole = json.loads((tmp_path / "stac" / "collection.json").read_text())
    assert whole["emb:type"] == "chip" and whole["title"] == "a pier"
    model = next(link for link in whole["links"] if link["rel"] == "emb:model")
    assert model["href"].endswith("tiny-clip")


def test_hits_are_written_under_their_heat_maps_and_name_the_thing(search, tmp_path):
    heat, output = tmp_path / "heat", tmp_path / "hits.geojson"
    asked = ("--text", "a pier", "--heat", heat, "--output", output, "--top-k", "2", "--json")
    code, out, err = search(*asked)
    assert code == 0, err
    hits = json.loads(out)["hits"]
    assert [file.name for file in sorted(heat.iterdir())] == ["001.png", "002.png"]
    with Image.open(heat / "001.png") as drawn, Image.open(hits[0]["path"]) as picture:
        assert drawn.size == picture.size
    for hit, feature in zip(hits, json.loads(output.read_text())["features"], strict=True):
        assert feature["properties"]["thing"] == pytest.approx(hit["thing"], abs=1e-4)
    assert search("--text", "a pier", "--heat", output)[0] == 2
    code, _, err = search("--labels", "pier", "--label-head", "none", "--heat", heat)
    assert code == 2 and "Give --text or --image alone" in err


def test_a_link_asks_again(search):
    asked = ("--text", "a pier", "--where", "class=pier", "--top-k", "1", "--json")
    first = json.loads(search(*asked)[1])
    assert first["link"] == "?text=a+pier&where=class%3Dpier&top_k=1"
    again = json.loads(search("--link", first["link"], "--json")[1])
    assert again == first


REFUSED = {
    "contradiction": (("--output", "a.csv", "--format", "zip"), "ends with '.csv', which is csv"),
    "unknown": (("--output", "a.xlsx"), "which is no format of hits"),
    "no file": (("--format", "csv"), "--format is about a file. Name it: --output."),
    "idle": (("--pick", "1"), "--pick and --note are about what is kept"),
    "ranks": (("--output", "a.csv", "--pick", "one"), "The ranks are 'one'; expected numbers"),
    "rank 0": (("--output", "a.csv", "--pick", "0-2"), "expected numbers from 1"),
    "no such rank": (("--output", "a.csv", "--pick", "9"), "no hit of rank 9; there are 4 hits"),
    "twice": (("--link", "?text=b"), "--text and the link both say text"),
    "no number": (("--link", "?top_k=many"), "The link says top_k='many', which is none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused(search, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    options, expected = REFUSED[case]
    code, _, err = search(
        "--text", "a", "--top-k", "4" if case == "no such rank" else "5", *options
    )
    assert code == 2 and expected in err
    assert not (tmp_path / "a.csv").exists()


def test_a_collection_is_filled_noted_undone_and_exported(search, rsctir, tmp_path):
    file = tmp_path / "piers.json"

    def collection(deed, *more):
        code, out, err = rsctir("collection", deed, file, *more)
        assert code == 0, err
        return out

    code, _, err = search("--text", "a pier", "--collect", file, "--pick", "1,3")
    assert code == 0 and f"2 added to {file}, which has 2 now." in err
    code, _, err = search("--text", "a river", "--top-k", "8", "--collect", file)  # all
    assert code == 0 and "6 added to" in err and "has 8 now" in err
    said = collection("note", "--picture", "red.png", "--note", "rebuilt in 2024")
    assert said == f"1 noted. {file} has 8 pictures now.\n"
    listed = collection("list").splitlines()
    assert len(listed) == 9 and listed[-1] == "8 pictures."
    assert [line.split("  ")[-1] for line in listed if "red.png" in line] == ["rebuilt in 2024"]
    assert "7 pictures now" in collection("remove", "--picture", "blue.png")
    assert "Undone: remove 1 picture" in collection("undo")
    assert "Done again: remove 1 picture" in collection("redo")
    told = json.loads(collection("list", "--json"))
    assert told["type"] == "FeatureCollection" and len(told["features"]) == 7
    collection("export", "--output", tmp_path / "piers.zip")
    with zipfile.ZipFile(tmp_path / "piers.zip") as archive:
        assert len(archive.namelist()) == 8
    other = tmp_path / "other.json"
    search("--text", "a pier", "--top-k", "8", "--collect", other)
    assert json.loads(collection("merge", "--other", other, "--json"))["pictures"] == 8


def test_a_collection_that_is_asked_wrongly_says_so(rsctir, tmp_path):
    file = tmp_path / "c.json"
    for asked, expected in {
        ("list",): "There is no collection",
        ("undo",): "There is no collection",
        ("note", "--picture", "a"): "needs --note",
        ("export",): "needs --output",
        ("list", "--output", "a.csv"): "takes no --output",
    }.items():
        code, _, err = rsctir("collection", asked[0], file, *asked[1:])
        assert code == 2 and expected in err
    assert list(tmp_path.iterdir()) == []
    file.write_text("{}")
    code, _, err = rsctir("collection", "undo", file)
    assert code == 2 and "is no collection, or is damaged" in err and file.read_text() == "{}"


def test_the_commands_of_the_page_run_as_they_stand(rsctir, clip_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_pictures").mkdir()
    for number in range(1, 7):
        colour = (40 * number, 10, 250 - 40 * number)
        Image.new("RGB", (40, 40), colour).save(tmp_path / "my_pictures" / f"{number}.jpg")
    rsctir("index", "--model", clip_folder, "--images", "my_pictures", "--output", "my_index")
    page = (ROOT / "docs" / "tasks" / "take_it_home.md").read_text(encoding="utf-8")
    commands = re.findall(r"^rsctir .+$", page, re.MULTILINE)
    assert len(commands) == 11
    # The collection of the page holds whichever pictures this model finds.
    for command in commands:
        arguments = shlex.split(command)[1:]
        if "--picture" in arguments:
            kept = json.loads(rsctir("collection", "list", "piers.json", "--json")[1])
            place = arguments.index("--picture") + 1
            arguments[place] = kept["features"][0]["properties"]["file"]
        code, _, err = rsctir(*arguments)
        assert code == 0, (command, err)
    written = {each.name for each in tmp_path.iterdir()}
    assert {"piers.zip", "piers.parquet", "piers.html", "piers.csv", "my_piers.zip"} <= written


def test_the_command_offers_every_format():
    assert [form.value for form in HitsFormat] == list(FORMATS)
