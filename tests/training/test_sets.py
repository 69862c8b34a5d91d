"""The sets of a run: which splits are loaded, what is drawn, and what may not be trained on."""

import json
import logging
import re
import shutil

import pytest

from drawn_scenes import CATEGORIES
from drawn_scenes.build import build_gallery
from rsctir_hf.data import leakage, tables
from rsctir_hf.data.collator import RowDrawer
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.stream import StreamView
from rsctir_hf.errors import DataLayoutError, QueryError, RecipeError
from rsctir_hf.files.pictures import read_image as read
from rsctir_hf.sample import sample_folder
from rsctir_hf.training.data_args import DataArguments
from rsctir_hf.training.sets import draw_training_scenes, load_kept, load_training_data
from tests import miniature


@pytest.fixture
def main(tmp_path):
    return miniature.write_imagefolder(tmp_path / "ucm")


@pytest.fixture
def extra(tmp_path):
    counts = {"train": 5, "validation": 2}
    return miniature.write_imagefolder(tmp_path / "rsicd", counts, first=50)


def load(main, tmp_path, **options):
    """Our miniature pictures under the names of benchmarks, which ``complete`` would refuse."""
    given = {"benchmark": "ucm", "test_split": "test", "complete": False} | options
    arguments = DataArguments(data=str(main), **given)
    return load_training_data(arguments, folder=tmp_path / "run", draw=build_gallery)


def test_one_set_is_its_official_splits(main, tmp_path):
    data = load(main, tmp_path)
    assert data.counts == {"ucm": 6}
    assert {name: len(rows) for name, rows in data.validation.items()} == {"ucm": 3}
    assert data.captions == [miniature.sentences(number) for number in range(6)]
    assert data.describe() == "UCM-Captions train, 6 pictures"


def test_sets_stand_beside_each_other_with_the_splits_they_have(main, extra, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = load(main, tmp_path, extra_data={"rsicd": str(extra), "drawn": "generated:3"})
    assert data.counts == {"ucm": 6, "rsicd": 5, "drawn": 3}
    assert list(data.validation) == ["ucm", "rsicd"]
    assert len(data.captions) == 14
    assert data.describe() == (
        "UCM-Captions train, 6 pictures; RSICD train, 5 pictures; drawn scenes, 3 pictures"
    )
    assert "has no test split; it is not checked" in caplog.text
    names = ("ucm/train", "ucm/test", "rsicd/train", "rsicd/validation", "drawn/shipped 200")
    assert all(name in caplog.text for name in names)


def test_a_set_without_validation_split_only_trains(main, tmp_path):
    extra = miniature.write_imagefolder(tmp_path / "rsicd", {"train": 4}, first=50)
    data = load(main, tmp_path, extra_data={"rsicd": str(extra)})
    assert data.counts == {"ucm": 6, "rsicd": 4}
    assert list(data.validation) == ["ucm"]


def test_a_smoke_run_takes_the_first_pictures_of_each_set(main, extra, tmp_path):
    data = load(main, tmp_path, extra_data={"rsicd": str(extra)}, max_train_images=2)
    assert data.counts == {"ucm": 2, "rsicd": 2}
    assert len(data.validation["rsicd"]) == 2


def test_a_smoke_run_draws_no_more_scenes_than_it_takes(main, tmp_path):
    data = load(main, tmp_path, extra_data={"drawn": "generated:30"}, max_train_images=2)
    assert data.counts == {"ucm": 2, "drawn": 2}
    assert len(list((tmp_path / "run").rglob("*.jpg"))) == 2


def test_each_picture_is_decoded_once(main, extra, tmp_path, monkeypatch):
    decoded = []
    for module in (leakage, tables):
        monkeypatch.setattr(
            module, "read_image", lambda file, **_: decoded.append(file) or read(file)
        )
    load(main, tmp_path, extra_data={"rsicd": str(extra)})
    assert len(decoded) == 12 + 7


def test_broken_pictures_stop_the_run_and_are_all_named(main, extra, tmp_path):
    for number in (51, 53):
        for file in tmp_path.rglob(f"scene{number}.png"):
            file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataLayoutError, match=r"2 broken pictures of 5") as error:
        load(main, tmp_path, extra_data={"rsicd": str(extra)})
    assert "rsicd/train" in str(error.value)
    assert all(f"scene{number}.png" in str(error.value) for number in (51, 53))


