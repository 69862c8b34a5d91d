"""The losses against slow loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from rsctir_hf.losses import (
    distillation_loss,
    gated_similarity,
    hard_negative_indices,
    info_nce_loss,
    intra_class_loss,
    matching_loss,
    redundancy_loss,
    triplet_loss,
)
from rsctir_hf.reranking import text_gated


@pytest.fixture
def batch():
    """Four pictures, six captions; captions 1 and 4 are one sentence, 2 and 3 share picture 2."""
    similarity = torch.rand(4, 6, generator=torch.Generator().manual_seed(3)) * 2 - 1
    image_of_caption = torch.tensor([0, 1, 2, 2, 3, 1])
    positives = F.one_hot(image_of_caption, 4).T.bool()
    positives[3, 1] = positives[1, 4] = True
    return similarity, image_of_caption, positives


def slow_triplet(similarity, image_of_caption, positives, margin, reduce):
    total = []
    for c, image in enumerate(image_of_caption.tolist()):
        s = similarity[image, c].item()
        captions = [j for j in range(similarity.shape[1]) if not positives[image, j]]
        pictures = [i for i in range(similarity.shape[0]) if not positives[i, c]]
        over_captions = [max(0, margin + similarity[image, j].item() - s) for j in captions]
        over_pictures = [max(0, margin + similarity[i, c].item() - s) for i in pictures]
        total.append(reduce(over_captions) + reduce(over_pictures))
    return total


def test_a_margin_of_each_cell_counts_where_the_cell_is_the_negative(batch):
    similarity, image_of_caption, positives = batch
    margins = torch.rand(4, 6, generator=torch.Generator().manual_seed(5))
    expected = 0.0
    for c, image in enumerate(image_of_caption.tolist()):
        cells = [(image, j) for j in range(6)] + [(i, c) for i in range(4)]
        expected += sum(
            max(0.0, (margins[cell] + similarity[cell] - similarity[image, c]).item())
            for cell in cells
            if not positives[cell]
        )
    loss = triplet_loss(similarity, image_of_caption, positives, margin=margins)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_equals_clip_loss_on_plain_pairs():
    similarity = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(7 * similarity, torch.arange(5))
    expected = (expected + F.cross_entropy(7 * similarity.T, torch.arange(5))) / 2
    loss = info_nce_loss(similarity, torch.eye(5, dtype=torch.bool), scale=7.0)
    torch.testing.assert_close(loss, expected)


def test_info_nce_shares_targets_over_equal_captions():
    # Two pictures, two equal captions: every cell is positive and every target is 1/2. With equal
    # scores each softmax is 1/2 too, so every row and column costs -2 * 1/2 * log(1/2) = log 2.
    loss = info_nce_loss(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), scale=10.0)
    assert loss.item() == pytest.approx(math.log(2))


def test_info_nce_matches_a_slow_loop(batch):
    similarity, _, positives = batch
    sides = []
    for scores, truth in ((similarity, positives), (similarity.T, positives.T)):
        rows = []
        for row, right in zip(scores * 5, truth, strict=True):
            logs = [math.log(math.exp(v) / sum(math.exp(w) for w in row.tolist())) for v in row]
            rows.append(-sum(v for v, r in zip(logs, right, strict=True) if r) / int(right.sum()))
        sides.append(sum(rows) / len(rows))
    loss = info_nce_loss(similarity, positives, scale=torch.tensor(5.0))
    assert loss.item() == pytest.approx(sum(sides) / 2, rel=1e-5)


def test_info_nce_gives_the_scale_a_gradient(batch):
    scale = torch.tensor(2.0, requires_grad=True)
    info_nce_loss(batch[0], batch[2], scale=scale).backward()
    assert scale.grad is not None
    assert scale.grad.abs() > 0


def test_info_nce_refuses_a_picture_without_caption(batch):
    similarity, _, positives = batch
    positives[0] = False
    with pytest.raises(ValueError, match="picture 0 has no positive"):
        info_nce_loss(similarity, positives, scale=1.0)


def test_triplet_sum_matches_a_slow_loop(batch):
    expected = sum(slow_triplet(*batch, 0.2, sum))
    assert triplet_loss(*batch, negatives="sum").item() == pytest.approx(expected, rel=1e-5)


def test_triplet_sum_is_the_released_double_loop_on_plain_pairs():
    s = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    expected = 0.0
    for i in range(4):  # the released loss: sum over i and j != i of both hinges
        for j in range(4):
            if i != j:
                expected += max(0.0, 0.2 + (s[i, j] - s[i, i]).item())
                expected += max(0.0, 0.2 + (s[j, i] - s[i, i]).item())
    loss = triplet_loss(s, torch.arange(4), torch.eye(4, dtype=torch.bool))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_triplet_hardest_matches_a_slow_loop(batch):
    anchors = slow_triplet(*batch, 0.2, max)
    loss = triplet_loss(*batch, negatives="hardest")
    assert loss.item() == pytest.approx(sum(anchors) / len(anchors), rel=1e-5)


def test_triplet_mean_matches_a_slow_loop(batch):
    anchors = slow_triplet(*batch, 0.3, lambda costs: sum(costs) / len(costs))
    loss = triplet_loss(*batch, margin=0.3, negatives="mean")
    assert loss.item() == pytest.approx(sum(anchors) / len(anchors), rel=1e-5)


@pytest.mark.parametrize("negatives", ["sum", "hardest", "mean"])
def test_triplet_ignores_false_negatives(batch, negatives):
    similarity, image_of_caption, positives = batch
    raised = similarity.clone()
    raised[3, 1] = raised[1, 4] = 1.0  # the same sentence at another picture
    expected = triplet_loss(similarity, image_of_caption, positives, negatives=negatives)
    loss = triplet_loss(raised, image_of_caption, positives, negatives=negatives)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("negatives", ["sum", "hardest", "mean"])
def test_triplet_is_zero_where_everything_is_positive(negatives):
    similarity = torch.zeros(2, 2, requires_grad=True)
    everything = torch.ones(2, 2, dtype=torch.bool)
    loss = triplet_loss(similarity, torch.arange(2), everything, negatives=negatives)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(similarity.grad).all()


def test_intra_class_term_over_pairs_and_over_all_positives():
    # Distances of the pairs are 0.4 and 0.2; with delta = 0.1: (0.3 + 0.1) / 2 = 0.2.
    # The third caption is another positive of picture 0 at distance 0.8, itself drawn for picture
    # 1 at distance 0.2. Pairs: (0.3 + 0.1 + 0.1) / 3; all: (0.3 + 0.1 + 0.1 + 0.7) / 4.
    similarity = torch.tensor([[0.6, -1.0, 0.2], [-1.0, 0.8, 0.8]])
    positives = torch.tensor([[True, False, True], [False, True, True]])
    drawn = torch.tensor([0, 1, 1])
    plain = intra_class_loss(similarity[:, :2], drawn[:2], positives[:, :2], margin=0.1)
    pairs = intra_class_loss(similarity, drawn, positives, margin=0.1)
    everything = intra_class_loss(similarity, drawn, positives, margin=0.1, over="all")
    assert plain.item() == pytest.approx(0.2)
    assert pairs.item() == pytest.approx(0.5 / 3)
    assert everything.item() == pytest.approx(1.2 / 4)


def test_triplet_refuses_an_anchor_that_is_not_positive(batch):
    similarity, image_of_caption, positives = batch
    positives[0, 0] = False
    with pytest.raises(ValueError, match="its own picture"):
        triplet_loss(similarity, image_of_caption, positives)


def test_unknown_options_are_named(batch):
    with pytest.raises(ValueError, match="'most'"):
        triplet_loss(*batch, negatives="most")
    with pytest.raises(ValueError, match="'some'"):
        intra_class_loss(*batch, over="some")


@pytest.mark.parametrize("image_of_caption", [torch.arange(5), torch.arange(6), torch.zeros(6)])
def test_triplet_refuses_a_wrong_image_of_caption(batch, image_of_caption):
    with pytest.raises(ValueError, match="image_of_caption"):
        triplet_loss(batch[0], image_of_caption, batch[2])


def test_nan_and_wrong_shapes_are_named(batch):
    similarity, image_of_caption, positives = batch
    with pytest.raises(ValueError, match=r"expected torch\.bool"):
        info_nce_loss(similarity, positives.T, scale=1.0)
    with pytest.raises(ValueError, match=r"expected torch\.bool"):
        triplet_loss(similarity, image_of_caption, positives.float())
    with pytest.raises(ValueError, match="floating-point matrix"):
        info_nce_loss(similarity[0], positives[0], scale=1.0)
    similarity[1, 2] = torch.nan
    with pytest.raises(ValueError, match="1 NaN of 24"):
        triplet_loss(similarity, image_of_caption, positives)


def test_matching_loss_of_an_undecided_head_is_log_two():
    # two equal logits are a probability of 1/2 each
    loss = matching_loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    assert loss.item() == pytest.approx(math.log(2))


def test_matching_loss_reads_column_one_as_match():
    # logits (0, x) give P(match) = 1 / (1 + exp(-x)), so a match costs log(1 + exp(-x))
    loss = matching_loss(torch.tensor([[0.0, 3.0]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-5)


def test_matching_loss_names_bad_input():
    with pytest.raises(ValueError, match=r"\(P, 2\)"):
        matching_loss(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels must be"):
        matching_loss(torch.zeros(2, 2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="NaN"):
        matching_loss(torch.full((1, 2), torch.nan), torch.tensor([0]))


def test_hard_negatives_are_never_positive(batch):
    similarity, _, positives = batch
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        captions, pictures = hard_negative_indices(similarity, positives, generator=generator)
        assert not positives[torch.arange(4), captions].any()
        assert not positives[pictures, torch.arange(6)].any()


def test_hard_negatives_follow_the_softmax_over_negatives():
    # Row 0 may draw column 1 or 2 with scores 0 and log 3: probabilities 1/4 and 3/4. With 4000
    # draws the standard deviation is sqrt(3/16/4000) = 0.007; four of them is 0.028.
    row = torch.tensor([[9.0, 0.0, math.log(3)]]).expand(4000, 3)
    positives = torch.tensor([[True, False, False]]).expand(4000, 3)
    generator = torch.Generator().manual_seed(0)
    captions, _ = hard_negative_indices(row, positives, generator=generator)
    assert (captions == 2).float().mean().item() == pytest.approx(0.75, abs=0.028)


def test_hard_negatives_say_minus_one_where_all_is_positive():
    positives = torch.tensor([[True, True], [True, False]])
    captions, pictures = hard_negative_indices(torch.zeros(2, 2), positives, generator=None)
    assert captions.tolist() == [-1, 1]
    assert pictures.tolist() == [-1, 1]


def test_hard_negatives_repeat_with_the_seed(batch):
    draws = [
        hard_negative_indices(batch[0], batch[2], generator=torch.Generator().manual_seed(7))
        for _ in range(2)
    ]
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])


def test_distillation_is_the_mean_divergence_from_the_mean_of_the_teachers():
    draw = torch.Generator().manual_seed(5)
    similarity, taught = torch.randn(3, 4, generator=draw), torch.randn(2, 3, 4, generator=draw)
    sides = []
    for mine, theirs in ((similarity, taught), (similarity.T, taught.transpose(1, 2))):
        rows = []
        for row in range(len(mine)):
            target = (theirs[0, row].div(3).softmax(0) + theirs[1, row].div(3).softmax(0)) / 2
            student = (7 * mine[row] / 3).softmax(0)
            rows.append((target * (target / student).log()).sum().item())
        sides.append(sum(rows) / len(rows))
    loss = distillation_loss(similarity, taught, scale=torch.tensor(7.0), temperature=3.0)
    assert loss.item() == pytest.approx(9 * sum(sides) / 2, rel=1e-4)


def test_distillation_costs_nothing_where_the_student_agrees_with_its_teacher():
    similarity = torch.randn(3, 4, generator=torch.Generator().manual_seed(6))
    loss = distillation_loss(similarity, 9 * similarity[None], scale=9.0, temperature=2.0)
    assert loss.item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("logits", "temperature", "named"),
    [
        (torch.zeros(3, 4), 1.0, r"teacher_logits are \(3, 4\); expected \(teachers, 3, 4\)"),
        (torch.zeros(1, 4, 3), 1.0, "expected"),
        (torch.zeros(1, 3, 4), 0.0, "temperature is 0.0"),
    ],
)
def test_distillation_says_what_it_cannot_take(logits, temperature, named):
    with pytest.raises(ValueError, match=named):
        distillation_loss(torch.zeros(3, 4), logits, scale=1.0, temperature=temperature)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s, of, p: info_nce_loss(s.int(), p, scale=1.0),
            r"^similarity is torch\.int32",
        ),
        (
            lambda s, of, p: info_nce_loss(s[:3], p[:3] & (torch.arange(6) != 0), scale=1.0),
            r"^picture 0 has no positive",
        ),
        (
            lambda s, of, p: info_nce_loss(s[:3], p[:3], scale=1.0),
            r"^caption 4 has no positive \(1 such\)\. Every picture and every caption of a batch "
            r"needs at least one true cell in `positives`\.$",
        ),
        (
            lambda s, of, p: distillation_loss(s.int(), s[None], scale=1.0, temperature=1.0),
            r"^similarity is torch\.int32",
        ),
        (lambda s, of, p: triplet_loss(s.int(), of, p), r"^similarity is torch\.int32"),
        (lambda s, of, p: intra_class_loss(s.int(), of, p), r"^similarity is torch\.int32"),
        (
            lambda s, of, p: triplet_loss(s, of, ~p),
            r"^positives is false at the cell of a caption and its own picture\. Set "
            r"positives\[image_of_caption\[c\], c\] for every caption c\.$",
        ),
        (
            lambda s, of, p: matching_loss(s[0], of),
            r"^logits are \(6,\) and labels \(6,\); expected \(P, 2\) and \(P,\) for P pairs\.$",
        ),
        (lambda s, of, p: matching_loss(s[:, :3], of[:4]), r"^logits are \(4, 3\)"),
        (
            lambda s, of, p: matching_loss(s[:, :2], of[:4]),
            r"^labels must be int64, 1 for a matching pair and 0 otherwise\.$",
        ),
        (
            lambda s, of, p: matching_loss(s[:, :2].int(), of[:4].clamp(max=1)),
            r"^logits is torch\.int32",
        ),
    ],
)
def test_an_error_says_which_argument_what_it_was_and_what_to_do(batch, call, message):
    similarity, image_of_caption, positives = batch
    positives[3, 1] = positives[1, 4] = False  # each caption has its own picture only
    with pytest.raises(ValueError, match=message):
        call(similarity, image_of_caption, positives)


def test_the_intra_class_term_has_no_margin_unless_asked_for(batch):
    similarity, image_of_caption, positives = batch
    found, spelt_out = (
        intra_class_loss(similarity, image_of_caption, positives, **options)
        for options in ({}, {"margin": 0.0})
    )
    distance = (1 - similarity[image_of_caption, torch.arange(6)]).mean()
    torch.testing.assert_close(found, distance)
    assert found == spelt_out


def test_the_mean_over_a_single_negative_is_that_negatives_cost():
    # Each of two pairs has one negative in either direction: 0.2 + 0.5 - 0.6 = 0.1, four times;
    # the mean over anchors is 0.1 in each direction.
    similarity = torch.tensor([[0.6, 0.5], [0.5, 0.6]])
    loss = triplet_loss(
        similarity, torch.arange(2), torch.eye(2, dtype=torch.bool), negatives="mean"
    )
    assert loss.item() == pytest.approx(0.2)


def test_gated_similarity_is_that_of_the_search_for_every_pair():
    generator = torch.Generator().manual_seed(0)
    texts, patches = (
        F.normalize(torch.randn(*shape, generator=generator), dim=-1)
        for shape in ((4, 8), (3, 5, 8))
    )
    found = gated_similarity(texts, patches, temperature=0.1)
    for image in range(3):
        expected, _ = text_gated(texts, patches[image], temperature=0.1)
        assert torch.allclose(found[image], expected, atol=1e-6)


def test_the_gate_is_no_way_for_gradients():
    # one patch away from the text: only the pooled vector moves it, with a constant share
    text = torch.tensor([[1.0, 0.0]])
    patches = torch.eye(2)[None].requires_grad_()
    gated_similarity(text, patches, temperature=1.0).sum().backward()
    weight = math.e / (math.e + 1)
    share = torch.tensor([(weight + 1 / 2) / 2, (1 - weight + 1 / 2) / 2])
    constant = torch.eye(2)[None].requires_grad_()
    pooled = (share[:, None] * constant[0]).sum(dim=0)
    (pooled[0] / pooled.norm()).backward()
    assert torch.allclose(patches.grad, constant.grad, atol=1e-6)


def test_redundancy_is_0_where_all_dimensions_agree_and_4_each_where_they_oppose():
    images = torch.tensor([[1.0, 5.0], [2.0, 1.0], [4.0, 0.0]])
    assert float(redundancy_loss(images, 3 * images + 1)) == pytest.approx(0, abs=1e-6)
    # correlations 1 and -1: (1 - 1)^2 + (-1 - 1)^2
    assert float(redundancy_loss(images, images * torch.tensor([1.0, -2.0]))) == pytest.approx(4)
    with pytest.raises(ValueError, match="2 pairs or more"):
        redundancy_loss(images[:1], images[:1])
