"""Hostile text files: captions in every format, what is known of a gallery, recipes."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rsctir_hf.data.formats import (
    detect_format,
    list_splits,
    match_pictures,
    read_imagefolder,
    read_karpathy,
    read_precomp,
)
from rsctir_hf.detection.crops import read_boxed_folder
from rsctir_hf.detection.detector_args import parse_detector_recipe
from rsctir_hf.files.pictures import list_images
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.annotations import read_annotations
from rsctir_hf.search.retriever import Hit
from rsctir_hf.training.recipe_args import parse_recipe
from rsctir_hf.ui.server.shown_gallery import open_gallery
from rsctir_hf.ui.views import results
from tests.fuzz.good_files import a_picture
from tests.fuzz.hostile import (
    MARKUP,
    ODD_TEXTS,
    mutated,
    numbers,
    often,
    spoilt,
    spoilt_json,
    spoilt_lines,
    texts,
    values,
)
from tests.fuzz.oracle import Refused, look_for_leaks, taken_or_refused

SENTENCES = [{"raw": "a pier .", "tokens": ["a", "pier"]}, {"raw": "boats"}]
KARPATHY = {
    "images": [
        {"filename": f"{name}.tif", "split": split, "sentences": SENTENCES}
        for name, split in (("a", "train"), ("b", "test"))
    ]
}
IMAGEFOLDER = [
    {"file_name": name, "captions": ["boats", MARKUP], "class": "pier"}
    for name in ("a.png", "b.png")
]
BOXES = {"bbox": [[1, 2, 9, 9], [3, 3, 5, 5]], "category": [0, 1]}
BOXED = [{"file_name": "a.png", "objects": BOXES}]
ANNOTATED = [
    {
        "file_name": "a.png",
        "captions": ["a pier"],
        "bounding_box": [8.4, 53.0, 8.9, 53.3],
        "year": 2020,
        "category": "pier",
        "geotransform": [500000.0, 0.5, 0.0, 5000000.0, 0.0, -0.5],
        "crs": 32632,
    }
]
LINES = mutated([b"a pier\nboats\n" * 5, "é\r\n\r\nà\r\n".encode("latin-1"), b"a.tif\nb.tif\n"])
RUN = {"data": "folder", "output_dir": "outputs", "report_to": "none", "use_cpu": True}
RECIPE = RUN | {
    "family": "cmpagl",
    "benchmark": "ucm",
    "config": {"image_size": 32, "depths": [1, 1]},
    "extra_data": {"drawn": "generated:4"},
    "lr_factors": {"text": 0.1},
    "frozen_epochs": {"text": 1},
    "crop_scale": [0.5, 1.0],
    "learning_rate": 1e-4,
    "num_train_epochs": 1,
    "word_drop": 0.1,
}
DETECTOR_RECIPE = RUN | {
    "backbone": "efficientnet_lite0",
    "picture_side": 640,
    "validation_share": 0.15,
    "crop_side": 384,
    "crop_scales": [0.6, 1.4],
    "object_share": 0.7,
}
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
ODD_YAML = "when: 2001-99-99\nb: 0b2\nk: !!set {a}\n? [x]\n: y\n<<: 5\nself: &s [*s]\n"


@pytest.fixture
def folder(tmp_path):
    """Two pictures, and room for every file of captions."""
    (tmp_path / "train").mkdir()
    for name in ("train/a.png", "train/b.png", "a.png", "b.png"):
        (tmp_path / name).write_bytes(a_picture())
    return tmp_path


def match(folder, records):
    match_pictures([record.file_name for record in records], folder / "train", tree="")


@often(2)
@given(content=spoilt_lines(IMAGEFOLDER))
def test_metadata_of_an_imagefolder(folder, content):
    (folder / "train" / "metadata.jsonl").write_bytes(content)
    taken_or_refused(read_imagefolder, folder, "train")


@often(2)
@given(content=spoilt_json(KARPATHY))
def test_karpathy_releases(folder, content):
    file = folder / "dataset_x.json"
    file.write_bytes(content)

    def read():
        list_splits(file, detect_format(file))
        match(folder, read_karpathy(file, "train"))

    taken_or_refused(read)


@given(captions=LINES, names=LINES)
def test_precomputed_lists(folder, captions, names):
    (folder / "train_caps.txt").write_bytes(captions)
    (folder / "train_filename.txt").write_bytes(names)
    taken_or_refused(lambda: match(folder, read_precomp(folder, "train")))


@given(content=spoilt_lines(BOXED))
def test_boxes_of_pictures(folder, content):
    (folder / "metadata.jsonl").write_bytes(content)
    known = {"classes": ("plane", "tank"), "names": ("plane", "tank")}
    taken_or_refused(lambda: read_boxed_folder(folder, **known))


@given(content=spoilt_lines(ANNOTATED))
def test_what_is_known_of_a_gallery(folder, content):
    (folder / "metadata.jsonl").write_bytes(content)
    taken_or_refused(lambda: read_annotations(folder, list_images(folder)))


def show_gallery(folder):
    """Open the app's gallery and show each picture."""
    opened = open_gallery(str(folder))
    for number, path in enumerate(opened.paths):
        hit = Hit(number, str(path), None, 0.5, 1, 1, None)
        json.dumps(results.hit_record(hit, opened, rerank="none"))
        shown = results.ShownHits((hit,), gallery=opened)
        look_for_leaks(results.picture_detail(hit, shown))
        look_for_leaks(results.picture_results(shown, label="found"))


