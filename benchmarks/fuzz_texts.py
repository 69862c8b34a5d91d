"""Doors that read text files: captions in every format, recipes."""

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from fuzz_inputs import (
    MARKUP,
    ODD_TEXTS,
    mutated,
    numbers,
    spoilt,
    spoilt_json,
    spoilt_lines,
    texts,
    values,
)
from fuzz_pictures import SIDE, emptied, encoded, noise
from fuzz_targets import Complaint, Refused, Target
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from rsctir_hf.data.formats import (
    CaptionRecord,
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
from rsctir_hf.ui.views.results import hit_record, picture_detail, picture_results


def text_targets(place: Path) -> list[Target]:
    """Return the doors that read text files; they write below ``place``."""
    retrieval = recipe_reader(place, parse_recipe)
    detection = recipe_reader(place, parse_detector_recipe)
    return [
        *caption_targets(place),
        Target("recipes: values", recipes(recipe()), retrieval, 700),
        Target("recipes: files", mutated(recipe_files()), retrieval, 500),
        Target("recipes: detector", recipes(detector_recipe()), detection, 200),
        Target("recipes: flags", flags(), lambda given: parse(parse_recipe, given), 300),
    ]


class Captions:
    """A folder of two pictures, and the readers of all caption files that may lie in it.

    Args:
        place: where it is made.
    """

    def __init__(self, place: Path) -> None:
        self.folder = emptied(place / "captions")
        (self.folder / "train").mkdir()
        picture = encoded(Image.fromarray(noise(SIDE, SIDE, 3)), "PNG")
        for name in ("train/a.png", "train/b.png", "a.png", "b.png"):
            (self.folder / name).write_bytes(picture)

    def writing(self, name: str, read: Callable[[], object]) -> Callable[[bytes], object]:
        """Return what reads the folder with a file of that name in it."""

        def call(content: bytes) -> object:
            (self.folder / name).write_bytes(content)
            try:
                return read()
            finally:
                (self.folder / name).unlink()

        return call

    def precomp(self, contents: tuple[bytes, bytes]) -> None:
        """Read captions and names."""
        for name, content in zip(("train_caps.txt", "train_filename.txt"), contents, strict=True):
            (self.folder / name).write_bytes(content)
        self._match(read_precomp(self.folder, "train"))

    def karpathy(self) -> None:
        """Read a Karpathy release."""
        file = self.folder / "dataset_x.json"
        list_splits(file, detect_format(file))
        self._match(read_karpathy(file, "train"))

    def imagefolder(self) -> None:
        """Read an imagefolder."""
        read_imagefolder(self.folder, "train")

    def annotations(self) -> None:
        """Read what is known of a gallery's pictures."""
        read_annotations(self.folder, list_images(self.folder))

    def boxes(self) -> None:
        """Read pictures with boxes."""
        read_boxed_folder(self.folder, classes=("plane", "tank"), names=("plane", "tank"))

    def bank(self) -> None:
        """Read a caption bank."""
        read_caption_bank(self.folder / "bank.txt")

    def gallery(self) -> None:
        """Open the app's gallery and show each picture."""
        opened = open_gallery(str(self.folder))
        for number, path in enumerate(opened.paths):
            hit = Hit(number, str(path), None, 0.5, 1, 1, None)
            json.dumps(hit_record(hit, opened, rerank="none"))
            html = picture_detail(hit, opened, rerank="none")
            html += picture_results([hit], opened, rerank="none", label="found")
            if "<script" in html or "<img src=x" in html:
                raise Complaint(f"markup is shown: {html}")

    def _match(self, records: list[CaptionRecord]) -> None:
        names = [record.file_name for record in records]
        match_pictures(names, self.folder / "train", tree="")


def caption_targets(place: Path) -> list[Target]:
    """Return the doors for caption files, every format in values and in bytes."""
    files = Captions(place)
    shown, known = "metadata.jsonl", spoilt_lines(annotated_rows())
    lines = mutated([b"a pier\nboats\n" * 5, "é\r\n\r\nà\r\n".encode("latin-1"), b"a.tif\nb.tif\n"])
    return [
        Target("captions: imagefolder", spoilt_lines(imagefolder_rows()),
               files.writing(f"train/{shown}", files.imagefolder), 600),
        Target("captions: Karpathy", spoilt_json(karpathy_release()),
               files.writing("dataset_x.json", files.karpathy), 600),
        Target("captions: precomp", st.tuples(lines, lines), files.precomp, 400),
        Target("captions: boxes", spoilt_lines(boxed_rows()),
               files.writing(shown, files.boxes), 400),
        Target("captions: annotations", known, files.writing(shown, files.annotations), 400),
        Target("captions: app's gallery", known, files.writing(shown, files.gallery), 400),
        Target("captions: bank", lines, files.writing("bank.txt", files.bank), 200),
    ]  # fmt: skip


def imagefolder_rows() -> list[dict[str, Any]]:
    """Return good lines of an imagefolder's metadata."""
    return [
        {"file_name": name, "captions": ["boats", MARKUP], "class": "pier"}
        for name in ("a.png", "b.png")
    ]


def boxed_rows() -> list[dict[str, Any]]:
    """Return good lines with boxes."""
    objects = {"bbox": [[1, 2, 9, 9], [3, 3, 5, 5]], "category": [0, 1]}
    return [{"file_name": "a.png", "objects": objects}]


def annotated_rows() -> list[dict[str, Any]]:
    """Return good lines of what is known of a gallery's pictures."""
    return [
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


def karpathy_release() -> dict[str, Any]:
    """Return a good Karpathy release."""
    sentences = [{"raw": "a pier .", "tokens": ["a", "pier"]}, {"raw": "boats"}]
    return {
        "images": [
            {"filename": f"{name}.tif", "split": split, "sentences": sentences}
            for name, split in (("a", "train"), ("b", "test"))
        ]
    }


def recipe() -> dict[str, Any]:
    """Return a good recipe."""
    return {
        "family": "cmpagl",
        "benchmark": "ucm",
        "data": "folder",
        "config": {"image_size": 32, "depths": [1, 1]},
        "extra_data": {"drawn": "generated:4"},
        "lr_factors": {"text": 0.1},
        "frozen_epochs": {"text": 1},
        "crop_scale": [0.5, 1.0],
        "learning_rate": 1e-4,
        "num_train_epochs": 1,
        "word_drop": 0.1,
        "output_dir": "outputs",
        "report_to": "none",
        "use_cpu": True,
    }


def detector_recipe() -> dict[str, Any]:
    """Return a good recipe of the detector."""
    return {
        "backbone": "efficientnet_lite0",
        "picture_side": 640,
        "data": "folder",
        "validation_share": 0.15,
        "crop_side": 384,
        "crop_scales": [0.6, 1.4],
        "object_share": 0.7,
        "output_dir": "outputs",
        "report_to": "none",
        "use_cpu": True,
    }


def recipes(good: dict[str, Any]) -> SearchStrategy[bytes]:
    """Recipes with spoilt values, unknown keys and odd parents."""
    parent = st.fixed_dictionaries({"extends": st.one_of(values(), st.just("recipe.yaml"))})
    one = st.builds(lambda kept, more: {**kept, **more}, spoilt(good), parent)
    single = st.sampled_from(sorted(good)).flatmap(
        lambda key: values().map(lambda value: {**good, key: value})
    )
    return st.one_of(spoilt(good), single, one, values()).map(
        lambda each: yaml.safe_dump(each).encode()
    )


def recipe_files() -> list[bytes]:
    """Return good recipes, and YAML that is a burden."""
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
    )
    odd = "when: 2001-99-99\nb: 0b2\nk: !!set {a}\n? [x]\n: y\n<<: 5\nself: &s [*s]\n"
    return [yaml.safe_dump(recipe()).encode(), bomb.encode(), odd.encode()]


def recipe_reader(place: Path, read: Callable[[list[str]], object]) -> Callable[[bytes], object]:
    """Return what reads a recipe with these bytes."""
    file = place / "recipe.yaml"

    def call(content: bytes) -> object:
        file.write_bytes(content)
        return parse(read, [str(file)])

    return call


def flags() -> SearchStrategy[list[str]]:
    """Flags of a training run with odd values."""
    names = st.sampled_from([f"--{name}" for name in (*recipe(), "seed", "teachers", "unknown")])
    odd = st.one_of(texts(), numbers().map(str), st.sampled_from(ODD_TEXTS))
    return st.lists(st.tuples(names, odd).map(list), max_size=3).map(
        lambda each: list(chain.from_iterable(each))
    )


def parse(read: Callable[[list[str]], object], arguments: list[str]) -> object:
    """Parse a recipe; argparse says what is wrong with a flag and leaves with exit code 2."""
    try:
        return read(arguments)
    except SystemExit as left:
        raise Refused(f"usage, exit code {left.code}") from left
