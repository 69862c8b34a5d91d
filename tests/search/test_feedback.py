"""The direction that marks lead to, in numbers."""

import time

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from rsctir_hf.search.feedback import NOISE, WORDS_WEIGHT, learned_direction

GALLERY = normalize(torch.randn(300, 8, generator=torch.Generator().manual_seed(0)), dim=1)


def oracle(marked, good, words):
    """Minimise the sum of (missed - w.x - b)^2, plus NOISE (|w|^2 + b^2), by least squares."""
    gallery, words = GALLERY.double().numpy(), words.double().numpy()
    middle = gallery.mean(0)
    scatter = np.sqrt(((gallery - middle) ** 2).sum(1).mean())
    offset = WORDS_WEIGHT * words * scatter / (gallery @ words).std()
    apart = (marked.double().numpy() - middle) / scatter
    missed = np.where(good, 1.0, -1.0) - np.clip(apart @ offset, -1, 1)
    rows = np.concatenate([np.c_[apart, np.ones(len(apart))], np.sqrt(NOISE) * np.eye(9)])
    weights = np.linalg.lstsq(rows, np.r_[missed, np.zeros(9)], rcond=None)[0]
    direction = offset + weights[:8]
    return direction / np.linalg.norm(direction)


def test_it_is_the_ridge_regression_of_the_marks_on_top_of_the_words():
    words = normalize(torch.arange(8.0), dim=0)
    good = torch.tensor([True, False, True, True, False])
    found = learned_direction(GALLERY[:5], good, gallery=GALLERY, words=words)
    assert found.numpy() == pytest.approx(oracle(GALLERY[:5], good.numpy(), words), abs=1e-5)


def test_a_good_picture_comes_nearer_and_a_bad_one_goes_further():
    words = normalize(torch.arange(8.0), dim=0)
    found = learned_direction(
        GALLERY[:2], torch.tensor([True, False]), gallery=GALLERY, words=words
    )
    assert found.norm() == pytest.approx(1)
    assert GALLERY[0] @ found > GALLERY[0] @ words
    assert GALLERY[1] @ found < GALLERY[1] @ words


def test_bad_marks_alone_correct_the_words():
    words = normalize(torch.arange(8.0), dim=0)
    worst = (GALLERY @ words).argsort(descending=True)[:5]
    bad = torch.zeros(5, dtype=torch.bool)
    found = learned_direction(GALLERY[worst], bad, gallery=GALLERY, words=words)
    assert (GALLERY[worst] @ found).mean() < (GALLERY[worst] @ words).mean()
    assert found @ words > 0


@pytest.mark.parametrize("size", [1, 3])
def test_a_gallery_of_but_the_marked_picture_has_a_direction(size):
    gallery = GALLERY[:1].repeat(size, 1)
    found = learned_direction(gallery[:1], torch.tensor([True]), gallery=gallery)
    assert torch.allclose(found, GALLERY[0], atol=1e-5)


def test_a_thousand_marks_take_no_time():
    vectors = normalize(torch.randn(2000, 512), dim=1)
    good = torch.arange(1000) % 2 == 0
    started = time.process_time()
    found = learned_direction(vectors[:1000], good, gallery=vectors)
    assert time.process_time() - started < 2
    assert (vectors[:1000] @ found)[good].mean() > (vectors[:1000] @ found)[~good].quantile(0.9)
