"""Whether hits fit: where scores lie between what off-topic and what fitting sentences reach."""

from itertools import pairwise

import pytest
import torch

from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.confidence import (
    OFF_TOPIC,
    PICTURES,
    WORDS,
    Cuts,
    Level,
    best_level,
    score_scale,
    typical_sentences,
)
from rsctir_hf.search.hits import Hit, confidence


def test_a_scale_runs_from_off_topic_sentences_to_the_best_typical_ones():
    # Mean of 0.1 and 0.3; the 98 % quantile of 0.00, 0.01 ... 1.00 is 0.98.
    scale = score_scale(torch.tensor([0.1, 0.3]), torch.arange(101) / 100, Cuts(0.0, 0.5))
    assert scale.place(0.2) == pytest.approx(0.0, abs=1e-6) and scale.place(0.98) == pytest.approx(
        1.0
    )
    assert scale.fits_from == pytest.approx(0.59)
    assert [scale.level(score) for score in (0.19, 0.21, 0.58, 0.6)] == [
        Level.NOTHING,
        Level.PERHAPS,
        Level.PERHAPS,
        Level.FITS,
    ]


def test_a_model_that_tells_no_sentences_apart_judges_nothing():
    # Off-topic sentences differ by 0.1 around 0.4, and the best typical ones reach 0.45.
    assert score_scale(torch.tensor([0.3, 0.5]), torch.tensor([0.45] * 9), WORDS) is None
    assert score_scale(torch.tensor([0.4]), torch.tensor([0.4]), WORDS) is None


def test_a_larger_gallery_asks_more_of_a_picture():
    # Chance alone lifts the best scores of all sentences by 0.2: the same cosine says less.
    off_topic, typical = torch.tensor([0.1, 0.3]), torch.arange(101) / 100
    small = score_scale(off_topic, typical, Cuts(0.0, 0.4))  # 0.2 to 0.98: fits from 0.512
    large = score_scale(off_topic + 0.2, typical + 0.2, Cuts(0.0, 0.4))
    assert (small.level(0.55), large.level(0.55)) == (Level.FITS, Level.PERHAPS)


def test_pictures_are_asked_to_lie_nearer_than_words():
    off_topic, typical = torch.tensor([0.0, 0.0]), torch.ones(9)
    words, pictures = (score_scale(off_topic, typical, cuts) for cuts in (WORDS, PICTURES))
    assert (words.level(0.7), pictures.level(0.7)) == (Level.FITS, Level.PERHAPS)
    assert (words.level(0.1), pictures.level(0.1)) == (Level.PERHAPS, Level.NOTHING)


def test_typical_sentences_are_64_spread_over_the_bank():
    bank, typical = read_caption_bank(), typical_sentences()
    places = [bank.index(sentence) for sentence in typical]
    assert len(places) == 64 and places[-1] > 0.95 * len(bank)
    assert len({after - before for before, after in pairwise(places)}) == 1
    assert not set(typical) & set(OFF_TOPIC)


def test_several_hits_are_as_good_as_the_best_of_them():
    assert best_level([Level.NOTHING, None, Level.PERHAPS]) is Level.PERHAPS
    assert best_level([Level.NOTHING, Level.FITS]) is Level.FITS
    assert best_level([None]) is None and best_level([]) is None
    hit = Hit(0, None, None, 0.5, rank=1, rank_before=1, rerank_score=None, level=Level.NOTHING)
    assert confidence([hit]) == "nothing"
    assert confidence([]) is None
