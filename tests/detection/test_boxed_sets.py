"""The detector's pictures: which are held out, which are drawn, and what is refused."""

import numpy as np
import pytest

from drawn_scenes.build import build_gallery
from drawn_scenes.gallery import CATEGORIES
from rsctir_hf.detection.boxed_sets import (
    DRAWN_NAMES,
    DRAWN_TYPES,
    hold_out_by_class,
    load_detector_data,
    read_split,
)
from rsctir_hf.detection.detector_args import parse_detector_recipe
from rsctir_hf.errors import DataLayoutError, RecipeError
from rsctir_hf.sample import sample_folder
from tests.boxed import boxed_picture, write_rsod
from tests.conftest import ROOT

RECIPE = ROOT / "training" / "recipes" / "detector" / "rsod.yaml"


def test_the_same_share_of_every_class_is_held_out():
    pictures = [boxed_picture(number) for number in range(40)]
    train, held = hold_out_by_class(pictures, share=0.2)
    assert len(train) == 32
    assert np.bincount([each.labels[0] for each in held]).tolist() == [2, 2, 2, 2]
    assert not {each.name for each in train} & {each.name for each in held}
    again = hold_out_by_class(pictures, share=0.2)[1]
    assert [each.name for each in held] == [each.name for each in again]


def test_drawn_scenes_teach_the_classes_and_are_not_those_of_the_gallery(tmp_path):
    data = write_rsod(tmp_path / "rsod", {"train": 12})
    flags = ["--data", str(data), "--drawn_scenes", "1", "--output_dir", str(tmp_path)]
    _, arguments, _ = parse_detector_recipe([*flags, "--use_cpu", "true"])
    found = load_detector_data(arguments, folder=tmp_path, draw=build_gallery)
    drawn = found.train[found.counts["rsod"] :]
    assert found.counts["drawn"] == len(drawn) == 4
    assert set(np.concatenate([each.labels for each in drawn]).tolist()) == {0, 1, 2, 3}
    assert set(DRAWN_TYPES) <= set(CATEGORIES)
    shipped = {path.name for path in sample_folder().glob("*.jpg")}
    assert not shipped & {each.name for each in drawn}
    assert set(DRAWN_NAMES.values()) == set(found.classes)


def test_missing_data_and_unknown_keys_are_refused(tmp_path):
    with pytest.raises(DataLayoutError, match=r"classes.json is missing"):
        read_split(tmp_path, "train")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("benchmark: ucm\n")
    with pytest.raises(RecipeError, match="unknown keys"):
        parse_detector_recipe([str(recipe)])
    recipe.write_text("7: a\nbenchmark: ucm\n")
    with pytest.raises(RecipeError, match="unknown keys"):
        parse_detector_recipe([str(recipe)])


def test_the_shipped_recipe_fits_the_real_data(development_data):
    _, arguments, training = parse_detector_recipe([str(RECIPE), "--drawn_scenes", "0"])
    pictures = read_split(development_data / "rsod", "train")
    train, held = hold_out_by_class(pictures, share=arguments.validation_share)
    assert (len(train), len(held)) == (261, 45)
    assert training.metric_for_best_model == "mAP50"
    for each in pictures:
        assert (each.boxes[:, 2:] <= np.array(each.image.size) + 1).all()
