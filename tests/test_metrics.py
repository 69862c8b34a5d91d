"""Recall at K against permutations, hand counts and closed forms; the bootstrap against theory."""

import itertools
import math

import pytest
import torch

from rsctir_hf.metrics import (
    RECALL_AT,
    bootstrap_interval,
    directional_metrics,
    expected_recall,
    graded_ndcg,
    recall_by_picture,
    relevance,
    stable_recall,
)

KEYS = ["i2t_R@1", "i2t_R@5", "i2t_R@10", "t2i_R@1", "t2i_R@5", "t2i_R@10", "mR"]


def metrics_of(similarity, image_of_caption, **options):
    """The metrics of one matrix for both directions."""
    return directional_metrics(similarity, similarity, image_of_caption, **options)


def permutation_recall(scores, relevant, k):
    """Average the hit rate over every order of the candidates, then a stable sort by score."""
    hits = []
    for order in itertools.permutations(range(scores.shape[1])):
        columns = torch.tensor(order)
        ranked = scores[:, columns].argsort(dim=1, descending=True, stable=True)[:, :k]
        hits.append(relevant[:, columns].gather(1, ranked).any(dim=1).double().mean().item())
    return 100 * sum(hits) / len(hits)


def shuffled_recall(scores, relevant, k, rounds=4000):
    """Estimate the same by random orders, each query with its own."""
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for _ in range(rounds):
        order = torch.rand(scores.shape, generator=generator).argsort(dim=1)
        ranked = scores.gather(1, order).argsort(dim=1, descending=True, stable=True)[:, :k]
        total += relevant.gather(1, order).gather(1, ranked).any(dim=1).double().mean().item()
    return 100 * total / rounds


@pytest.mark.parametrize("seed", range(5))
def test_tied_recall_equals_the_mean_over_every_permutation_both_ways(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 3, (5, 6), generator=generator).float() / 2  # three levels: many ties
    image_of_caption = torch.tensor([0, 1, 2, 3, 4, seed % 5])
    relevant = relevance(scores, image_of_caption)
    for matrix, truth in ((scores, relevant), (scores.T, relevant.T)):
        recall = expected_recall(matrix, truth, at=(1, 2, 3, 5))
        for k, value in recall.items():
            assert value == pytest.approx(permutation_recall(matrix, truth, k), abs=1e-9)


def test_tied_recall_equals_shuffled_orders_on_a_larger_matrix_both_ways():
    # The standard deviation of the mean over 4000 rounds of 20 queries is below
    # 100 * 0.5 / sqrt(20 * 4000) = 0.18 percent; four of them is 0.71.
    generator = torch.Generator().manual_seed(1)
    scores = torch.randint(0, 4, (20, 60), generator=generator).float()
    relevant = relevance(scores, torch.arange(60) % 20)
    for matrix, truth in ((scores, relevant), (scores[:, :20].T, relevant[:, :20].T)):
        recall = expected_recall(matrix, truth, at=(1, 5))
        for k in (1, 5):
            assert recall[k] == pytest.approx(shuffled_recall(matrix, truth, k), abs=0.71)


def test_all_tied_is_the_share_of_a_blind_draw():
    # One right among G = 20 tied: the first K hold it with probability K / 20.
    scores, relevant = torch.zeros(1, 20), torch.eye(20, dtype=torch.bool)[:1]
    recall = expected_recall(scores, relevant)
    assert [recall[k] for k in RECALL_AT] == pytest.approx([5.0, 25.0, 50.0])


def test_two_right_among_three_tied_behind_one_better():
    # n = 1, g = 3, r = 2. K = 1: no place left, 0. K = 2: one place, 2/3. K = 3: two places of
    # three with one wrong, always a hit.
    scores = torch.tensor([[0.9, 0.5, 0.5, 0.5, 0.1]])
    relevant = torch.tensor([[False, True, True, False, True]])
    recall = expected_recall(scores, relevant, at=(1, 2, 3))
    assert [recall[1], recall[2], recall[3]] == pytest.approx([0.0, 200 / 3, 100.0])


def test_scores_within_the_tolerance_are_ties():
    scores = torch.tensor([[0.5, 0.5 + 4e-7]], dtype=torch.float64)
    relevant = torch.tensor([[True, False]])
    assert expected_recall(scores, relevant, at=(1,))[1] == pytest.approx(50.0)
    assert expected_recall(scores, relevant, at=(1,), tolerance=0.0)[1] == 0.0