def test_part_of_a_further_release_will_do_but_not_of_the_main_one(main, tmp_path):
    extra = miniature.write_karpathy(tmp_path / "rsicd", {"train": 4}, dataset="RSICD", first=50)
    assert load(main, tmp_path, extra_data={"rsicd": str(extra)}).counts["rsicd"] == 4
    part = miniature.write_karpathy(tmp_path / "part")
    with pytest.raises(DataLayoutError, match="UCM-Captions train, not 1680"):
        load(part, tmp_path, complete=True)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("ucm/train/scene00.png", "rsicd/validation"),
        ("rsicd/train/scene50.png", "ucm/test"),
        ("ucm/train/scene00.png", "ucm/test"),
    ],
)
def test_a_training_picture_held_out_anywhere_stops_the_run(source, target, main, extra, tmp_path):
    # It takes the place of the first picture of that split.
    held_out = min((tmp_path / target).glob("*.png"))
    shutil.copy(tmp_path / source, held_out)
    options = {"extra_data": {"rsicd": str(extra)}}
    with pytest.raises(DataLayoutError, match=r"stand in two splits: 1, such as") as error:
        load(main, tmp_path, **options)
    assert f"{target}/{held_out.name}" in str(error.value)
    assert load(main, tmp_path, allow_leakage=True, **options).counts["ucm"] == 6


def test_a_picture_in_two_training_sets_is_no_leak(main, extra, tmp_path):
    shutil.copy(main / "train" / "scene00.png", extra / "train" / "scene50.png")
    assert load(main, tmp_path, extra_data={"rsicd": str(extra)}).counts["rsicd"] == 5


def test_an_unknown_benchmark_is_named(main, tmp_path):
    with pytest.raises(QueryError, match="'landsat'"):
        load(main, tmp_path, benchmark="landsat")


def test_scenes_are_drawn_once_a_run_and_again_the_same(tmp_path):
    first = draw_training_scenes(3, folder=tmp_path / "a", draw=build_gallery)["train"]
    again = draw_training_scenes(3, folder=tmp_path / "b", draw=build_gallery)["train"]
    files = [sorted((tmp_path / name).rglob("*.jpg")) for name in ("a", "b")]
    assert [a.read_bytes() for a in files[0]] == [b.read_bytes() for b in files[1]]
    assert first["captions"] == again["captions"]
    read = draw_training_scenes(3, folder=tmp_path / "a", draw=None)["train"]
    assert read["captions"] == first["captions"]


def test_drawn_scenes_need_a_program_that_draws_them(tmp_path):
    with pytest.raises(DataLayoutError, match=r"nothing here draws them.*draw=build_gallery"):
        draw_training_scenes(3, folder=tmp_path, draw=None)


@pytest.mark.slow
def test_no_drawn_scene_is_in_the_shipped_gallery(tmp_path):
    two_of_each = 2 * len(CATEGORIES)
    drawn = draw_training_scenes(two_of_each, folder=tmp_path, draw=build_gallery)
    assert len(drawn["train"]) == two_of_each == 40
    assert len(drawn["shipped"]) == len(list(sample_folder().glob("*.jpg"))) == 200
    assert check_leakage(drawn).crossing == ()


@pytest.fixture
def parquet(tmp_path):
    """A data set as it lies on the Hub; the first validation picture stands in train too."""
    folder = tmp_path / "parquet" / "data"
    folder.mkdir(parents=True)
    for split, count, first in (("train", 6, 0), ("validation", 3, 5), ("test", 2, 20)):
        table = miniature.hub_table(count, first=first)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder.parent


def test_a_streamed_set_knows_its_captions_and_leaves_out_what_is_held_out(
    parquet, tmp_path, quick_streams, caplog
):
    caplog.set_level(logging.INFO)
    data = load(parquet, tmp_path, streaming=True, shuffle_buffer=2)
    assert data.counts == {"ucm": 6} and data.describe() == "UCM-Captions train, 6 pictures"
    assert data.captions == [miniature.sentences(number) for number in range(6)]
    assert {name: len(rows) for name, rows in data.validation.items()} == {"ucm": 3}
    assert "Streaming 6 training pictures" in caplog.text
    assert "Leakage check over 5 pictures (ucm/validation 3, ucm/test 2)" in caplog.text
    rows = list(StreamView(data.train["ucm"], RowDrawer(seed=0)))
    assert len(rows) == 5 and "scene_5.jpg is held out too" in caplog.text
    kept = load(parquet, tmp_path, streaming=True, allow_leakage=True, max_train_images=4)
    assert len(list(StreamView(kept.train["ucm"], RowDrawer(seed=0)))) == 4


def own_folder(root, count, *, first=0):
    """Pictures and captions without splits, as somebody has them."""
    return miniature.write_imagefolder(root.parent, {root.name: count}, first=first) / root.name


def load_mine(data, tmp_path, **options):
    return load_training_data(DataArguments(data=str(data), **options), folder=tmp_path / "run")


def numbers(table):
    return [int(re.sub(r"\D", "", name)) for name in table["file_name"]]


