"""What a training set knows of its rows: numbers of pairs, kinds of scenes, labels."""

import math

import datasets
import pytest
import torch
from PIL import Image

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.data.collator import TrainingRow
from rsctir_hf.data.row_facts import UCM_CLASSES, RowFacts, class_of

PICTURE = Image.new("RGB", (4, 4))


def row_of(number, captions, drawn):
    return TrainingRow(PICTURE, drawn, drawn, captions, number)


def test_pairs_are_counted_through_all_sets_and_equal_sentences_are_one():
    sets = {
        "a": [{"captions": ["x", "y", "x"]}, {"captions": ["z"]}],
        "b": [{"captions": ["p", "q"]}],
    }
    facts = RowFacts.of(sets)
    rows = [row_of(2, ("p", "q"), ("q",)), row_of(0, ("x", "y", "x"), ("x", "y"))]
    assert facts(rows)["pairs"].tolist() == [5, 0, 1]
    assert facts.pairs == 6
    assert set(facts(rows)) == {"pairs"}


def test_classes_and_labels_are_numbered_and_what_is_not_known_stands_out():
    table = datasets.Dataset.from_dict(
        {
            "image": [PICTURE] * 3,
            "captions": [["a"]] * 3,
            "category": ["StorageTanks", "", "storage_tanks"],
            "labels": [["tanks", "cars"], None, []],
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "captions": datasets.List(datasets.Value("string")),
                "category": datasets.Value("string"),
                "labels": datasets.List(datasets.Value("string")),
            }
        ),
    )
    facts = RowFacts.of({"own": table})
    assert (facts.class_names, facts.label_names) == (["storage tanks"], ["cars", "tanks"])
    known = facts([row_of(n, ("a",), ("a",)) for n in range(3)])
    assert known["classes"].tolist() == [0, -1, 0]
    torch.testing.assert_close(
        known["labels"],
        torch.tensor([[1.0, 1.0], [math.nan, math.nan], [0.0, 0.0]]),
        equal_nan=True,
    )


def test_of_a_stream_nothing_is_known():
    assert RowFacts()([row_of(0, ("a",), ("a",))]) == {}


@pytest.mark.parametrize(
    ("benchmark", "name", "expected"),
    [
        ("ucm", "1.tif", "agricultural"),
        ("ucm", "100.tif", "agricultural"),
        ("ucm", "101.tif", "airplane"),
        ("ucm", "2100.tif", "tenniscourt"),
        ("ucm", "2101.tif", ""),
        ("ucm", "airplane07.jpg", "airplane"),
        ("rsicd", "storagetanks_361.jpg", "storagetanks"),
        ("rsicd", "00013.jpg", ""),
        ("sydney", "12.tif", ""),
        ("harbour", "boat_12.jpg", ""),
        ("ucm", None, ""),
    ],
)
def test_a_release_without_classes_has_them_in_its_names(benchmark, name, expected):
    assert class_of({"file_name": name}, benchmark=benchmark) == expected
    assert class_of({"file_name": name, "category": "A"}, benchmark=benchmark) == "a"


def test_ucm_has_as_many_classes_as_its_pictures_make_and_they_are_in_order():
    assert len(UCM_CLASSES) * 100 == sum(BENCHMARKS["ucm"].images.values())
    assert list(UCM_CLASSES) == sorted(UCM_CLASSES)