def test_without_ties_expected_equals_stable_exactly():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(30, 150, generator=generator)
    relevant = relevance(scores, torch.arange(150) // 5)
    assert expected_recall(scores, relevant) == stable_recall(scores, relevant)


def test_stable_recall_keeps_the_order_of_the_columns():
    scores, relevant = torch.zeros(2, 3), torch.tensor([[True, False, False], [False, False, True]])
    assert stable_recall(scores, relevant, at=(1, 2, 3)) == {1: 50.0, 2: 50.0, 3: 100.0}


def test_the_fields_recall_is_a_hit_rate():
    # By torchmetrics' definitions, five right captions and the top one right give
    # RetrievalHitRate(top_k=1) = 1.0 and RetrievalRecall(top_k=1) = 0.2. The field's is the former.
    scores = torch.arange(10, 0, -1.0)[None]
    relevant = torch.tensor([[True, False] * 5])
    assert expected_recall(scores, relevant)[1] == 100.0


def test_recall_equals_hit_rates_counted_by_hand():
    # Query 0's right candidates stand at places 2 and 4, query 1's at 3, query 2's at 1:
    # hits@1 = 1/3, hits@2 = 2/3, hits@3 = 3/3.
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], [1.0, 9.0, 2.0, 3.0]])
    relevant = torch.tensor([[0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]).bool()
    recall = expected_recall(scores, relevant, at=(1, 2, 3))
    assert [recall[1], recall[2], recall[3]] == pytest.approx([100 / 3, 200 / 3, 100.0])


def test_infinite_scores_are_ordered_and_tied():
    scores = torch.tensor([[-torch.inf, -torch.inf, 1.0]])
    relevant = torch.tensor([[True, False, False]])
    recall = expected_recall(scores, relevant, at=(1, 2, 3))
    assert [recall[1], recall[2], recall[3]] == pytest.approx([0.0, 50.0, 100.0])


def test_large_tie_groups_stay_exact():
    # One right among 5000 tied: K / 5000.
    scores, relevant = torch.zeros(1, 5000), torch.arange(5000)[None] == 77
    assert expected_recall(scores, relevant, at=(10,))[10] == pytest.approx(0.2, abs=1e-8)


def test_retrieval_metrics_of_a_perfect_matrix():
    similarity = torch.eye(3).repeat_interleave(2, dim=1)
    metrics = metrics_of(similarity, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert metrics == dict.fromkeys(KEYS, 100.0)


def test_mean_recall_is_the_mean_of_six_and_keys_keep_their_order():
    similarity = torch.randn(12, 36, generator=torch.Generator().manual_seed(2))
    metrics = metrics_of(similarity, torch.arange(36) // 3)
    assert list(metrics) == KEYS
    assert metrics["mR"] == pytest.approx(sum(metrics[key] for key in KEYS[:6]) / 6)


def test_both_directions_against_a_slow_loop_with_uneven_captions():
    similarity = torch.randn(4, 9, generator=torch.Generator().manual_seed(5))
    image_of_caption = torch.tensor([0, 0, 0, 0, 1, 2, 2, 3, 3])
    metrics = metrics_of(similarity, image_of_caption)
    first = [image_of_caption[row.argmax()].item() == b for b, row in enumerate(similarity)]
    back = [column.argmax() == image_of_caption[c] for c, column in enumerate(similarity.T)]
    assert metrics["i2t_R@1"] == pytest.approx(100 * sum(first) / 4)
    assert metrics["t2i_R@1"] == pytest.approx(100 * float(sum(back)) / 9)


def test_metrics_do_not_depend_on_the_order_of_tied_captions():
    generator = torch.Generator().manual_seed(4)
    similarity = torch.randint(0, 3, (6, 12), generator=generator).float()
    image_of_caption = torch.arange(12) % 6
    order = torch.randperm(12, generator=generator)
    shuffled = metrics_of(similarity[:, order], image_of_caption[order])
    assert shuffled == pytest.approx(metrics_of(similarity, image_of_caption))


def test_caption_aware_counts_every_picture_with_the_same_sentence():
    # Captions 0 and 1 are one sentence of pictures 0 and 1, so their columns are equal. Picture 1
    # is first for both. Plain t2i R@1: caption 0 misses, caption 1 and 2 hit, 200/3. Caption-aware:
    # all hit.
    similarity = torch.tensor([[0.4, 0.4, 0.0], [0.6, 0.6, 0.1], [0.1, 0.1, 0.9]])
    pictures, ids = torch.arange(3), torch.tensor([7, 7, 9])
    plain = metrics_of(similarity, pictures)
    aware = metrics_of(similarity, pictures, caption_ids=ids)
    assert plain["t2i_R@1"] == pytest.approx(200 / 3)
    assert aware["t2i_R@1"] == 100.0
    # Plain i2t R@1: pictures 0 and 1 toss a coin between equal captions: (1/2 + 1/2 + 1) / 3.
    assert plain["i2t_R@1"] == pytest.approx(200 / 3)
    assert aware["i2t_R@1"] == 100.0


def test_caption_aware_equals_plain_when_all_sentences_differ():
    similarity = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    pictures = torch.arange(10) // 2
    aware = metrics_of(similarity, pictures, caption_ids=torch.arange(10) + 100)
    assert aware == metrics_of(similarity, pictures)


def test_directional_metrics_take_each_direction_from_its_own_matrix():
    right, wrong = torch.eye(11), -torch.eye(11)
    metrics = directional_metrics(right, wrong, torch.arange(11))
    assert metrics["i2t_R@1"] == 100.0
    assert metrics["t2i_R@10"] == 0.0


def test_stable_ties_are_offered_beside():
    metrics = metrics_of(torch.zeros(2, 2), torch.arange(2), ties="stable")
    assert metrics["i2t_R@1"] == 50.0
    with pytest.raises(ValueError, match="'random'"):
        metrics_of(torch.zeros(2, 2), torch.arange(2), ties="random")


@pytest.mark.parametrize(
    ("image_of_caption", "message"),
    [
        (torch.tensor([0, 1]), r"int64 \(3,\)"),
        (torch.tensor([0.0, 1.0, 1.0]), "float32"),
        (torch.tensor([0, 1, 2]), "holds 2"),
        (torch.tensor([0, 1, -1]), "holds -1"),
        (torch.tensor([0, 0, 0]), "query 1 has no relevant"),
    ],
)
def test_bad_correspondences_are_named(image_of_caption, message):
    with pytest.raises(ValueError, match=message):
        metrics_of(torch.rand(2, 3), image_of_caption)


def test_nan_and_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="1 NaN of 4"):
        metrics_of(torch.tensor([[1.0, torch.nan], [0.0, 1.0]]), torch.arange(2))
    with pytest.raises(ValueError, match="floating-point matrix"):
        metrics_of(torch.rand(0, 0), torch.arange(0))
    with pytest.raises(ValueError, match="Transpose"):
        directional_metrics(torch.rand(2, 3), torch.rand(3, 2), torch.arange(3))
    with pytest.raises(ValueError, match="caption_ids"):
        metrics_of(torch.rand(2, 2), torch.arange(2), caption_ids=torch.arange(3))
    with pytest.raises(ValueError, match=r"torch\.bool"):
        expected_recall(torch.rand(2, 2), torch.ones(2, 2))


def every_cell(i2t):
    """Contributions (B, 6) whose six cells all hold the same figure for each picture."""
    return torch.as_tensor(i2t, dtype=torch.float64)[..., None].expand(*torch.tensor(i2t).shape, 6)


@pytest.mark.parametrize("seed", range(5))
def test_contributions_average_to_the_six_cells_with_ties_and_uneven_captions(seed):
    generator = torch.Generator().manual_seed(seed)
    i2t, t2i = (torch.randint(0, 4, (12, 30), generator=generator).float() for _ in range(2))
    owners = torch.cat([torch.arange(12), torch.randint(0, 12, (18,), generator=generator)])
    metrics = directional_metrics(i2t, t2i, owners)
    found = recall_by_picture(i2t, t2i, owners)
    weights = owners.bincount().double()
    means = [*found[:, :3].mean(dim=0), *(weights @ found[:, 3:] / weights.sum())]
    assert [float(mean) for mean in means] == pytest.approx([metrics[key] for key in KEYS[:6]])


def test_contributions_of_a_hand_counted_matrix():
    # Captions 0 and 1 are picture 0's, caption 2 is picture 1's.
    # i2t: picture 0 has caption 0 first: a hit. Picture 1 has captions 1 and 2 tied on top: 1/2.
    # t2i: caption 0 finds picture 0; caption 1 (0.2 against 0.7) does not; caption 2 does. With two
    # pictures and three captions, R@5 and R@10 are 100 everywhere.
    scores = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.7, 0.7]])
    found = recall_by_picture(scores, scores, torch.tensor([0, 0, 1]))
    assert found[:, [0, 3]].tolist() == [[100.0, 50.0], [pytest.approx(50.0), 100.0]]
    assert found[:, [1, 2, 4, 5]].eq(100).all()