def test_own_data_without_splits_holds_whole_groups_out(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = load_mine(own_folder(tmp_path / "harbours", 40), tmp_path)
    assert data.counts == {"harbours": 32}
    train, held = (numbers(part["harbours"]) for part in (data.train, data.validation))
    assert sorted(train + held) == list(range(40)) and len(held) == 8
    assert {number % 9 for number in train}.isdisjoint(number % 9 for number in held)
    assert data.test == {} and not data.own["harbours"].test
    assert "8 of 40 pictures held out, the same ones whatever the seed" in caplog.text
    assert "harbours: pictures by column file_name, captions by captions" in caplog.text
    assert "Expect little" not in caplog.text
    assert data.describe() == "harbours (own data), 32 pictures"


def test_near_equal_own_pictures_do_not_cross(tmp_path):
    folder = own_folder(tmp_path / "harbours", 27)
    rows = [
        {"file_name": f"scene{number:02d}.png", "text": f"Harbour {number} from above"}
        for number in range(27)
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number in range(18, 27):  # the third nine are turned copies of the first
        miniature.draw_picture(number - 18).rotate(90).save(folder / f"scene{number}.png")
    data = load_mine(folder, tmp_path)
    held = set(numbers(data.validation["harbours"]))
    assert len(held) == 4
    assert {number % 18 for number in held}.isdisjoint(
        number % 18 for number in numbers(data.train["harbours"])
    )


def test_own_splits_are_taken_as_they_are_and_test_is_kept_apart(main, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    named = tmp_path / "mine"
    main.rename(named)
    data = load_mine(named, tmp_path, validation_share=0.5)
    assert data.counts == {"mine": 6}
    assert {name: len(rows) for name, rows in data.validation.items()} == {"mine": 3}
    assert {name: len(rows) for name, rows in data.test.items()} == {"mine": 3}
    assert data.own["mine"].test and data.own["mine"].held_out is None
    assert "validation_share is not needed" in caplog.text
    shutil.copy(named / "train" / "scene00.png", named / "test" / "scene09.png")
    with pytest.raises(DataLayoutError, match=r"mine/train/scene00.png = mine/test/scene09.png"):
        load_mine(named, tmp_path)


@pytest.mark.parametrize("count", [2, 3, 12, 19])
def test_few_own_pictures_are_trained_on_and_what_to_expect_is_said(count, tmp_path, caplog):
    data = load_mine(own_folder(tmp_path / "few", count), tmp_path)
    held = len(data.validation["few"])
    assert data.counts == {"few": count - held} and held >= 1
    assert f"few has {count} pictures, {count - held} to train on" in caplog.text
    assert f"moves recall by {100 / held:.0f} points" in caplog.text


def test_one_own_picture_is_refused(tmp_path):
    with pytest.raises(
        DataLayoutError, match=r"too few captioned pictures to train on: 1.*at least 2"
    ):
        load_mine(own_folder(tmp_path / "one", 1), tmp_path)


def test_own_data_needs_a_place_a_training_split_and_a_share(main, tmp_path):
    with pytest.raises(DataLayoutError, match="--data PLACE"):
        load_mine("", tmp_path)
    with pytest.raises(DataLayoutError, match="validation_share is 0"):
        load_mine(own_folder(tmp_path / "mine", 9), tmp_path, validation_share=0)
    shutil.rmtree(main / "train")
    with pytest.raises(DataLayoutError, match="no split to train on, only validation, test"):
        load_mine(main, tmp_path, data_name="mine")


def test_own_data_carries_what_its_owner_says(tmp_path):
    said = {"data_name": "Harbours 2024", "data_licence": "cc-by-4.0", "data_source": "Port"}
    data = load_mine(own_folder(tmp_path / "x", 21), tmp_path, **said)
    known = data.own["Harbours 2024"]
    assert (known.licence, known.source, known.hub_id) == ("cc-by-4.0", "Port", None)
    assert not known.from_class_names


def test_own_data_stands_beside_a_benchmark_in_either_order(main, tmp_path):
    folder = own_folder(tmp_path / "harbours", 12, first=30)
    data = load(main, tmp_path, extra_data={"harbours": str(folder)})
    assert data.counts == {"ucm": 6, "harbours": 12} and list(data.own) == ["harbours"]
    assert list(data.validation) == ["ucm"]
    assert data.describe() == "UCM-Captions train, 6 pictures; harbours (own data), 12 pictures"
    extra = {"extra_data": {"ucm": str(main)}, "complete": False}
    data = load_mine(folder, tmp_path, **extra)
    assert list(data.counts) == ["harbours", "ucm"] and list(data.own) == ["harbours"]
    assert list(data.validation) == ["harbours", "ucm"] and data.test == {}


@pytest.mark.parametrize("options", [{}, {"extra_data": "rsicd"}, {"keep_data": "rsicd"}])
def test_other_pictures_than_those_of_the_benchmark_named_are_refused(options, main, tmp_path):
    folder = miniature.write_imagefolder(tmp_path / "mine", first=50)
    for file in folder.rglob("scene*.png"):
        file.rename(file.with_name(file.name.replace("scene", "harbour no ")))
    for file in folder.rglob("metadata.jsonl"):
        file.write_text(file.read_text().replace("scene", "harbour no "))
    if options:
        further = {field: {name: str(folder)} for field, name in options.items()}
        arguments = {"benchmark": "ucm", "data": str(main), **further}
    else:
        arguments = {"benchmark": "ucm", "data": str(folder)}
    with pytest.raises(
        DataLayoutError, match=r"mine is not (UCM-Captions|RSICD) (train|test).*or none"
    ):
        load_training_data(DataArguments(**arguments), folder=tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"data": "here/UCM"}, "'UCM'.*--benchmark ucm.*--data_name"),
        ({"data_name": "our RSICD pictures"}, "another set"),
        ({"data_name": "drawn"}, "another set"),
        ({"data_name": "a/b"}, "1 to 80 characters"),
        ({"data_name": "two\nlines"}, "1 to 80 characters"),
        ({"extra_data": {"sample": "there"}}, "another set"),
        ({"benchmark": "ucm", "data_licence": "mit"}, "--benchmark '' for own data"),
        ({"data_name": "mine", "extra_data": {"mine": "there"}}, "main set already"),
        ({"extra_data": {"mine": None}}, "expected a folder"),
    ],
)
def test_names_that_mislead_are_refused(options, found):
    with pytest.raises(RecipeError, match=found):
        DataArguments(**{"data": "here/pictures"} | options)


