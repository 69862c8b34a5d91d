"""The rerankers against loop ports, identities and limits."""

import math
import sys
from functools import partial

import pytest
import torch

from rsctir_hf.metrics import directional_metrics
from rsctir_hf.reranking import (
    hubness,
    mr_single,
    multivariate_rerank,
    reordered,
    smr,
    smr_single,
    text_gated,
)


@pytest.fixture
def similarity():
    """Cosines of both signs of 7 pictures and 12 captions, all different."""
    return torch.rand(7, 12, generator=torch.Generator().manual_seed(0)).double() * 1.6 - 0.6


def order(scores):
    return scores.argsort(dim=-1, descending=True, stable=True)


def slow_mr(s, k, mode, xi=0.05, w1=0.30, w2=1.1):
    """Port the released rerank as loops: query rows, candidate columns; {(row, column): score}."""
    rank_in_row = s.argsort(dim=1, descending=True).argsort(dim=1)
    rank_in_column = s.argsort(dim=0, descending=True).argsort(dim=0)
    out = {}
    for i in range(s.shape[0]):
        first = [int(t) for t in s[i].argsort(descending=True)[:k]]
        by_back = sorted(first, key=lambda t: int(rank_in_column[i, t]))
        for t in first:
            p = int(rank_in_column[i, t]) if mode == "paper" else by_back.index(t)
            back = math.exp(-xi * (p + 1)) if mode == "released" or p < k else 0.0
            share = s[i, t] / max(float(s[:, t].sum()), 1.0)
            out[i, t] = w1 * share + math.exp(-xi * (int(rank_in_row[i, t]) + 1)) + w2 * back
    return out


def test_smr_is_score_plus_log_softmax_over_the_queries(similarity):
    # log softmax = S/t - h, so S/t + log softmax = 2 S/t - h
    i2t, t2i = smr(similarity, temperature=0.1)
    scaled = similarity / 0.1
    torch.testing.assert_close(i2t, scaled + scaled.log_softmax(dim=0))
    torch.testing.assert_close(t2i, scaled + scaled.log_softmax(dim=1))
    torch.testing.assert_close(i2t, 2 * scaled - hubness(similarity, temperature=0.1))


def test_smr_is_blind_to_the_order_of_pictures_and_captions(similarity):
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.randperm(7, generator=generator), torch.randperm(12, generator=generator)
    shuffled = smr(similarity[rows][:, columns])
    for scores, expected in zip(shuffled, smr(similarity), strict=True):
        torch.testing.assert_close(scores, expected[rows][:, columns])


def test_smr_of_the_transpose_swaps_the_directions(similarity):
    i2t, t2i = smr(similarity)
    back_t2i, back_i2t = smr(similarity.T)
    torch.testing.assert_close(i2t, back_i2t.T)
    torch.testing.assert_close(t2i, back_t2i.T)


def test_smr_single_is_the_row_of_smr_when_the_bank_is_the_full_set(similarity):
    i2t, t2i = smr(similarity, temperature=0.2)
    captions = smr_single(similarity[3], hubness(similarity, temperature=0.2), temperature=0.2)
    pictures = smr_single(similarity[:, 5], hubness(similarity.T, temperature=0.2), temperature=0.2)
    torch.testing.assert_close(captions, i2t[3])
    torch.testing.assert_close(pictures, t2i[:, 5])


def test_doubling_the_bank_shifts_every_hubness_by_log_two(similarity):
    doubled = hubness(similarity.repeat(2, 1), temperature=0.1)
    torch.testing.assert_close(doubled, hubness(similarity, temperature=0.1) + math.log(2))


def test_smr_counters_a_hub_caption():
    # Caption 0 is nearest to every picture. Picture 1 prefers it by 0.05 over its own caption 1,
    # which no other picture likes; with t = 0.1 its hubness outweighs the 0.05.
    similarity = torch.tensor([[0.9, 0.0, 0.0], [0.6, 0.55, 0.0], [0.6, 0.0, 0.55]])
    i2t, _ = smr(similarity, temperature=0.1)
    assert similarity.argmax(dim=1).tolist() == [0, 0, 0]
    assert i2t.argmax(dim=1).tolist() == [0, 1, 2]