def test_the_interval_of_independent_hits_is_that_of_the_normal_approximation():
    # 160 of 400 pictures hit in every cell: standard error 100 sqrt(0.4 * 0.6 / 400) = 2.449, so
    # 40 +- 1.96 * 2.449 = 35.2 .. 44.8; the resamples' quantiles move on a grid of 0.25.
    hits = every_cell([100.0] * 160 + [0.0] * 240)
    low, high = bootstrap_interval(hits, torch.full((400,), 5))
    assert (low, high) == (pytest.approx(35.2, abs=0.4), pytest.approx(44.8, abs=0.4))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # 200 samples of 100 pictures from a population that hits 30 %: coverage of 0.95 has a
    # standard deviation of 0.015, and a percentile interval is known to be a little too short.
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(200):
        hits = every_cell((100.0 * (torch.rand(100, generator=generator) < 0.3)).tolist())
        low, high = bootstrap_interval(hits, torch.ones(100, dtype=torch.int64), resamples=500)
        covered += low <= 30.0 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_resampled_picture_brings_all_its_captions():
    # Picture 0: all right, 1 caption; picture 1: all wrong, 3 captions. Resamples: both 0 (1/4):
    # 100; both 1 (1/4): 0; one of each (1/2): i2t (100 + 0) / 2, t2i (1 * 100 + 3 * 0) / 4, mean
    # 37.5. The middle 40 % lie in the last case.
    hits, captions = every_cell([100.0, 0.0]), torch.tensor([1, 3])
    assert bootstrap_interval(hits, captions, confidence=0.4) == pytest.approx((37.5, 37.5))
    assert bootstrap_interval(hits, captions) == pytest.approx((0.0, 100.0))


