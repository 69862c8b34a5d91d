"""How alike captions are in words, against a slow oracle pair by pair."""

import math
from collections import Counter

import pytest
import torch

from rsctir_hf.data import caption_similarity as module
from rsctir_hf.data.caption_similarity import STOP_WORDS, caption_similarity, stem, stems

OWNED = [
    ["There are many white boats in the harbour .", "Many boats are docked.", "A harbour."],
    ["A river runs through a green forest", "a river runs through a green forest ."],
    ["the of", "Two rivers, two bridges and two rivers"],
]
SENTENCES = [
    "Many white boats are in the harbour",
    "many boats are docked",
    "a river runs through a forest of boats",
    "two rivers two rivers two rivers",
    "boats",
    "",
    "two bridge and two river",
]


def slow_similarity(sentence, owned):
    """The released code's score, with our words."""
    words, said = stems(sentence), [stems(each) for each in owned]
    logs = 0.0
    for n in (1, 2, 3, 4):
        grams = [
            Counter(zip(*(each[k:] for k in range(n)), strict=False)) for each in (words, *said)
        ]
        clipped = sum(min(c, max(one[g] for one in grams[1:])) for g, c in grams[0].items())
        logs += math.log(clipped / grams[0].total()) / 4 if clipped else -math.inf
    nearest = min((abs(len(each) - len(words)), len(each)) for each in said)[1]
    short = math.exp(min(0.0, 1 - nearest / max(1, len(words))))
    bleu = 1.0 if words in said else short * math.exp(logs)
    telling = [[w for w in each if w not in STOP_WORDS] for each in said]
    shares = [len(set(each) & set(words)) / len(each) for each in telling if each]
    return (bleu + sum(shares) / len(shares)) / 2


@pytest.mark.parametrize("at_once", [1, 256])
def test_it_is_the_mean_of_bleu_and_shared_words(at_once, monkeypatch):
    monkeypatch.setattr(module, "_PICTURES_AT_ONCE", at_once)
    found = caption_similarity(SENTENCES, OWNED)
    expected = torch.tensor([[slow_similarity(s, owned) for s in SENTENCES] for owned in OWNED])
    torch.testing.assert_close(found, expected)
    assert found[0, 0] > found[0, 2] > 0 and found[1, 4] == 0


def test_an_own_sentence_is_wholly_like_it_and_a_stranger_not_at_all():
    similarity = caption_similarity(["Many boats.", "a green forest"], [["many boats"]])
    assert similarity.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("boats", "boat"),
        ("cities", "city"),
        ("buses", "buse"),
        ("trees", "tree"),
        ("grass", "grass"),
        ("campus", "campus"),
        ("houses", "house"),
        ("is", "i"),
    ],
)
def test_plurals_are_singulars_by_harmans_rules(word, expected):
    assert stem(word) == expected