@given(content=spoilt_lines(ANNOTATED))
def test_what_the_app_shows_of_a_gallery(folder, content):
    (folder / "metadata.jsonl").write_bytes(content)
    taken_or_refused(show_gallery, folder)


def test_a_fault_planted_in_what_the_app_shows_is_found(folder, monkeypatch):
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, ANNOTATED)))
    monkeypatch.setattr(results, "_card", lambda hit, caption, shown: caption[500])
    with pytest.raises(IndexError):
        taken_or_refused(show_gallery, folder)


@given(content=LINES)
def test_caption_banks(folder, content):
    (folder / "bank.txt").write_bytes(content)
    taken_or_refused(read_caption_bank, folder / "bank.txt")


def recipes(good):
    """Recipes with spoilt values, unknown keys and odd parents."""
    parent = st.fixed_dictionaries({"extends": st.one_of(values(), st.just("recipe.yaml"))})
    one = st.builds(lambda kept, more: {**kept, **more}, spoilt(good), parent)
    single = st.sampled_from(sorted(good)).flatmap(
        lambda key: values().map(lambda value: {**good, key: value})
    )
    return st.one_of(spoilt(good), single, one, values()).map(yaml.safe_dump).map(str.encode)


def parsed(read, arguments):
    """Parse a recipe; argparse says what is wrong with a flag and leaves with exit code 2."""
    try:
        read(arguments)
    except SystemExit as left:
        raise Refused(f"usage, exit code {left.code}") from left


def parse_file(read, folder, content):
    file = folder / "recipe.yaml"
    file.write_bytes(content)
    taken_or_refused(parsed, read, [str(file)])


@often(2)
@given(content=recipes(RECIPE))
def test_values_of_recipes(tmp_path, content):
    parse_file(parse_recipe, tmp_path, content)


@given(content=mutated([yaml.safe_dump(RECIPE).encode(), BOMB.encode(), ODD_YAML.encode()]))
def test_bytes_of_recipes(tmp_path, content):
    parse_file(parse_recipe, tmp_path, content)


@given(content=recipes(DETECTOR_RECIPE))
def test_values_of_recipes_of_the_detector(tmp_path, content):
    parse_file(parse_detector_recipe, tmp_path, content)


NAMES = st.sampled_from([f"--{name}" for name in (*RECIPE, "seed", "teachers", "unknown")])
ODD = st.one_of(texts(), numbers().map(str), st.sampled_from(ODD_TEXTS))


@given(st.lists(st.tuples(NAMES, ODD), max_size=3))
def test_flags_of_a_training(pairs):
    taken_or_refused(parsed, parse_recipe, [part for pair in pairs for part in pair])
