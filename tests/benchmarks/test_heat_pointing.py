"""The pointing game of heat maps: crops beside the middle, peaks that hit, what stands in rows."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import heat_pointing, off_centre
from rsctir_hf.detection.crops import BoxedPicture
from rsctir_hf.search.heat import Looks, Scale


def boxed(*boxes, labels=None, size=(100, 80)):
    found = np.array(boxes, np.float32).reshape(-1, 4)
    kinds = np.zeros(len(found), np.int64) if labels is None else np.array(labels)
    return BoxedPicture("p", Image.new("RGB", size), found, kinds)


def test_a_crop_holds_an_object_and_none_over_its_middle():
    picture = boxed([40, 30, 60, 50], [0, 0, 5, 5], labels=[0, 1])
    crop, objects = off_centre.off_centre(picture, 0)
    assert crop.image.size == (60, 48) and len(objects) == 1
    x1, y1, x2, y2 = objects[0].tolist()
    assert (x2 - x1) * (y2 - y1) >= 200  # half of its area
    assert not (x1 <= 30 <= x2 and y1 <= 24 <= y2)
    again, _ = off_centre.off_centre(picture, 0)
    assert np.array_equal(again.boxes, crop.boxes)


def test_no_crop_where_the_object_is_over_every_middle_or_too_large_to_be_held():
    assert off_centre.off_centre(boxed([2, 2, 98, 78]), 0) is None


class PlainAsked(heat_pointing.Asked):
    """Words lie along the first axis."""

    def __init__(self):
        self.average = torch.tensor([0.0, 0.5])
        word = torch.tensor([1.0, 0.0])
        wordings = (heat_pointing.ALONE, heat_pointing.SENTENCES)
        self.vectors = {(way, name): word for way in wordings for name in heat_pointing.WORDS}


def seen(corner, objects):
    """A picture of 100 x 80 pixels whose patches are like the words in one corner of nine."""
    patches = torch.zeros(1, 9, 2)
    patches[0, corner, 0] = 1.0
    looks = Looks([(Scale(1, 1.0, True), patches)])
    return heat_pointing.Seen(looks, torch.tensor(objects), (100, 80))


def test_a_peak_on_an_object_is_a_hit_and_rows_say_what_competes(monkeypatch):
    every = dict.fromkeys(heat_pointing.CANDIDATES, (heat_pointing.WHOLE,))
    monkeypatch.setattr(heat_pointing, "CANDIDATES", every)
    hit = seen(0, [[0.0, 0, 30, 30]])
    miss = seen(8, [[0.0, 0, 60, 60]])
    found = {"aircraft": [hit, miss], "overpass": [hit]}
    played = heat_pointing.play(PlainAsked(), found, heat_pointing.FINE)
    assert [shares.tolist() for shares in played.values()] == [[1, 0], [1]]
    rows = {row["name"]: row for row in heat_pointing.rows_of(PlainAsked(), {"pictures": found})}
    assert rows[heat_pointing.PATCHES]["macro"] == 75
    assert rows[heat_pointing.CENTRE]["classes"] == {"aircraft": 50, "overpass": 0}
    expected = 100 * (900 + 3600) / 2 / 8000
    assert rows[heat_pointing.POINT]["classes"]["aircraft"] == pytest.approx(expected, abs=0.1)
    assert rows[heat_pointing.HEAT]["pictures"] == {"aircraft": 2, "overpass": 1}


def test_what_the_package_does_is_among_the_ways():
    scales, wording, _ = heat_pointing.SHIPPED
    assert heat_pointing.CANDIDATES[scales] == heat_pointing.SCALES
    assert wording in (heat_pointing.ALONE, heat_pointing.SENTENCES)
