"""The commands at the end of a training work as they stand."""

import logging
import shlex
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import typer

from rsctir_cli.main import app
from rsctir_hf.data.reading import read_captioned
from rsctir_hf.training.data_args import DataArguments
from rsctir_hf.training.next_steps import keep_rows, next_steps, picture_folder, say_goodbye
from rsctir_hf.training.own_data import OwnData
from rsctir_hf.training.sets import TrainingData
from rsctir_hf.ui.server.settings import parse_settings
from tests.conftest import ROOT
from tests.miniature import write_pictures
from tests.training.test_before_after import compared


def data_of(folder, *, inside=False):
    paths = sorted(map(str, folder.rglob("*.png")))
    cells = [{"bytes": Path(path).read_bytes(), "path": None} for path in paths]
    captions = [['-- it\'s "a" pier; $HOME' + " again" * number] for number in range(len(paths))]
    table = datasets.Dataset.from_dict({"image": cells if inside else paths, "captions": captions})
    table = table.cast_column("image", datasets.Image())
    return TrainingData({"mine": table}, {"mine": table})


@pytest.fixture
def data(tmp_path):
    write_pictures(tmp_path / "my data" / "train", ["a.png", "b.png"])
    write_pictures(tmp_path / "my data" / "validation", ["c.png"])
    return data_of(tmp_path / "my data")


def test_each_command_is_one_that_the_program_takes(data, tmp_path):
    folder = tmp_path / "my runs" / "my tuned"
    steps = next_steps(folder, DataArguments(data=str(tmp_path / "my data")), data)
    commands = typer.main.get_command(app).commands
    words = [shlex.split(step) for step in steps]
    assert [line[:2] for line in words] == [
        ["rsctir", "evaluate"], ["rsctir", "index"], ["rsctir", "search"],
        ["python", "app.py"], ["rsctir", "push"],
    ]  # fmt: skip
    asked = {
        line[1]: commands[line[1]].make_context(line[1], line[2:]).params
        for line in words
        if line[0] == "rsctir"
    }
    assert asked["evaluate"]["model"] == str(folder) and asked["evaluate"]["split"] == "validation"
    assert asked["index"]["images"] == str(tmp_path / "my data")
    assert asked["index"]["output"] == Path(asked["search"]["place"]) == Path(f"{folder}_index")
    assert asked["search"]["text"] == ['-- it\'s "a" pier; $HOME']
    assert asked["push"]["repo"] == "OWNER/my-tuned"
    assert parse_settings(words[3][2:], {}, root=ROOT).gallery == f"{folder}_index"


def test_an_adapter_is_opened_in_its_model_and_a_share_held_out_is_kept_beside(data, tmp_path):
    held_out = OwnData("mine", held_out="a share")
    data = replace(data, own={"mine": held_out})
    evaluate, index, *_ = next_steps(tmp_path, DataArguments(data="d"), data, adapts="base")
    opened = f"--model base --adapter {tmp_path}"
    assert evaluate == f"rsctir evaluate {opened} --data {tmp_path}/_held_out"
    assert index.startswith(f"rsctir index {opened} --images ")
    for name, *words in (shlex.split(step)[1:] for step in (evaluate, index)):
        command = typer.main.get_command(app).commands[name]
        asked = command.make_context(name, words).params
        assert (asked["model"], asked["adapter"]) == ("base", str(tmp_path))


def test_pictures_within_a_table_are_no_folder_and_the_drawn_ones_stand_in(
    data, tmp_path, monkeypatch
):
    assert picture_folder(data_of(tmp_path / "my data", inside=True)) == "sample"
    monkeypatch.chdir(tmp_path)
    assert picture_folder(data) == "my data"


@pytest.mark.parametrize(("scores", "said"), [((10, 20), "Better than"), ((20, 20), "NOT better")])
def test_the_last_line_says_whether_it_is_any_better(scores, said, data, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        say_goodbye(
            tmp_path, DataArguments(data="d"), data, compared=[compared([1], [1], scores=scores)]
        )
    assert caplog.records[-1].getMessage().startswith(said)


@pytest.mark.parametrize("inside", [False, True])
def test_what_was_held_out_reads_as_it_was(inside, data, tmp_path):
    rows = data_of(tmp_path / "my data", inside=inside).train["mine"].select(range(2))
    for _ in range(2):  # the second run writes over the first
        keep_rows(rows, tmp_path / "out" / "_held_out")
    read = read_captioned(tmp_path / "out" / "_held_out")
    (found,) = read.splits.values()
    assert not read.named
    assert found["captions"] == rows["captions"]
    assert [one.tobytes() for one in found["image"]] == [one.tobytes() for one in rows["image"]]
    assert not list((tmp_path / "out").glob("*/*.arrow")) or inside  # files are not copied


@pytest.mark.parametrize(
    ("arguments", "sets", "said"),
    [
        ({"data": "d", "allow_missing": True}, {"test": "d"}, "d --split test --allow-missing"),
        ({"data": "d", "extra_data": "{e: f}"}, {"test": "e"}, "f --split test"),
        (
            {"data": "d", "benchmark": "ucm", "images": "p"},
            {"validation": "ucm"},
            "d --split validation --benchmark ucm --images p",
        ),
        (
            {"data": "d", "benchmark": "rsitmd", "validation_share": 0.2},
            {"validation": "rsitmd"},
            "OUT/_held_out",
        ),
    ],
)
def test_the_set_that_is_scored_next_is_the_one_of_the_table(arguments, sets, said, data, tmp_path):
    rows = next(iter(data.train.values()))
    parts = {"validation": {"d": rows}} | {split: {name: rows} for split, name in sets.items()}
    steps = next_steps(tmp_path / "OUT", DataArguments(**arguments), replace(data, **parts))
    assert steps[0].replace(f"{tmp_path}/", "") == f"rsctir evaluate --model OUT --data {said}"


def test_pictures_all_over_the_disk_are_not_looked_for_from_its_root(data, monkeypatch):
    monkeypatch.setattr("os.path.commonpath", lambda paths: "/")
    assert picture_folder(data) == "sample"


def test_the_app_is_named_where_it_lies_when_one_works_elsewhere(data, tmp_path, monkeypatch):
    for place, said in ((ROOT, "app.py"), (tmp_path, str(ROOT / "app.py"))):
        monkeypatch.chdir(place)
        line = next_steps(tmp_path, DataArguments(data="d"), data)[3]
        assert shlex.split(line)[:2] == ["python", said]
