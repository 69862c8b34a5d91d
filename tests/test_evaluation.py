"""The evaluation harness on four pictures."""

import json

import pytest
import torch
from PIL import Image

from rsctir_hf.captions import number_captions
from rsctir_hf.errors import DataLayoutError, ImageReadError, QueryError, UnsupportedError
from rsctir_hf.evaluation import (
    MATCH_WEIGHTS,
    choose_match_weight,
    choose_smr_temperature,
    evaluate_retrieval,
    similarity_matrix,
    two_stage_scores,
)
from rsctir_hf.metrics import retrieval_metrics


def test_training_and_evaluation_agree_on_what_one_sentence_is(tiny_clip, tiny_clip_processor):
    texts = ["boats, planes", "boats planes", "Boats , planes .", "boats  planes."]
    rows = [{"image": Image.new("RGB", (40, 40)), "captions": texts}]
    data = similarity_matrix(tiny_clip, tiny_clip_processor, rows)
    numbers, distinct = number_captions([[text] for text in texts])
    assert data.caption_ids.tolist() == [number for (number,) in numbers] == [0, 1, 0, 1]
    assert len(data.distinct_captions) == distinct == 2


def test_equal_sentences_share_one_id_and_one_score(tiny_clip, tiny_clip_processor, captioned_rows):
    data = similarity_matrix(tiny_clip, tiny_clip_processor, captioned_rows)
    assert data.image_of_caption.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert data.caption_ids[1] == data.caption_ids[3]  # "Many boats." and "many boats"
    assert torch.equal(data.similarity[:, 1], data.similarity[:, 3])
    assert data.similarity.shape == (4, 8)
    assert len(data.distinct_captions) == 7


def test_report_equals_the_metrics_of_the_matrix(tiny_clip, tiny_clip_processor, captioned_rows):
    data = similarity_matrix(tiny_clip, tiny_clip_processor, captioned_rows)
    report = evaluate_retrieval(tiny_clip, tiny_clip_processor, captioned_rows)
    expected = retrieval_metrics(data.similarity, data.image_of_caption)
    assert report.metrics == pytest.approx(expected)
    assert report.caption_aware["mR"] >= report.metrics["mR"]
    assert report.bank_metrics is None
    assert (report.images, report.captions, report.distinct_captions) == (4, 8, 7)


def test_report_is_json_with_the_metrics_on_top(tiny_clip, tiny_clip_processor, captioned_rows):
    report = evaluate_retrieval(tiny_clip, tiny_clip_processor, captioned_rows)
    named = report.with_source(model="org/x", data="folder", split="test", seed=3)
    written = json.loads(json.dumps(named.to_dict()))
    assert written["mR"] == report.metrics["mR"]
    assert written["i2t_R@1"] == report.metrics["i2t_R@1"]
    assert (written["model"], written["split"], written["seed"]) == ("org/x", "test", 3)
    assert written["regions"] == "none"
    assert {"torch", "transformers", "python"} <= set(written["versions"])


@pytest.mark.parametrize("rerank", ["smr", "mr"])
def test_rerank_is_reported_on_the_full_matrix_and_with_the_bank(
    tiny_clip, tiny_clip_processor, captioned_rows, rerank
):
    bank = ["a river", "tennis courts", "many planes", "boats beside the pier"]
    report = evaluate_retrieval(
        tiny_clip, tiny_clip_processor, captioned_rows, rerank=rerank, bank=bank
    )
    assert report.bank_size == 4
    assert set(report.bank_metrics) == set(report.metrics)
    assert report.bank_metrics["i2t_R@1"] == report.metrics["i2t_R@1"]
    assert (report.temperature is None) == (rerank == "mr")


def test_training_mode_is_given_back(tiny_clip, tiny_clip_processor, captioned_rows):
    tiny_clip.train()
    try:
        evaluate_retrieval(tiny_clip, tiny_clip_processor, captioned_rows)
        assert tiny_clip.training
    finally:
        tiny_clip.eval()


def test_smr_temperature_with_the_best_recall_is_chosen():
    # Picture 1 must find caption 1 (0.45) before caption 0 (0.44). At tau = 100 SMR takes the mean
    # of each column off: 0.44 - 0.01 > 0.45 - 0.43, wrong. At tau = 0.01 it takes about the
    # largest off: 0.44 - 0.50 < 0.45 - 0.45, right, as is every other cell, so mR is 100.
    similarity = torch.tensor([[0.50, 0.44, -0.90], [0.44, 0.45, -0.90], [-0.90, 0.40, 0.90]])
    owners = torch.arange(3)
    assert choose_smr_temperature(similarity, owners, grid=(100.0, 0.01)) == 0.01
    assert choose_smr_temperature(similarity, owners, grid=(0.01, 100.0)) == 0.01
    with pytest.raises(ValueError):
        choose_smr_temperature(similarity, owners, grid=())


def test_match_weight_is_the_smallest_where_matching_does_not_help():
    similarity, owners = torch.eye(3), torch.arange(3)
    wrong = 1 - torch.eye(3)
    chosen = choose_match_weight(similarity, owners, probabilities=(wrong, wrong))
    assert chosen == min(MATCH_WEIGHTS) > 0


def test_match_weight_grows_where_matching_is_right():
    similarity, owners = 0.04 * (1 - torch.eye(12)), torch.arange(12)
    right = torch.eye(12)
    assert choose_match_weight(similarity, owners, probabilities=(right, right)) == 0.05


def test_judged_candidates_stay_ahead_of_the_others():
    similarity = torch.tensor([[0.9, 0.8, 0.1]])
    judged = torch.tensor([[0.0, 0.5, 0.0]])
    i2t, _ = two_stage_scores(similarity, (judged, judged), weight=1.0)
    assert i2t.argsort(descending=True).tolist() == [[1, 0, 2]]


def test_bad_input_is_named(tiny_clip, tiny_clip_processor, captioned_rows, tmp_path):
    broken = tmp_path / "broken.png"
    broken.touch()
    picture = Image.new("RGB", (8, 8))
    cases = [
        (captioned_rows, {"rerank": "best"}, QueryError, "best"),
        (captioned_rows, {"rerank": "match"}, UnsupportedError, "CLIPModel"),
        (captioned_rows, {"rerank": "smr", "temperature": 0.0}, QueryError, "above 0"),
        ([{"image": broken, "captions": ["x"]}], {}, ImageReadError, "broken.png"),
        ([{"image": picture, "captions": []}], {}, DataLayoutError, "caption"),
        ([], {}, DataLayoutError, "0 rows"),
    ]
    for rows, options, error, message in cases:
        with pytest.raises(error, match=message):
            evaluate_retrieval(tiny_clip, tiny_clip_processor, rows, **options)
