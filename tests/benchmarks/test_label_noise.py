"""Noise of captions: what is permuted, what counts as wrong, and a series that goes on."""

import json
from itertools import chain

import pytest
import torch

from benchmarks import label_noise
from benchmarks.label_noise import FILE, METHODS, Split, judged, measure, permuted, table
from tests.conftest import ROOT

ROWS = [[f"picture {number}", "a picture of all"] for number in range(10)]


def split(pictures=24):
    captions = [[f"kind {number % 6} one {number}", f"two {number}"] for number in range(pictures)]
    numbers = {text: place for place, text in enumerate(chain.from_iterable(captions))}
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(n, 8, generator=generator) for n in (pictures, len(numbers)))
    return Split(images, images, texts, captions, numbers)


def test_rows_are_permuted_whole_among_a_share_of_the_pictures():
    rows, wrong = permuted([[f"a {n}", f"b {n}"] for n in range(50)], share=0.4, seed=0)
    moved = [number for number, row in enumerate(rows) if row != [f"a {number}", f"b {number}"]]
    assert sorted(map(tuple, rows)) == sorted((f"a {n}", f"b {n}") for n in range(50))
    assert wrong == [number in moved for number in range(50)]
    assert 15 <= len(moved) <= 20
    assert permuted(ROWS, share=0.0, seed=0) == (ROWS, [False] * 10)


def test_a_picture_that_still_shares_a_sentence_is_not_wrong():
    assert permuted(ROWS, share=1.0, seed=0)[1] == [False] * 10


def test_precision_and_recall_are_of_pairs():
    listed = [[True, True], [True, False], [False, False]]
    assert judged(listed, [True, False, True]) == {"listed": 3, "precision": 66.67, "recall": 50.0}
    assert judged([[False]], [False]) == {"listed": 0, "precision": None, "recall": None}


def test_every_method_is_trained_on_the_same_noise(monkeypatch):
    monkeypatch.setattr(label_noise, "EPOCHS", 1)
    found = measure({"train": split(), "validation": split()}, share=0.5, seed=0)
    assert [run["method"] for run in found] == [*METHODS, "left_out"]
    assert len({run["wrong"] for run in found}) == 1
    assert all(0 <= run["mR"] <= 100 for run in found)


def test_a_series_goes_on_where_it_was(monkeypatch, tmp_path):
    file, asked = tmp_path / "found.json", []

    def measured(splits, *, share, seed):
        asked.append((share, seed))
        names = [*METHODS, "left_out"]
        return [{"method": each, "share": share, "seed": seed, "mR": 40.0} for each in names]

    monkeypatch.setattr(label_noise, "measure", measured)
    monkeypatch.setattr(label_noise, "tower_outputs", lambda data, kept: {})
    command = ["--data", "ucm", "--output", str(file), "--shares", "0", "0.4", "--seeds", "0"]
    label_noise.main(command)
    label_noise.main([*command, "1"])
    assert asked == [(0.0, 0), (0.4, 0), (0.0, 1), (0.4, 1)]
    assert len(json.loads(file.read_text())["runs"]) == 4 * (len(METHODS) + 1)


@pytest.mark.skipif(not FILE.is_file(), reason="not measured yet")
def test_the_page_shows_what_was_measured():
    found = json.loads(FILE.read_text(encoding="utf-8"))
    assert table(found) in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