def test_smr_tends_to_twice_the_score_less_the_candidates_mean(similarity):
    # h = log Q + mean(S)/t + O(1/t^2), so t (2 S/t - h + log Q) -> 2 S - mean over the queries
    i2t, _ = smr(similarity, temperature=1e6)
    limit = 2 * similarity - similarity.mean(dim=0)
    torch.testing.assert_close(1e6 * (i2t + math.log(7)), limit, atol=1e-5, rtol=0)
    # and where every candidate has the same mean, the order stays
    centred = similarity - similarity.mean(dim=0)
    assert torch.equal(order(smr(centred, temperature=1e6)[0]), order(centred))


def test_smr_survives_a_tiny_temperature(similarity):
    assert all(scores.isfinite().all() for scores in smr(similarity.float(), temperature=1e-4))


@pytest.mark.parametrize("mode", ["paper", "released"])
@pytest.mark.parametrize("k", [1, 4, 6, 30])
def test_mr_matches_the_loop_port_both_ways(similarity, mode, k):
    positive = similarity + 0.7  # column sums above 1: the guard of the share is not at work
    assert positive.sum(dim=0).min() > 1
    for s in (similarity, positive):
        i2t, t2i = multivariate_rerank(s, mode=mode, top_k=k)
        for (i, t), value in slow_mr(s, k, mode).items():
            assert i2t[i, t].item() == pytest.approx(float(value))
        for (t, i), value in slow_mr(s.T, k, mode).items():
            assert t2i[i, t].item() == pytest.approx(float(value))


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_mr_keeps_order_when_k_is_one(similarity, mode):
    i2t, t2i = multivariate_rerank(similarity, mode=mode, top_k=1)
    assert torch.equal(order(i2t), order(similarity))
    assert torch.equal(order(t2i.T), order(similarity.T))


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_mr_keeps_the_rest_in_order_below_the_reranked(similarity, mode):
    i2t, _ = multivariate_rerank(similarity, mode=mode, top_k=4)
    before, after = order(similarity), order(i2t)
    assert torch.equal(before[:, 4:], after[:, 4:])
    assert torch.equal(before[:, :4].sort().values, after[:, :4].sort().values)
    assert not torch.equal(before, after)


def test_mr_modes_differ_as_the_paper_and_the_code_do(similarity):
    paper, released = (multivariate_rerank(similarity, mode=m)[0] for m in ("paper", "released"))
    assert not torch.allclose(paper, released)


def test_mr_share_stays_bounded_when_a_sum_of_cosines_is_near_zero():
    # column 0 sums to 1e-9: unguarded, its share would be 0.5 / 1e-9
    similarity = torch.tensor([[0.5, 0.4], [-0.5 + 1e-9, 0.3]], dtype=torch.float64)
    i2t, _ = multivariate_rerank(similarity)
    assert i2t.abs().max() < 0.30 + 1 + 1.1


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_mr_single_is_the_row_of_mr_when_the_bank_is_the_rest(similarity, mode):
    i2t, t2i = multivariate_rerank(similarity, mode=mode, top_k=5)
    others = torch.arange(7) != 3
    captions = mr_single(similarity[3], similarity[others], mode=mode, top_k=5)
    torch.testing.assert_close(captions, i2t[3])
    others = torch.arange(12) != 8
    pictures = mr_single(similarity[:, 8], similarity.T[others], mode=mode, top_k=5)
    torch.testing.assert_close(pictures, t2i[:, 8])


