"""The benchmark of confidence: what is asked, how cuts are chosen, and that they are in use."""

import random

import confidence
import pytest
import torch
from confidence import ASKED, QUERIES, Gallery, Placed, alike, answerable, ask_words, choose, parts
from report import RESULTS, read

from drawn_scenes import CATEGORIES
from rsctir_hf.search.confidence import OFF_TOPIC, PICTURES, WORDS, Cuts


def gallery(name, *classes):
    return Gallery(name, torch.eye(len(classes), 8), classes)


def test_every_phrase_is_asked_once_and_every_drawn_class_is_known():
    phrases = [phrase for _, phrase in ASKED]
    assert len(phrases) == len(set(phrases)) > 190
    named = {
        kind
        for about in QUERIES.values()
        for group in ("shows", "perhaps")
        for kind in about.get(group, {}).get("drawn", ())
    }
    assert named == set(CATEGORIES)


def test_a_phrase_is_asked_only_where_its_answer_is_known():
    assert answerable("running track", gallery("rsod", "playground", "aircraft")) == 1
    assert answerable("running track", gallery("rsod", "aircraft")) == 0
    assert answerable("harbor", gallery("rsod", "oiltank")) == -1  # tanks often stand at the sea
    assert answerable("volcano", gallery("rsod", "oiltank")) == 0
    assert "forest" in alike("ucm", "river") and "airplane" not in alike("ucm", "forest")


def test_smaller_galleries_leave_classes_out_down_to_one_picture():
    classes = [name for name in "abcdefghijkl" for _ in range(2)]
    rows = list(parts(classes, random.Random(0)))
    assert len(rows) == 1 + 3 * 12 + 4 * 12
    assert rows[0] == list(range(24)) and sorted(map(len, rows[1:4])) == [1, 2, 22]


def test_words_are_placed_between_off_topic_and_typical_sentences():
    # Pictures are the axes 0 and 1. Off-topic sentences reach 0.2, typical ones 0.8: a query of
    # cosine 0.5 lies halfway.
    pictures = gallery("rsod", "playground", "aircraft")
    yardstick = torch.zeros(len(OFF_TOPIC) + 9, 8)
    yardstick[: len(OFF_TOPIC), 0], yardstick[len(OFF_TOPIC) :, 1] = 0.2, 0.8
    queries = torch.zeros(len(ASKED), 8)
    queries[:, 1] = 0.5
    asked = ask_words(queries, pictures, yardstick)
    assert asked.places.tolist() == pytest.approx([0.5] * len(ASKED), abs=1e-5)
    assert asked.share(True, asked.places < 0.4) == 0
    assert asked.share(False, asked.places >= 0.4) == 100


def test_cuts_leave_a_quarter_of_the_bars_in_every_group():
    # Answerable at 0.000 ... 0.999: 0 % below 0.0, 5 % below 0.05.
    # Unanswerable at -0.505 ... 0.494: 9.5 % from 0.4 on, 4.5 % from 0.45 on.
    steps = torch.arange(1000) / 1000
    truth = torch.tensor([1] * 1000 + [0] * 1000)
    places = torch.cat([steps, steps - 0.505])
    easy = Placed(places, places, truth)
    assert choose([[easy]]) == Cuts(0.0, 0.45)
    lower = places - 0.295 * truth  # answerable queries that score worse
    hard = Placed(lower, lower, truth)
    assert choose([[easy], [hard]]) == Cuts(-0.3, 0.45)


def test_what_was_chosen_is_in_use_and_the_bars_are_met():
    found = read(RESULTS / "confidence.json")
    assert found["cuts"]["words"]["in_use"] == vars(WORDS)
    assert found["cuts"]["words"]["chosen"]["fits_from"] == WORDS.fits_from
    assert found["cuts"]["pictures"]["chosen"] == vars(PICTURES)
    for model in found["models"].values():
        assert model["bars"].keys() == confidence.JUDGED.keys()
        for figures in model["bars"].values():
            assert figures["answerable_queries"] > 40 and figures["unanswerable_queries"] > 40
            assert figures["answerable"]["nothing"] <= confidence.MOST_NOTHING
            assert figures["unanswerable"]["fits"] <= confidence.MOST_FITS
