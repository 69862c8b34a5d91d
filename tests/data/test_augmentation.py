"""Augmentation depends on (seed, epoch, row) and on nothing else."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from rsctir_hf.data.augmentation import SYMMETRIES, Augmentation, row_generator


def pixels(image):
    return np.asarray(image).tobytes()


def test_there_are_eight_symmetries_and_all_are_drawn(picture):
    square = picture.resize((24, 24))
    drawn = {
        pixels(Augmentation()(square, row_generator(0, epoch=0, row=row))) for row in range(200)
    }
    expected = {pixels(square if s is None else square.transpose(s)) for s in SYMMETRIES}
    assert len(expected) == 8
    assert drawn == expected


def test_same_seed_epoch_and_row_give_the_same_picture(picture):
    change = Augmentation(crop_scale=(0.5, 1.0), colour_jitter=0.2)
    first = pixels(change(picture, row_generator(3, epoch=4, row=5)))
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # global generators play no part
    assert pixels(change(picture, row_generator(3, epoch=4, row=5))) == first
    for other in ({"epoch": 5, "row": 5}, {"epoch": 4, "row": 6}):
        assert pixels(change(picture, row_generator(3, **other))) != first


def test_global_generators_are_not_advanced(picture):
    states = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()
    Augmentation(crop_scale=(0.5, 1.0), colour_jitter=0.2)(
        picture, row_generator(0, epoch=0, row=0)
    )
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tobytes() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_crop_keeps_a_share_of_the_area_within_bounds():
    image = Image.new("RGB", (200, 200))
    change = Augmentation(symmetries=False, crop_scale=(0.5, 0.8))
    for row in range(100):
        width, height = change(image, row_generator(0, epoch=0, row=row)).size
        # Ratios up to 4/3 may hit the border, which only takes away from the area.
        assert width * height <= 0.81 * 200 * 200
        assert width * height >= 0.45 * 200 * 200
        assert 0.7 <= width / height <= 1.4


def test_nothing_switched_on_changes_nothing(picture):
    still = Augmentation(symmetries=False)
    assert pixels(still(picture, row_generator(0, epoch=0, row=0))) == pixels(picture)


def test_colour_jitter_keeps_size_and_stays_mild(picture):
    change = Augmentation(symmetries=False, colour_jitter=0.1)
    changed = change(picture, row_generator(0, epoch=0, row=1))
    gap = np.abs(np.asarray(changed).astype(int) - np.asarray(picture)).mean()
    assert changed.size == picture.size
    assert 0 < gap < 30


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.8, 0.5), (0.5, 1.5)])
def test_impossible_crops_are_refused(scale):
    with pytest.raises(ValueError, match="crop_scale"):
        Augmentation(crop_scale=scale)


def test_impossible_jitter_is_refused():
    with pytest.raises(ValueError, match="colour_jitter"):
        Augmentation(colour_jitter=1.0)