@pytest.mark.parametrize("rerank", [smr, multivariate_rerank])
def test_equal_captions_stay_tied(similarity, rerank):
    repeated = torch.cat([similarity, similarity[:, :4]], dim=1).float()
    i2t, t2i = rerank(repeated)
    assert (i2t[:, :4] - i2t[:, 12:]).abs().max() < 1e-9
    assert (t2i[:, :4] - t2i[:, 12:]).abs().max() < 1e-9
    pictures = torch.arange(16) % 7
    flipped = directional_metrics(i2t.flip(1), i2t.flip(1), pictures.flip(0))
    assert flipped == pytest.approx(directional_metrics(i2t, i2t, pictures))


@pytest.mark.parametrize("rerank", [smr, multivariate_rerank])
def test_a_single_pair_is_reranked_without_complaint(rerank):
    assert all(scores.shape == (1, 1) for scores in rerank(torch.tensor([[0.3]])))


@pytest.mark.parametrize(
    "rerank", [smr, multivariate_rerank, partial(multivariate_rerank, mode="released")]
)
def test_no_python_runs_for_each_query(rerank):
    def calls(pictures, captions):
        similarity = torch.rand(pictures, captions)
        count = 0

        def note(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            rerank(similarity)
        finally:
            sys.setprofile(None)
        return count

    # as many calls for 16 times the queries, but for a few more halvings of the longer lists
    assert calls(256, 512) <= calls(16, 32) + 200


def test_bad_input_is_named(similarity):
    with pytest.raises(ValueError, match="temperature is 0"):
        smr(similarity, temperature=0)
    with pytest.raises(ValueError, match="'code'"):
        multivariate_rerank(similarity, mode="code")
    with pytest.raises(ValueError, match="top_k is 0"):
        multivariate_rerank(similarity, top_k=0)
    with pytest.raises(ValueError, match="hubness"):
        smr_single(similarity[0], torch.zeros(5), temperature=0.1)
    with pytest.raises(ValueError, match="same G candidates"):
        mr_single(similarity[0], similarity.T)
    with pytest.raises(ValueError, match="floating-point matrix"):
        hubness(similarity[0], temperature=0.1)


@pytest.mark.parametrize("rerank", [smr, multivariate_rerank])
def test_nan_is_named(similarity, rerank):
    similarity[0, 0] = torch.nan
    with pytest.raises(ValueError, match="1 NaN of 84"):
        rerank(similarity)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: hubness(s.int(), temperature=1.0), r"^bank_scores is torch\.int32"),
        (lambda s: smr(s.int()), r"^similarity is torch\.int32"),
        (lambda s: multivariate_rerank(s.int()), r"^similarity is torch\.int32"),
        (lambda s: mr_single(s[0], s.int()), r"^bank_scores is torch\.int32"),
        (lambda s: mr_single(s[0].int(), s), r"^scores is torch\.int32"),
        (
            lambda s: smr_single(s[0].int(), s[0], temperature=1.0),
            r"^scores is torch\.int32",
        ),
        (
            lambda s: smr_single(s[0], s[0, :5], temperature=1.0),
            r"^scores are \(12,\) and hubness \(5,\); expected \(G,\) for both\. Compute the "
            r"hubness anew after the gallery has changed\.$",
        ),
        (
            lambda s: mr_single(s[0, :3], s),
            r"^scores are \(3,\) and bank_scores \(7, 12\); expected \(G,\) and \(Q, G\) over the "
            r"same G candidates\.$",
        ),
    ],
)
def test_an_error_says_which_argument_what_it_was_and_what_to_do(similarity, call, message):
    with pytest.raises(ValueError, match=message):
        call(similarity)


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_all_that_tie_with_the_last_of_the_first_are_reranked_alike(mode):
    # Four equal captions for places 2 and 3 of picture 0: all or none; their scores stay equal.
    similarity = torch.full((3, 6), 0.1, dtype=torch.float64)
    similarity[0] = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.2])
    similarity[1] = torch.tensor([0.1, 0.3, 0.3, 0.3, 0.3, 0.8])
    i2t, _ = multivariate_rerank(similarity, mode=mode, top_k=3)
    assert i2t[0, 1:5].max() - i2t[0, 1:5].min() < 1e-12
    assert i2t[0, 5] < i2t[0, 1:5].min()
    # Those outside follow in their old order, by as much as before, one below the last inside.
    assert (i2t[0, :5].min() - i2t[0, 5]).item() == pytest.approx(1 + 0.5 - 0.2)
    alone = mr_single(similarity[0], similarity[1:], mode=mode, top_k=3)
    torch.testing.assert_close(alone, i2t[0])