def test_seeds_are_averaged_before_pictures_are_drawn():
    one = every_cell([100.0, 0.0, 100.0, 0.0])
    captions = torch.ones(4, dtype=torch.int64)
    assert bootstrap_interval(torch.stack([one, 100 - one]), captions) == (50.0, 50.0)
    assert bootstrap_interval(one[None], captions) == bootstrap_interval(one, captions)


def test_the_interval_depends_on_its_seed_alone():
    hits = 100 * torch.rand(50, 6, generator=torch.Generator().manual_seed(1))
    captions = torch.full((50,), 2)
    first = bootstrap_interval(hits, captions, resamples=300)
    torch.manual_seed(99)
    assert bootstrap_interval(hits, captions, resamples=300) == first
    assert bootstrap_interval(hits, captions, resamples=300, chunk=7) == pytest.approx(first)
    assert bootstrap_interval(hits, captions, resamples=300, seed=1) != first


@pytest.mark.parametrize(
    ("by_picture", "captions", "confidence", "message"),
    [
        (torch.ones(3, 5), torch.ones(3), 0.95, r"by_picture is \(3, 5\)"),
        (torch.ones(0, 6), torch.ones(0), 0.95, r"by_picture is \(0, 6\)"),
        (torch.ones(2, 3, 6), torch.ones(2), 0.95, "each of 3 pictures"),
        (torch.ones(2, 6), torch.tensor([1, 0]), 0.95, "least value of 0"),
        (torch.full((2, 6), torch.nan), torch.ones(2), 0.95, "NaN"),
        (torch.ones(2, 6), torch.ones(2), 95.0, "confidence is 95"),
    ],
)
def test_impossible_contributions_are_named(by_picture, captions, confidence, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(by_picture, captions, confidence=confidence)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda bad: metrics_of(bad, torch.arange(2)),
            r"^similarity is torch\.int64 \(2, 2\); expected a floating-point matrix with at least "
            r"one row and one column\.$",
        ),
        (lambda bad: expected_recall(bad, bad.bool()), r"^scores is torch\.int64 \(2, 2\)"),
        (lambda bad: stable_recall(bad, bad.bool()), r"^scores is torch\.int64 \(2, 2\)"),
        (
            lambda bad: metrics_of(torch.full((2, 2), torch.nan), torch.arange(2)),
            r"^similarity holds 4 NaN of 4 values\. Look for an overflow in half precision, a "
            r"diverged training or an embedding of length zero\.$",
        ),
        (
            lambda bad: metrics_of(bad.float(), torch.tensor([0, 2])),
            r"^image_of_caption holds 2; expected 0 to 1 for a similarity of 2 pictures\.$",
        ),
        (
            lambda bad: directional_metrics(bad.float(), bad.float()[:1], torch.arange(2)),
            r"; expected both as \(pictures, captions\)\. Transpose the caption-first one\.$",
        ),
        (
            lambda bad: bootstrap_interval(torch.full((2, 6), torch.inf), torch.ones(2)),
            r"^by_picture holds NaN or infinite values; expected percentages\.$",
        ),
    ],
)
def test_an_error_says_which_argument_what_it_was_and_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2, 2, dtype=torch.int64))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5])
def test_a_confidence_at_or_beyond_its_limits_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence is"):
        bootstrap_interval(torch.ones(2, 6), torch.ones(2), confidence=confidence)


