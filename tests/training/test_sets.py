"""The sets of a run: which splits are loaded, what is drawn, and what may not be trained on."""

import logging
import shutil

import pytest

from drawn_scenes import CATEGORIES
from drawn_scenes.build import build_gallery
from rsctir_hf.data import leakage, tables
from rsctir_hf.data.collator import RowDrawer
from rsctir_hf.data.leakage import check_leakage
from rsctir_hf.data.stream import StreamView
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.files.pictures import read_image as read
from rsctir_hf.sample import sample_folder
from rsctir_hf.training.recipe_args import DataArguments
from rsctir_hf.training.sets import draw_training_scenes, load_training_data
from tests import miniature


@pytest.fixture
def main(tmp_path):
    return miniature.write_imagefolder(tmp_path / "ucm")


@pytest.fixture
def extra(tmp_path):
    counts = {"train": 5, "validation": 2}
    return miniature.write_imagefolder(tmp_path / "rsicd", counts, first=50)


def load(main, tmp_path, **options):
    arguments = DataArguments(data=str(main), test_split="test", **options)
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
        monkeypatch.setattr(module, "read_image", lambda file: decoded.append(file) or read(file))
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
        load(part, tmp_path)


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
    with pytest.raises(DataLayoutError, match=r"1 held-out pictures stand in two splits") as error:
        load(main, tmp_path, **options)
    assert f"{target}/{held_out.name}" in str(error.value)
    assert load(main, tmp_path, allow_leakage=True, **options).counts["ucm"] == 6


def test_a_picture_in_two_training_sets_is_no_leak(main, extra, tmp_path):
    shutil.copy(main / "train" / "scene00.png", extra / "train" / "scene50.png")
    assert load(main, tmp_path, extra_data={"rsicd": str(extra)}).counts["rsicd"] == 5


def test_an_unknown_set_is_named(main, extra, tmp_path):
    with pytest.raises(QueryError, match="'landsat'"):
        load(main, tmp_path, extra_data={"landsat": str(extra)})


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
