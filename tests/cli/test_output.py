"""All commands agree on what they print and where they write, in a terminal, a pipe or a file."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from rsctir_cli.commands import Card, DeploySpace, Leakage, Push, Search
from rsctir_cli.main import COMMANDS, with_homes
from rsctir_hf.cli.output import Bar, json_text, list_skipped
from rsctir_hf.search.retriever import Skipped
from tests.miniature import hub_table, write_imagefolder

#: They write into the model's own folder, to the Hub, or nothing.
NO_OUTPUT = {"caption", "facets", "leakage", "card", "push", "deploy_space"}


def test_every_command_prints_json_and_what_writes_takes_an_output():
    for record, (_, name) in COMMANDS.items():
        named = {each.name for each in fields(record)}
        assert "as_json" in named, name
        assert ("output" in named) == (name not in NO_OUTPUT), name
    assert {Card, DeploySpace, Leakage, Push} < set(COMMANDS)


def test_numbers_that_json_has_no_word_for_are_null():
    said = {"a": float("nan"), "b": [1.5, float("inf"), {"c": -float("inf")}], "d": Path("e")}
    assert json.loads(json_text(said)) == {"a": None, "b": [1.5, None, {"c": None}], "d": "e"}
    assert json.loads(json_text({"name": "\udcff.png"}))["name"] == "\udcff.png"


@pytest.mark.parametrize("option", ["--output", "--index"])
def test_index_writes_where_either_name_says(option, rsctir, clip_folder, picture_folder, tmp_path):
    (picture_folder / "broken.png").touch()
    target = tmp_path / "index"
    code, out, err = rsctir(
        "index", "--model", clip_folder, "--images", picture_folder, option, target, "--json"
    )
    assert code == 0, err
    said = json.loads(out)
    assert (said["index"], said["pictures"], said["search"]) == (str(target), 8, "exact")
    assert [Path(each["path"]).name for each in said["skipped"]] == ["broken.png"]


def test_embed_and_leakage_print_json(rsctir, clip_folder, picture_folder, tmp_path):
    target = tmp_path / "vectors"
    embed = ("embed", "--model", clip_folder, "--images", picture_folder, "--output", target)
    code, out, _ = rsctir(*embed, "--json")
    assert (code, json.loads(out)) == (
        0,
        {"output": str(target), "pictures": 8, "embedded": 8, "reused": 0, "skipped": []},
    )
    one = write_imagefolder(tmp_path / "one", {"train": 3})
    other = write_imagefolder(tmp_path / "other", {"test": 1})
    code, out, _ = rsctir("leakage", one, other, "--json")
    (pair,) = json.loads(out)["pairs"]
    assert code == 1 and pair["left"]["file_name"] == "scene00.png"


def test_convert_prints_json_and_nothing_else(rsctir, tmp_path):
    data = write_imagefolder(tmp_path / "data", {"test": 2})
    options = ("--data", data, "--output", tmp_path / "o", "--partial", "--json")
    code, out, _ = rsctir("convert", "--benchmark", "ucm", *options)
    assert code == 0
    assert json.loads(out) == {"output": str(tmp_path / "o"), "pictures": {"test": 2}}


def test_no_bar_is_drawn_where_standard_error_is_no_terminal(
    rsctir, clip_folder, picture_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("rsctir_hf.cli.output.BAR_DELAY", 0)
    capsys.readouterr()  # what saving the model has drawn
    options = ("--model", clip_folder, "--images", picture_folder, "--output", tmp_path / "i")
    code, _, err = rsctir("index", *options)
    assert code == 0
    assert "\r" not in err and "\x1b" not in err and "%" not in err


def test_a_bar_in_a_terminal_is_gone_at_its_end_and_in_an_error(monkeypatch, capsys):
    monkeypatch.setattr("rsctir_hf.cli.output.BAR_DELAY", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(ValueError, match="stop"), Bar("embedding") as bar:
        bar.show(3, 10)
        raise ValueError("stop")
    drawn = capsys.readouterr().err
    assert "embedding" in drawn and drawn.endswith("\r") and not drawn.split("\r")[-2].strip()


def test_a_bar_that_ends_at_once_is_never_drawn(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Bar("embedding") as bar:
        bar.show(3, 3)
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_gone_ends_a_command_quietly(rsctir, tmp_path, monkeypatch):
    data = write_imagefolder(tmp_path / "data", {"test": 2})
    read, write = os.pipe()
    os.close(read)
    pipe = open(write, "w")  # noqa: SIM115 - a pipe that nobody reads cannot be closed either
    monkeypatch.setattr(sys, "stdout", pipe)
    code, _, err = rsctir("leakage", data)
    assert (code, err) == (1, "")
    with suppress(BrokenPipeError):
        pipe.close()


def test_homes_and_variables_are_written_out_in_paths_only(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/of/me")
    monkeypatch.setenv("DATA", "/data")
    asked = Search(
        place="~/index",
        text=["~ $DATA"],
        image=[Path("$DATA/a.png")],
        model="$DATA/model",
        images="postgresql://u@h/$NO",
    )
    found = with_homes(asked)
    assert (found.place, found.image, found.model) == (
        "/of/me/index",
        [Path("/data/a.png")],
        "/data/model",
    )
    assert (found.text, found.images) == (asked.text, asked.images)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "$DATA").mkdir()
    assert with_homes(Search(place="$DATA")).place == "$DATA"  # there is one of that name
    assert with_homes(Leakage(data=["~/a:test"])).data == ["/of/me/a:test"]


def test_where_a_report_goes_is_looked_at_before_the_work(rsctir, tmp_path):
    evaluate = ("evaluate", "--model", "no/model", "--data", tmp_path, "--output")
    code, _, err = rsctir(*evaluate, tmp_path)
    assert code == 2 and "is a folder. Give the name of a file." in err


def test_a_folder_of_parquet_files_is_scored_without_a_benchmark_s_name(
    rsctir, clip_folder, tmp_path
):
    (tmp_path / "data").mkdir()
    for split, count in (("train", 2), ("test", 3)):
        rows = (
            hub_table(count).remove_columns("captions").add_column("text", ["a", "b", "c"][:count])
        )
        rows.to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    code, out, _ = rsctir("evaluate", "--model", clip_folder, "--data", tmp_path, "--json")
    report = json.loads(out)
    assert (code, report["images"], report["captions"]) == (0, 3, 3)


def test_one_picture_gives_a_report_that_is_json(rsctir, clip_folder, tmp_path):
    data = write_imagefolder(tmp_path / "data", {"test": 1})
    options = ("--data", data, "--rerank", "smr", "--json")
    code, out, err = rsctir("evaluate", "--model", clip_folder, *options)
    assert code == 0, err
    json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_long_pass_says_how_much_there_is_and_how_long_it_takes(capsys, monkeypatch):
    clock = iter([10.0, 12.0])  # 8 tiles in 2 s, 2,984 to go: 746 s
    monkeypatch.setattr("rsctir_hf.cli.output.time.monotonic", lambda: next(clock))
    with Bar("indexing", unit=" tiles") as bar:
        for done in (8, 16, 24):
            bar.show(done, 3000)
    assert capsys.readouterr().err == "indexing 3,000 tiles: about 12 minutes.\n"


def test_options_of_rasters_are_refused_for_pictures(rsctir, picture_folder, tmp_path):
    options = ("--images", picture_folder, "--output", tmp_path, "--tile", 64, "--nodata", 0)
    code, _, err = rsctir("index", "--model", "no/model", *options)
    assert code == 2 and "--tile, --nodata is about rasters" in err


def test_what_is_skipped_has_one_line_whatever_its_name(capsys):
    list_skipped([Skipped("a\nb.png", "a\nb.png is empty.\u2028")])
    assert capsys.readouterr().err == "skipped: a\\nb.png is empty.\\u2028\n"