def test_a_bank_of_half_precision_is_summed_in_double():
    # 2,049 scores of 1: a sum in half precision would stop at 2,048.
    bank = torch.ones(2049, 2, dtype=torch.float16)
    exact = mr_single(torch.tensor([0.5, 0.25]), bank.double())
    torch.testing.assert_close(mr_single(torch.tensor([0.5, 0.25]), bank), exact)


def slow_gated(text, patches, temperature):
    """One pair as a loop: the weight of each patch, the pooled vector, its cosine."""
    fits = [math.exp(float(text @ patch) / temperature) for patch in patches]
    weights = [fit / sum(fits) for fit in fits]
    gated = sum(weight * patch for weight, patch in zip(weights, patches, strict=True))
    pooled = patches.mean(dim=0) / 2 + gated / 2
    return float(text @ pooled / pooled.norm()), weights


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_text_gated_scores_are_those_of_the_loop(temperature):
    generator = torch.Generator().manual_seed(0)
    texts, patches = (
        torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)
        for shape in ((5, 8), (5, 4, 8))
    )
    scores, weights = text_gated(texts, patches, temperature=temperature)
    for pair in range(5):
        score, weight = slow_gated(texts[pair], patches[pair], temperature)
        assert float(scores[pair]) == pytest.approx(score, abs=1e-5)
        assert weights[pair].tolist() == pytest.approx(weight, abs=1e-5)
    one_text, _ = text_gated(texts[:1], patches, temperature=temperature)
    one_picture, _ = text_gated(texts, patches[0], temperature=temperature)
    for pair in range(5):
        assert float(one_text[pair]) == pytest.approx(
            slow_gated(texts[0], patches[pair], temperature)[0], abs=1e-5
        )
        assert float(one_picture[pair]) == pytest.approx(
            slow_gated(texts[pair], patches[0], temperature)[0], abs=1e-5
        )


def test_of_equal_patches_the_gate_changes_nothing():
    patch = torch.tensor([0.6, 0.8])
    scores, weights = text_gated(torch.tensor([[1.0, 0.0]]), patch.expand(1, 3, 2), temperature=0.1)
    assert float(scores) == pytest.approx(0.6)
    assert weights.tolist() == [pytest.approx([1 / 3] * 3)]


def test_a_cold_gate_takes_the_patch_that_fits_best():
    # mean (1/2, 1/2) and gated (1, 0): pooled (3/4, 1/4), whose cosine with (1, 0) is 3 / sqrt(10)
    scores, _ = text_gated(torch.tensor([[1.0, 0.0]]), torch.eye(2)[None], temperature=1e-3)
    assert float(scores) == pytest.approx(3 / math.sqrt(10))


def test_others_follow_those_that_were_scored_anew_in_their_old_order():
    scores = torch.tensor([0.9, 0.2, 0.8, 0.7, 0.1])
    found = reordered(scores, torch.tensor([0, 2]), torch.tensor([0.3, 0.5]))
    assert found.argsort(descending=True, stable=True).tolist() == [2, 0, 3, 1, 4]
    assert found[[0, 2]].tolist() == pytest.approx([0.3, 0.5])
    untouched = reordered(scores, torch.tensor([0, 2]), torch.tensor([1.3, 1.5]))
    assert untouched[[1, 3, 4]].tolist() == pytest.approx([0.2, 0.7, 0.1])
    everything = reordered(scores, torch.arange(5), -scores)
    assert torch.equal(everything, -scores)


def test_a_gate_needs_a_temperature_above_0():
    with pytest.raises(ValueError, match="above 0"):
        text_gated(torch.eye(2), torch.eye(2), temperature=0.0)
