"""The caption-aware order: complete, repeatable, and with few shared captions per batch."""

from itertools import combinations

import numpy as np
import pytest

from rsctir_hf.data.sampler import CaptionAwareSampler, batch_sizes


def rows_of(batches):
    return [row for batch in batches for row in batch]


def collisions(batches, caption_sets):
    """Slow oracle: pairs of rows in one batch that have a sentence in common."""
    owned = [set(captions) for captions in caption_sets]
    return sum(bool(owned[a] & owned[b]) for batch in batches for a, b in combinations(batch, 2))


def classes(count, rows):
    """Rows of `count` classes; all rows of a class have one caption in common."""
    return [[f"class {row % count}", f"only {row}"] for row in range(rows)]


@pytest.mark.parametrize(("rows", "size"), [(40, 8), (41, 8), (7, 8), (8, 8), (5, 1)])
def test_every_row_comes_exactly_once(rows, size):
    sampler = CaptionAwareSampler(classes(4, rows), batch_size=size, seed=0)
    batches = list(sampler)
    assert sorted(rows_of(batches)) == list(range(rows))
    assert len(sampler) == len(batches)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)


def test_later_epochs_are_counted_into_the_index():
    sampler = CaptionAwareSampler(classes(4, 40), batch_size=8, seed=0)
    sampler.set_epoch(3)
    assert sorted(rows_of(sampler)) == list(range(120, 160))


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        sampler = CaptionAwareSampler(classes(4, 40), batch_size=8, seed=seed)
        list(sampler)  # drawing an epoch leaves no trace
        sampler.set_epoch(epoch)
        return [index % 40 for index in rows_of(sampler)]

    assert order(0, 2) == order(0, 2)
    assert order(0, 2) != order(0, 1)
    assert order(0, 2) != order(1, 2)


def test_classes_are_spread_as_evenly_as_can_be():
    sets = classes(8, 64)
    batches = list(CaptionAwareSampler(sets, batch_size=8, seed=0))
    # Eight classes of eight rows over eight batches of eight: one row of each class per batch.
    assert collisions(batches, sets) == 0


def test_classes_larger_than_the_number_of_batches_are_shared_out():
    sets = classes(2, 40)
    for batch in CaptionAwareSampler(sets, batch_size=10, seed=0):
        assert sorted(row % 2 for row in batch) == [0] * 5 + [1] * 5


def test_fewer_collisions_than_a_plain_permutation():
    rng = np.random.default_rng(0)
    words = [f"sentence {number}" for number in range(60)]
    sets = [rng.choice(words, 3).tolist() for _ in range(150)]
    batches = list(CaptionAwareSampler(sets, batch_size=15, seed=0))
    plain = [
        collisions(np.random.default_rng(seed).permutation(150).reshape(10, 15), sets)
        for seed in range(5)
    ]
    assert collisions(batches, sets) < 0.75 * min(plain)


def test_equal_sentences_are_compared_normalised():
    sets = [["Boats ."], ["boats"], ["Pier."], ["pier ."]]
    batches = list(CaptionAwareSampler(sets, batch_size=2, seed=0))
    assert collisions(batches, [["b"], ["b"], ["p"], ["p"]]) == 0


def test_rows_that_share_nothing_are_shuffled_freely():
    sets = [[f"only {row}"] for row in range(30)]
    sampler = CaptionAwareSampler(sets, batch_size=6, seed=0)
    first_rows = set()
    for epoch in range(40):
        sampler.set_epoch(epoch)
        first_rows.add(next(iter(sampler))[0] % 30)
    assert len(first_rows) > 15


def test_a_batch_holds_rows_of_one_set_and_the_sets_take_turns():
    groups = [0] * 40 + [1] * 24
    sampler = CaptionAwareSampler(classes(4, 64), batch_size=8, seed=0, groups=groups)
    batches = list(sampler)
    assert sorted(rows_of(batches)) == list(range(64))
    assert len(sampler) == len(batches) == 8
    owners = [{groups[row] for row in batch} for batch in batches]
    assert all(len(owner) == 1 for owner in owners)
    assert owners not in ([{0}] * 5 + [{1}] * 3, [{1}] * 3 + [{0}] * 5)
    # Four classes over batches of eight: two rows of each class in every batch, in both sets.
    for batch in batches:
        assert sorted(row % 4 for row in batch) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_order_of_several_sets_depends_on_seed_and_epoch_only():
    def batches(seed, epoch):
        sampler = CaptionAwareSampler(
            classes(4, 40), batch_size=8, seed=seed, groups=[0] * 20 + [1] * 20
        )
        list(sampler)
        sampler.set_epoch(epoch)
        return [[index % 40 for index in batch] for batch in sampler]

    assert batches(0, 2) == batches(0, 2)
    assert batches(0, 2) != batches(0, 1)
    assert batches(0, 2) != batches(1, 2)


def test_one_set_among_groups_is_the_same_as_no_groups():
    sets = classes(4, 41)
    plain = CaptionAwareSampler(sets, batch_size=8, seed=0)
    assert list(CaptionAwareSampler(sets, batch_size=8, seed=0, groups=[3] * 41)) == list(plain)


@pytest.mark.parametrize(
    ("rows", "even", "sizes"),
    [
        (18, True, [6, 6, 6]),  # 8 + 8 + 2: the last would be less than half full
        (19, True, [7, 6, 6]),
        (20, True, [8, 8, 4]),  # just half full
        (18, False, [8, 8, 2]),
        (16, True, [8, 8]),
        (3, True, [3]),
        (0, True, []),
    ],
)
def test_no_batch_is_tiny_where_batches_are_evened_out(rows, even, sizes):
    assert batch_sizes(rows, 8, even=even).tolist() == sizes


def test_groups_must_be_given_for_every_row():
    with pytest.raises(ValueError, match="groups has 1 entries"):
        CaptionAwareSampler([["a"], ["b"]], batch_size=1, seed=0, groups=[0])


def test_no_rows_give_an_empty_epoch():
    assert list(CaptionAwareSampler([], batch_size=4, seed=0)) == []


@pytest.mark.parametrize("wrong", [{"batch_size": 0, "seed": 0}, {"batch_size": 1, "seed": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        CaptionAwareSampler([["a"]], **wrong)