def test_own_data_is_called_as_its_folder_or_as_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "harbours.v2").mkdir()
    (tmp_path / "captions.csv").write_text("")
    monkeypatch.chdir(tmp_path / "harbours.v2")
    places = {
        tmp_path / "harbours.v2": "harbours.v2",
        tmp_path / "harbours.v2" / "captions.csv": "harbours.v2",
        ".": "harbours.v2",
        "someone/harbours@main": "harbours",
    }
    for place, name in places.items():
        assert DataArguments(data=str(place)).name == name


def test_own_data_can_be_streamed(parquet, tmp_path, quick_streams):
    (parquet / "data" / "train-00000-of-00001.parquet").rename(tmp_path / "kept")
    miniature.hub_table(6).to_parquet(parquet / "data" / "train-00000-of-00001.parquet")
    options = {"streaming": True, "shuffle_buffer": 2, "data_name": "mine"}
    data = load_mine(parquet, tmp_path, **options)
    assert data.counts == {"mine": 6}
    assert len(data.validation["mine"]) == 3 and len(data.test["mine"]) == 2
    assert data.describe() == "mine (own data), 6 pictures"


def test_what_the_base_knew_is_test_or_else_validation(tmp_path):
    whole = miniature.write_imagefolder(
        tmp_path / "whole", {"train": 2, "validation": 2, "test": 3}
    )
    part = miniature.write_imagefolder(tmp_path / "part", {"train": 2, "validation": 2})
    kept = load_kept({"ucm": str(whole), "rsicd": str(part)}, only_it=False)
    found = {
        name: {split: len(rows) for split, rows in each.items()} for name, each in kept.items()
    }
    assert found == {"ucm": {"test": 3}, "rsicd": {"validation": 2}}


def test_listed_pairs_are_left_out_of_training_and_of_nothing_else(main, tmp_path):
    listed = tmp_path / "list.csv"
    lines = ["picture,caption"]
    whole = load(main, tmp_path)
    for table, row in ((whole.train["ucm"], 1), (whole.validation["ucm"], 0)):
        name = table[row]["file_name"]
        lines += [f'{name},"{caption}"' for caption in table[row]["captions"]]
    listed.write_text("\n".join(lines))
    data = load(main, tmp_path, leave_out=str(listed))
    assert data.counts == {"ucm": 5}
    assert whole.train["ucm"][1]["file_name"] not in data.train["ucm"]["file_name"]
    assert len(data.validation["ucm"]) == len(whole.validation["ucm"])


def test_a_list_of_most_pairs_is_refused_unless_told_and_never_meets_a_stream(main, tmp_path):
    listed = tmp_path / "list.csv"
    table = load(main, tmp_path).train["ucm"]
    lines = [f'{row["file_name"]},"{text}"' for row in table.take(4) for text in row["captions"]]
    listed.write_text("\n".join(["picture,caption", *lines]))
    with pytest.raises(DataLayoutError, match="more than half"):
        load(main, tmp_path, leave_out=str(listed))
    told = load(main, tmp_path, leave_out=str(listed), leave_out_most=True)
    assert told.counts == {"ucm": 2}
    with pytest.raises(RecipeError, match=r"leave_out is .* and streaming is on"):
        DataArguments(data="a/b", streaming=True, leave_out=str(listed))
