"""The caption-aware order: complete, repeatable, and with few shared captions per batch."""

from itertools import combinations

import numpy as np
import pytest

from rsctir_hf.data.sampler import CaptionAwareSampler


def batches_of(order, size):
    return [order[start : start + size] for start in range(0, len(order), size)]


def collisions(order, caption_sets, size):
    """Slow oracle: pairs of rows in one batch that have a sentence in common."""
    owned = [set(captions) for captions in caption_sets]
    return sum(
        bool(owned[a] & owned[b])
        for batch in batches_of(order, size)
        for a, b in combinations(batch, 2)
    )


def classes(count, rows):
    """Rows of `count` classes; all rows of a class have one caption in common."""
    return [[f"class {row % count}", f"only {row}"] for row in range(rows)]


@pytest.mark.parametrize(("rows", "size"), [(40, 8), (41, 8), (7, 8), (8, 8), (5, 1)])
def test_every_row_comes_exactly_once(rows, size):
    sampler = CaptionAwareSampler(classes(4, rows), batch_size=size, seed=0)
    assert len(sampler) == rows
    assert sorted(sampler) == list(range(rows))


def test_later_epochs_are_counted_into_the_index():
    sampler = CaptionAwareSampler(classes(4, 40), batch_size=8, seed=0)
    sampler.set_epoch(3)
    assert sorted(sampler) == list(range(120, 160))


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        sampler = CaptionAwareSampler(classes(4, 40), batch_size=8, seed=seed)
        list(sampler)  # drawing an epoch leaves no trace
        sampler.set_epoch(epoch)
        return [index % 40 for index in sampler]

    assert order(0, 2) == order(0, 2)
    assert order(0, 2) != order(0, 1)
    assert order(0, 2) != order(1, 2)


def test_classes_are_spread_as_evenly_as_can_be():
    sets = classes(8, 64)
    order = list(CaptionAwareSampler(sets, batch_size=8, seed=0))
    # Eight classes of eight rows over eight batches of eight: one row of each class per batch.
    assert collisions(order, sets, 8) == 0


def test_classes_larger_than_the_number_of_batches_are_shared_out():
    sets = classes(2, 40)
    order = list(CaptionAwareSampler(sets, batch_size=10, seed=0))
    for batch in batches_of(order, 10):
        assert sorted(row % 2 for row in batch) == [0] * 5 + [1] * 5


def test_fewer_collisions_than_a_plain_permutation():
    rng = np.random.default_rng(0)
    words = [f"sentence {number}" for number in range(60)]
    sets = [rng.choice(words, 3).tolist() for _ in range(150)]
    order = list(CaptionAwareSampler(sets, batch_size=15, seed=0))
    plain = [
        collisions(np.random.default_rng(seed).permutation(150).tolist(), sets, 15)
        for seed in range(5)
    ]
    assert collisions(order, sets, 15) < 0.75 * min(plain)


def test_equal_sentences_are_compared_normalised():
    sets = [["Boats ."], ["boats"], ["Pier."], ["pier ."]]
    order = list(CaptionAwareSampler(sets, batch_size=2, seed=0))
    assert collisions(order, [["b"], ["b"], ["p"], ["p"]], 2) == 0


def test_rows_that_share_nothing_are_shuffled_freely():
    sets = [[f"only {row}"] for row in range(30)]
    sampler = CaptionAwareSampler(sets, batch_size=6, seed=0)
    first_rows = set()
    for epoch in range(40):
        sampler.set_epoch(epoch)
        first_rows.add(next(iter(sampler)) % 30)
    assert len(first_rows) > 15


def test_no_rows_give_an_empty_epoch():
    assert list(CaptionAwareSampler([], batch_size=4, seed=0)) == []


@pytest.mark.parametrize("wrong", [{"batch_size": 0, "seed": 0}, {"batch_size": 1, "seed": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        CaptionAwareSampler([["a"]], **wrong)
