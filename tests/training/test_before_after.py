"""The base and the result, scored alike: ranks, what moved, and the verdict."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from rsctir_hf.evaluation import evaluate_retrieval, similarity_matrix
from rsctir_hf.training.before_after import (
    BEFORE_TRAINING,
    ONCE,
    Answers,
    BeforeAfter,
    Compared,
    answers,
    movers,
    table_lines,
    verdict,
)


def reported(score, images=3):
    return SimpleNamespace(metrics={"mR": score}, images=images, captions=images)


def compared(before, after, *, split="validation", kept=False, captions=None, scores=(10.0, 20.0)):
    """A set in which each picture has one caption, with the ranks given."""
    rows = [
        {"captions": [text]} for text in captions or [f"caption {n}" for n in range(len(before))]
    ]
    both = [
        Answers(reported(score, len(rows)), torch.tensor(ranks), torch.zeros(len(ranks)).long())
        for score, ranks in zip(scores, (before, after), strict=True)
    ]
    return Compared("mine", split, kept, ONCE if kept else BEFORE_TRAINING, rows, *both)


def test_a_rank_counts_the_pictures_that_are_better_and_equal_ones_share_the_best(
    tiny_encoder, captioned_rows
):
    data = similarity_matrix(tiny_encoder, captioned_rows[:3])
    # picture by caption; captions 0 to 2 belong to pictures 0 to 2
    matrix = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.2], [0.1, 0.8, 0.9]])
    changed = replace(
        data,
        similarity=matrix,
        image_of_caption=torch.arange(3),
        caption_ids=torch.arange(3),
        captions=tuple("abc"),
    )
    found = answers(changed, tiny_encoder)
    assert found.ranks.tolist() == [1, 2, 1]
    assert found.first.tolist()[1:] == [2, 2]


def test_those_that_moved_most_come_first_and_no_sentence_twice():
    shown = compared(
        [9, 1, 5, 5, 2], [1, 9, 5, 2, 1], captions=["a pier", "a lake", "still", "a road", "a pier"]
    )
    assert movers(shown) == ([0, 3], [1])
    assert movers(shown, most=1) == ([0], [1])


def test_the_table_says_what_was_gained_and_what_was_forgotten():
    rows = [compared([1], [1]), compared([1], [1], split="test", kept=True, scores=(51.5, 51.2))]
    head, own, kept = table_lines(rows)
    assert head.split() == ["mR", "in", "percent", "pictures", "before", "after", "change"]
    assert own.split() == ["mine,", "validation", "1", "10.0", "20.0", "+10.0"]
    assert kept.split() == ["mine,", "test", "(kept)", "1", "51.5", "51.2", "-0.3"]


@pytest.mark.parametrize(
    ("sets", "better", "said"),
    [
        ([("validation", False, (10, 20))], True, "10.0 before and 20.0 after, on mine valid"),
        # validation has chosen the result, so that test decides; what was kept does not
        ([("validation", False, (10, 20)), ("test", False, (30, 29))], False, "on mine test"),
        ([("validation", False, (10, 10.04)), ("test", True, (5, 9))], False, "NOT better"),
    ],
)  # fmt: skip
def test_a_result_that_is_no_better_is_called_so(sets, better, said):
    found = verdict([compared([1], [1], split=s, kept=k, scores=v) for s, k, v in sets])
    assert found[0] is better and said in found[1]


def test_base_and_result_are_scored_as_evaluate_does_and_the_base_is_kept(
    tiny_encoder, captioned_rows
):
    validation, test = captioned_rows[:2], captioned_rows[2:]
    before = evaluate_retrieval(tiny_encoder, test).metrics
    seen = BeforeAfter(
        tiny_encoder, {"mine": validation}, test={"mine": test}, kept={"ucm": {"test": test}}
    )
    with torch.no_grad():
        for value in tiny_encoder.model.parameters():
            value.copy_(torch.randn_like(value))
    found = seen.compare(tiny_encoder, {"mine": similarity_matrix(tiny_encoder, validation)})
    assert [(each.data, each.split, each.kept) for each in found] == [
        ("mine", "validation", False), ("mine", "test", False), ("ucm", "test", True)
    ]  # fmt: skip
    written = found[1].to_dict()
    assert written["before"] == before
    assert written["after"] == evaluate_retrieval(tiny_encoder, test).metrics
    assert written["scored"] == "both once, after training"
    # figures of the base must not be taken for reports of the result
    assert "rerank" not in written["before"] and "mR" not in written
