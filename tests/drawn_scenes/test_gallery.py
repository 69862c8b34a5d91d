"""The drawn gallery: deterministic, true to its own records, small, and loadable."""

import json
import re

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from drawn_scenes import CATEGORIES, draw_scene, gallery
from drawn_scenes.build import build_gallery, metadata_row, scene_file
from drawn_scenes.captions import CAPTIONS_PER_SCENE, NUMBER_WORDS, TEMPLATES
from rsctir_hf.errors import QueryError
from rsctir_hf.sample import sample_folder

# what JPEG at quality 82 costs on these textures is about 4 grey levels a pixel
REDRAW_TOLERANCE = 8.0
MOST_BYTES = 5_000_000
COUNTED = {  # category -> object it counts, and the noun its captions use
    "airport": ("plane", "plane"),
    "harbor": ("boat", "boat"),
    "storage_tanks": ("storage tank", "storage tank"),
    "tennis_courts": ("tennis court", "tennis court"),
    "parking_lot": ("car", "car"),
    "sparse_residential": ("house", "house"),
    "circular_fields": ("circular field", "circular field"),
}


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    lines = (sample_folder() / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_there_are_ten_scenes_of_each_of_twenty_types(rows):
    assert len(CATEGORIES) == 20
    assert len(rows) == 200
    for category in CATEGORIES:
        assert sum(row["category"] == category for row in rows) == 10


def test_every_picture_is_on_disk_and_all_stay_below_five_megabytes(rows):
    files = sorted(path.name for path in sample_folder().glob("*.jpg"))
    assert files == sorted(row["file_name"] for row in rows)
    assert sum(path.stat().st_size for path in sample_folder().iterdir()) <= MOST_BYTES


def test_every_scene_has_five_different_sentences(rows):
    for row in rows:
        assert len(set(row["captions"])) == CAPTIONS_PER_SCENE, row["file_name"]
        for caption in row["captions"]:
            assert re.fullmatch(r"[A-Z][A-Za-z ,'-]+\.", caption), caption


def test_boxes_lie_inside_the_picture(rows):
    for row in rows:
        with Image.open(sample_folder() / row["file_name"]) as image:
            width, height = image.size
        assert len(row["objects"]["bbox"]) == len(row["objects"]["category"])
        for x, y, w, h in row["objects"]["bbox"]:
            assert w > 0
            assert h > 0
            assert -0.1 <= x <= x + w <= width + 0.1, row["file_name"]
            assert -0.1 <= y <= y + h <= height + 0.1, row["file_name"]


def test_the_geotransform_is_north_up_with_pixels_of_the_scene_type(rows):
    for row in rows:
        east, dx, row_turn, north, column_turn, dy = row["geotransform"]
        low, high = gallery.SCENE_TYPES[row["category"]].gsd
        assert low - 1e-3 <= dx <= high + 1e-3
        assert (row_turn, column_turn, dy) == (0, 0, -dx)
        assert 160_000 < east < 840_000  # a UTM zone is about this wide
        assert 0 < north < 10_000_000
        assert row["crs"] // 100 in (326, 327)


@pytest.mark.parametrize(
    ("category", "seed"), [("circular_fields", 0), ("parking_lot", 4), ("tennis_courts", 7)]
)
def test_a_scene_drawn_again_equals_the_committed_one(category, seed, rows):
    scene = draw_scene(category, seed)
    with Image.open(sample_folder() / scene_file(category, seed)) as image:
        committed = np.asarray(image.convert("RGB"), dtype=float)
    drawn = np.asarray(scene.image, dtype=float)
    assert drawn.shape == committed.shape
    assert np.abs(drawn - committed).mean() < REDRAW_TOLERANCE
    record = next(row for row in rows if row["file_name"] == scene_file(category, seed))
    assert metadata_row(scene, seed) == record


@pytest.mark.slow
def test_scenes_for_training_are_spread_over_the_types_and_have_seeds_of_their_own(tmp_path):
    size = build_gallery(tmp_path, scenes=22, first_seed=1000)
    lines = (tmp_path / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    drawn = [(row["category"], row["seed"]) for row in map(json.loads, lines)]
    assert drawn == sorted(
        [(category, 1000) for category in CATEGORIES] + [(c, 1001) for c in CATEGORIES[:2]]
    )
    assert size == sum(path.stat().st_size for path in tmp_path.glob("*.jpg"))


def test_the_committed_scenes_are_listed_in_the_order_they_are_drawn_in(rows):
    drawn = [(row["category"], row["seed"]) for row in rows]
    assert drawn == sorted((category, seed) for category in CATEGORIES for seed in range(10))


def test_the_same_seed_gives_the_same_scene_and_another_seed_another():
    first, again, other = (draw_scene("storage_tanks", seed) for seed in (3, 3, 5))
    assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
    assert (first.captions, first.objects) == (again.captions, again.objects)
    assert not np.array_equal(np.asarray(first.image), np.asarray(other.image))


@pytest.mark.parametrize("category", sorted(COUNTED))
def test_numbers_in_captions_are_the_numbers_of_boxes(category, rows):
    thing, noun = COUNTED[category]
    words = "|".join((*NUMBER_WORDS[2:], "an?", "many"))
    pattern = re.compile(rf"\b({words}) {noun}s?\b", re.IGNORECASE)
    checked = 0
    for row in (r for r in rows if r["category"] == category):
        number = row["objects"]["category"].count(thing)
        for caption in row["captions"]:
            for said in pattern.findall(caption):
                word = said.lower()
                if word == "many":
                    assert number >= len(NUMBER_WORDS), (row["file_name"], caption)
                elif word in ("a", "an"):  # "a drive leads to a house" does not say it is alone
                    assert number >= 1, (row["file_name"], caption)
                else:
                    assert number == NUMBER_WORDS.index(word), (row["file_name"], caption)
                checked += 1
    assert checked >= 5


@pytest.mark.parametrize(
    ("category", "thing"), [("airport", "plane"), ("storage_tanks", "storage tank")]
)
def test_the_namesake_of_a_scene_is_in_it(category, thing, rows):
    scenes = [row for row in rows if row["category"] == category]
    assert scenes
    for row in scenes:
        assert thing in row["objects"]["category"], row["file_name"]


def test_pictures_are_lit_textured_and_coloured(rows):
    for row in rows:
        with Image.open(sample_folder() / row["file_name"]) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=float)
        assert 40 < pixels.mean() < 215, row["file_name"]
        assert pixels.std() > 12, row["file_name"]


def test_the_folder_loads_as_an_imagefolder(tmp_path, rows):
    dataset = load_dataset(
        "imagefolder", data_dir=str(sample_folder()), split="train", cache_dir=str(tmp_path)
    )
    assert len(dataset) == len(rows)
    row = dataset[0]
    assert row["image"].mode == "RGB"
    assert len(row["captions"]) == CAPTIONS_PER_SCENE
    assert len(row["objects"]["bbox"]) == len(row["objects"]["category"])


def test_every_scene_type_has_its_sentences():
    assert set(TEMPLATES) == set(CATEGORIES)


def test_an_unknown_scene_type_is_named_with_the_known_ones():
    with pytest.raises(QueryError, match=r"'volcano'.*airport"):
        draw_scene("volcano", 0)