def test_a_stable_order_holds_in_rows_too_long_for_an_insertion_sort():
    relevant = torch.zeros(1, 4000, dtype=torch.bool)
    relevant[0, 5] = True
    assert stable_recall(torch.zeros(1, 4000), relevant, at=(5, 6)) == {5: 0, 6: 100}


def test_both_kinds_of_ties_reach_the_caption_aware_metrics():
    # All tied, captions of pictures 0, 0 and 1: a stable sort puts picture 0 first for all three.
    tied, pictures, ids = torch.zeros(2, 3), torch.tensor([0, 0, 1]), torch.arange(3)
    stable = metrics_of(tied, pictures, caption_ids=ids, ties="stable")
    assert stable["t2i_R@1"] == pytest.approx(200 / 3)
    assert metrics_of(tied, pictures, caption_ids=ids)["t2i_R@1"] == pytest.approx(50)


def slow_ndcg(scores, gains, at):
    """Oracle: mean over all orders that the scores allow."""
    found = []
    for row, gain in zip(scores.tolist(), gains.tolist(), strict=True):
        orders = [
            order
            for order in itertools.permutations(range(len(row)))
            if all(row[a] >= row[b] for a, b in itertools.pairwise(order))
        ]
        dcg = [sum(gain[i] / math.log2(p + 2) for p, i in enumerate(o[:at])) for o in orders]
        ideal = sorted(gain, reverse=True)[:at]
        best = sum(g / math.log2(p + 2) for p, g in enumerate(ideal))
        found.append(sum(dcg) / len(dcg) / best if best else 0.0)
    return 100 * sum(found) / len(found)


@pytest.mark.parametrize("at", [1, 3, 10])
def test_graded_ndcg_is_the_mean_over_the_orders_of_ties(at):
    draw = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 3, (6, 5), generator=draw).float()
    gains = torch.rand(6, 5, generator=draw)
    gains[0] = 0
    assert graded_ndcg(scores, gains, at=at) == pytest.approx(slow_ndcg(scores, gains, at))


def test_graded_ndcg_of_the_best_order_is_whole():
    gains = torch.tensor([[0.9, 0.5, 0.1], [0.0, 0.3, 0.2]])
    assert graded_ndcg(gains * 2, gains) == pytest.approx(100)


@pytest.mark.parametrize(
    "gains", [-torch.ones(2, 3), torch.ones(3, 2), torch.full((2, 3), torch.nan)]
)
def test_graded_ndcg_refuses_gains_that_are_none(gains):
    with pytest.raises(ValueError, match="gains"):
        graded_ndcg(torch.rand(2, 3), gains)
