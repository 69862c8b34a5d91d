"""A share of own pictures held out: what stands on one side only, and what may stand on both."""

import numpy as np
import pytest

from rsctir_hf.data.grouped_share import LARGEST_GROUP, hold_out_groups
from rsctir_hf.errors import DataLayoutError
from tests.miniature import sentences


def split(captions, *, share=0.15, seed=0, **options):
    return hold_out_groups(captions, share=share, seed=seed, **options)


def own(count):
    """Captions that no two pictures have in common."""
    return [[f"Place {number} seen at noon", f"Here is place {number}."] for number in range(count)]


def sides(captions, held):
    """The sentences of both parts."""
    return [
        {text for row in rows for text in captions[row]}
        for rows in (held.training, held.validation)
    ]


@pytest.mark.parametrize(("count", "held"), [(2, 1), (3, 1), (6, 2), (20, 3), (100, 15)])
def test_the_share_is_held_out_and_each_picture_stands_on_one_side(count, held):
    found = split(own(count))
    assert len(found.validation) == held
    assert sorted(found.training + found.validation) == list(range(count))
    assert found.validation == sorted(found.validation)
    assert found.kept_together.endswith("share any sentence")


def test_the_same_seed_holds_out_the_same_pictures_and_another_seed_others():
    captions = own(100)
    assert split(captions).validation == split(captions).validation
    assert split(captions).validation != split(captions, seed=1).validation


def test_the_order_of_the_rows_does_not_matter():
    captions = own(60) + [[f"Tower {row % 20} ."] for row in range(40)]
    order = np.random.default_rng(0).permutation(100)
    mixed = [captions[row] for row in order]
    held, again = split(captions), split(mixed)
    assert {captions[row][0] for row in held.validation} == {
        mixed[row][0] for row in again.validation
    }
    assert len(held.validation) == len(again.validation)


@pytest.mark.parametrize("seed", range(5))
def test_near_equal_pictures_stay_together(seed):
    frames = [(row, row + 1) for row in range(99) if (row + 1) % 20]  # five scenes, 20 frames each
    validation = split(own(100), seed=seed, equal=frames).validation
    assert len(validation) == 20
    assert len({row // 20 for row in validation}) == 1


@pytest.mark.parametrize("count", [12, 30, 36, 60, 90])
def test_pictures_with_the_same_captions_stay_together(count):
    captions = [sentences(number) for number in range(count)]  # nine sets of five sentences
    found = split(captions)
    assert not set.intersection(*sides(captions, found))
    # Two sets where the share is less, to twice the share.
    assert len({row % 9 for row in found.validation}) == 2
    assert len(found.validation) <= 0.3 * count


def test_case_and_stops_make_no_other_captions():
    captions = own(20) + [[text.upper() + " ." for text in row] for row in own(20)]
    for seed in range(5):
        found = split(captions, seed=seed)
        assert {row % 20 for row in found.validation}.isdisjoint(row % 20 for row in found.training)


def test_pictures_that_share_one_sentence_stay_together_where_that_forms_no_chain():
    captions = own(60)
    for row in range(0, 60, 3):
        captions[row + 1].append(f"Tower {row}")
        captions[row + 2].append(f"Tower {row}")
    for seed in range(5):
        assert not set.intersection(*sides(captions, split(captions, seed=seed)))


def test_a_sentence_that_most_pictures_have_may_cross_and_rarer_ones_do_not():
    captions = own(60)
    for row in range(50):
        captions[row].append("There is an airport .")
    for row in range(0, 60, 2):
        captions[row + 1].append(captions[row][0])
    found = split(captions)
    common = set.intersection(*sides(captions, found))
    assert common <= {"There is an airport ."}
    assert len(found.validation) == 9 or len(found.validation) == 8  # pairs
    assert "fewer than 50 have (1 of 121 sentences are commoner" in found.kept_together


def test_a_few_large_groups_stay_in_training_whole():
    captions = own(80) + [["A harbour ."]] * 20
    for seed in range(5):
        found = split(captions, seed=seed)
        assert len(found.validation) == 15
        assert max(found.validation) < 80
        assert "the same captions" in found.kept_together


@pytest.mark.parametrize("labelled", [True, False])
def test_captions_that_are_labels_cross_so_that_validation_shows_what_was_trained(labelled):
    captions = [[f"A photo of kind {row % 10} ."] for row in range(300)]
    found = split(captions, labelled=labelled)
    assert len(found.validation) == 45
    training, validation = sides(captions, found)
    assert validation <= training and len(validation) > 5
    assert found.kept_together == "near-equal pictures (captions are labels here, and do cross)"


def test_captions_made_from_class_names_cross_in_small_sets_too():
    captions = [[f"A photo of kind {row % 10} ."] for row in range(5 * LARGEST_GROUP)]
    assert "labels" not in split(captions).kept_together
    assert "labels" in split(captions, labelled=True).kept_together


def test_near_equal_pictures_count_once_where_words_are_counted():
    captions = [[f"Scene {row // 20} ."] for row in range(200)]
    frames = [(row, row + 1) for row in range(199) if (row + 1) % 20]
    found = split(captions, equal=frames)
    assert len(found.validation) == 40
    assert not set.intersection(*sides(captions, found))
    assert "labels" not in found.kept_together


@pytest.mark.parametrize("count", [1, 8])
def test_pictures_that_are_all_nearly_equal_are_refused(count):
    pairs = [(row, row + 1) for row in range(count - 1)]
    with pytest.raises(DataLayoutError, match=f"held out of {count} pictures.*validation split"):
        split(own(count), equal=pairs)


def test_a_set_of_captions_that_is_everywhere_leaves_a_validation_part():
    assert len(split([["The same"]] * 8).validation) == 2
