"""Pairs that look wrong, found among vectors of which it is known."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from rsctir_hf.audit.suspicion import (
    Pairs,
    falling,
    learned_by_heart,
    mismatched_pairs,
    nearest_others,
    said_of_neighbours,
    standing,
    suspect,
    wrong_share,
)

PICTURES, KINDS, SIZE, CAPTIONS = 240, 12, 24, 3


def scattered(centres, spread, generator):
    return F.normalize(centres + spread * torch.randn(centres.shape, generator=generator), dim=1)


def made(share, seed=0):
    """Pictures of a few kinds with sentences about their kind, and which pairs were mixed up."""
    generator = torch.Generator().manual_seed(seed)
    centres = F.normalize(torch.randn(KINDS, SIZE, generator=generator), dim=1)
    kinds = torch.arange(PICTURES) % KINDS
    owners = torch.arange(PICTURES).repeat_interleave(CAPTIONS)
    images = scattered(centres[kinds], 0.12, generator)
    texts = scattered(centres[kinds[owners]], 0.12, generator)
    sentences = torch.arange(len(owners))
    mixed = torch.randperm(PICTURES, generator=generator)[: round(share * PICTURES)]
    source = torch.arange(PICTURES)
    source[mixed] = mixed.roll(1)
    sentences = sentences.reshape(PICTURES, CAPTIONS)[source].flatten()
    return Pairs(images, images, texts, owners, sentences), (kinds[source] != kinds)[owners]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_mixed_up_pairs_are_listed_and_hardly_any_other(share):
    pairs, wrong = made(share)
    found = suspect(pairs)
    right = (found.looks_wrong & wrong).sum()
    assert right / found.looks_wrong.sum() > 0.9
    assert right / wrong.sum() > 0.9


def test_of_a_clean_set_next_to_nothing_is_listed():
    pairs, _ = made(0.0)
    found = suspect(pairs)
    assert found.looks_wrong.float().mean() < 0.02


def test_where_all_is_mixed_up_most_is_listed():
    pairs, wrong = made(1.0)
    found = suspect(pairs)
    assert found.looks_wrong[wrong].float().mean() > 0.9


def test_the_same_set_is_judged_the_same_twice():
    pairs, _ = made(0.2)
    assert torch.equal(suspect(pairs).scores, suspect(pairs).scores)


def test_pairs_that_a_model_has_learned_by_heart_are_found_by_what_is_said_of_like_pictures():
    """Vectors moved to their own wrong sentences, as a head trained on these moves them."""
    pairs, wrong = made(0.2)
    own = pairs.texts[pairs.sentences].reshape(PICTURES, CAPTIONS, SIZE).mean(dim=1)
    found = suspect(replace(pairs, images=F.normalize(own, dim=1)))
    right = (found.looks_wrong & wrong).sum()
    assert right / found.looks_wrong.sum() > 0.9
    assert right / wrong.sum() > 0.9


@pytest.mark.parametrize(("wrong", "learned"), [(-1.0, False), (0.2, False), (0.4, True)])
def test_a_model_is_no_witness_where_wrong_pairs_stand_higher_than_mismatched_ones(wrong, learned):
    own = torch.tensor([2.0, 2.0, wrong])
    assert learned_by_heart(own, torch.tensor([False, False, True])) == learned
    assert not learned_by_heart(own, torch.zeros(3).bool())


def test_chances_fall_as_scores_rise():
    pairs, _ = made(0.2)
    found = suspect(pairs)
    ordered = found.chance[found.scores.argsort()]
    assert (ordered.diff() <= 0).all()
    assert (found.looks_wrong == (found.chance > 0.5)).all()


def test_one_picture_cannot_be_held_against_others():
    one = Pairs(*[torch.ones(1, 1)] * 3, *[torch.zeros(1).long()] * 2)
    with pytest.raises(ValueError, match="1 pictures; expected two at least"):
        suspect(one)


def test_standing_equals_deviations_over_the_whole_matrix():
    generator = torch.Generator().manual_seed(0)
    vectors, texts = torch.randn(7, 4, generator=generator), torch.randn(9, 4, generator=generator)
    pictures, sentences = torch.tensor([0, 3, 6, 6]), torch.tensor([8, 1, 1, 0])
    matrix = vectors @ texts.T
    over_texts = (matrix - matrix.mean(1, keepdim=True)) / matrix.std(1, keepdim=True)
    over_pictures = (matrix - matrix.mean(0)) / matrix.std(0)
    expected = (over_texts + over_pictures)[pictures, sentences]
    torch.testing.assert_close(standing(vectors, texts, pictures, sentences), expected)


def test_a_mismatched_pair_never_has_a_sentence_of_its_picture():
    owners, sentences = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2])
    pairs = Pairs(*[torch.eye(3)] * 3, owners, sentences)
    drawn = set(zip(*(each.tolist() for each in mismatched_pairs(pairs)), strict=True))
    assert drawn and not drawn & {(0, 0), (0, 1), (1, 1), (2, 2)}


def test_nearest_others_are_the_nearest_without_the_row_itself():
    angles = torch.tensor([0.0, 0.1, 0.3, 1.5])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert nearest_others(vectors, 2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]


def test_what_is_said_of_neighbours_never_holds_the_pair_itself():
    pairs, _ = made(0.0)
    neighbours = nearest_others(pairs.images, 5)
    changed = replace(pairs, texts=pairs.texts.clone())
    one, other = 0, KINDS  # two pictures of one kind change all sentences, so the mean stays
    changed.texts[:CAPTIONS] = pairs.texts[CAPTIONS * other : CAPTIONS * (other + 1)]
    changed.texts[CAPTIONS * other : CAPTIONS * (other + 1)] = pairs.texts[:CAPTIONS]
    alone = [row for row in (one, other) if not {one, other} & set(neighbours[row].tolist())]
    weights = torch.ones(len(pairs.owners))
    before, after = (said_of_neighbours(each, neighbours, weights) for each in (pairs, changed))
    assert alone
    torch.testing.assert_close(before[alone], after[alone])
    assert not torch.allclose(before, after)


def test_the_share_of_wrong_pairs_is_read_where_only_wrong_ones_are():
    """30 of 100 pairs score as mismatched ones, 0 to 1; the others score 2 to 3."""
    foreign = torch.linspace(0, 1, 1001)
    scores = torch.cat([torch.linspace(0, 1, 30), torch.linspace(2, 3, 70)])
    share, chance = wrong_share(scores, foreign)
    assert share == pytest.approx(0.3, abs=0.01)
    assert (chance[:30] > 0.9).all()
    assert (chance[30:] == 0).all()


def test_falling_values_are_means_of_what_rises():
    """PAV by hand: 3 stays; 1, 2 rise and become 1.5 each; 0 stays."""
    assert falling(torch.tensor([3.0, 1.0, 2.0, 0.0])).tolist() == [3.0, 1.5, 1.5, 0.0]
