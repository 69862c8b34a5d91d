"""The evaluation harness on four pictures."""

import json
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from rsctir_hf import evaluation
from rsctir_hf.data.caption_similarity import caption_similarity
from rsctir_hf.errors import DataLayoutError, ImageReadError, QueryError, UnsupportedError
from rsctir_hf.evaluation import (
    MATCH_WEIGHTS,
    evaluate_retrieval,
    report_on,
    results_json,
    similarity_matrix,
)
from rsctir_hf.files.sentences import number_captions
from rsctir_hf.metrics import bootstrap_interval, directional_metrics, graded_ndcg
from rsctir_hf.search.second_stages import two_stage_scores
from tests.geo.rasters import write


def test_training_and_evaluation_agree_on_what_one_sentence_is(tiny_encoder):
    texts = ["boats, planes", "boats planes", "Boats , planes .", "boats  planes."]
    rows = [{"image": Image.new("RGB", (40, 40)), "captions": texts}]
    data = similarity_matrix(tiny_encoder, rows)
    numbers, distinct = number_captions([[text] for text in texts])
    assert data.caption_ids.tolist() == [number for (number,) in numbers] == [0, 1, 0, 1]
    assert len(data.distinct_captions) == distinct == 2


def test_equal_sentences_share_one_id_and_one_score(tiny_encoder, captioned_rows):
    data = similarity_matrix(tiny_encoder, captioned_rows)
    assert data.image_of_caption.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert data.caption_ids[1] == data.caption_ids[3]  # "Many boats." and "many boats"
    assert torch.equal(data.similarity[:, 1], data.similarity[:, 3])
    assert data.similarity.shape == (4, 8)
    assert len(data.distinct_captions) == 7


def test_report_equals_the_metrics_of_the_matrix(tiny_encoder, captioned_rows):
    data = similarity_matrix(tiny_encoder, captioned_rows)
    report = evaluate_retrieval(tiny_encoder, captioned_rows)
    expected = directional_metrics(data.similarity, data.similarity, data.image_of_caption)
    assert report.metrics == pytest.approx(expected)
    assert report.caption_aware["mR"] >= report.metrics["mR"]
    assert report.bank_metrics is None
    assert (report.images, report.captions, report.distinct_captions) == (4, 8, 7)


def test_a_report_says_how_near_the_hits_are_in_words(tiny_encoder, captioned_rows):
    data = similarity_matrix(tiny_encoder, captioned_rows)
    owned = [row["captions"] for row in captioned_rows]
    gains = caption_similarity(data.captions, owned)
    torch.testing.assert_close(data.gains, gains)
    graded = evaluate_retrieval(tiny_encoder, captioned_rows).graded
    assert graded["i2t_nDCG@10"] == pytest.approx(graded_ndcg(data.similarity, gains))
    assert graded["t2i_nDCG@10"] == pytest.approx(graded_ndcg(data.similarity.T, gains.T))
    best = report_on(replace(data, similarity=gains), tiny_encoder).graded
    assert best == pytest.approx({"i2t_nDCG@10": 100, "t2i_nDCG@10": 100})


def test_report_is_json_with_the_metrics_on_top(tiny_encoder, captioned_rows):
    report = evaluate_retrieval(tiny_encoder, captioned_rows)
    named = report.with_source(model="org/x", data="folder", split="test", seed=3)
    written = json.loads(json.dumps(named.to_dict()))
    assert written["mR"] == report.metrics["mR"]
    assert written["i2t_R@1"] == report.metrics["i2t_R@1"]
    assert (written["model"], written["split"], written["seed"]) == ("org/x", "test", 3)
    assert written["regions"] == "none"
    assert {"torch", "transformers", "python"} <= set(written["versions"])


@pytest.mark.parametrize("rerank", ["smr", "mr"])
def test_rerank_is_reported_on_the_full_matrix_and_with_the_bank(
    tiny_encoder, captioned_rows, rerank
):
    bank = ["a river", "tennis courts", "many planes", "boats beside the pier"]
    report = evaluate_retrieval(tiny_encoder, captioned_rows, rerank=rerank, bank=bank)
    assert report.bank_size == 4
    assert set(report.bank_metrics) == set(report.metrics)
    assert report.bank_metrics["i2t_R@1"] == report.metrics["i2t_R@1"]
    assert (report.temperature is None) == (rerank == "mr")


@pytest.mark.parametrize(("rerank", "judged"), [("match", False), ("fine", False), ("none", True)])
def test_a_report_is_of_the_rerank_that_it_names(tiny_encoder, captioned_rows, rerank, judged):
    data = similarity_matrix(tiny_encoder, captioned_rows)
    given = (torch.zeros_like(data.similarity),) * 2 if judged else None
    with pytest.raises(ValueError, match="goes with match and fine"):
        report_on(data, tiny_encoder, rerank=rerank, judged=given)
    with pytest.raises(QueryError, match="bogus"):
        report_on(data, tiny_encoder, rerank="bogus")


def test_training_mode_is_given_back(tiny_encoder, tiny_clip, captioned_rows):
    tiny_clip.train()
    try:
        evaluate_retrieval(tiny_encoder, captioned_rows)
        assert tiny_clip.training
    finally:
        tiny_clip.eval()


def test_every_match_weight_that_may_be_chosen_keeps_the_judged_ahead():
    assert min(MATCH_WEIGHTS) > 0


def test_judged_candidates_stay_ahead_of_the_others():
    similarity = torch.tensor([[0.9, 0.8, 0.1]])
    judged = torch.tensor([[0.0, 0.5, 0.0]])
    i2t, _ = two_stage_scores(similarity, (judged, judged), weight=1.0)
    assert i2t.argsort(descending=True).tolist() == [[1, 0, 2]]


def test_bad_input_is_named(tiny_encoder, captioned_rows, tmp_path):
    broken = tmp_path / "broken.png"
    broken.touch()
    picture = Image.new("RGB", (8, 8))
    cases = [
        (captioned_rows, {"rerank": "best"}, QueryError, "best"),
        (captioned_rows, {"rerank": "match"}, UnsupportedError, "CLIPModel"),
        (captioned_rows, {"rerank": "smr", "temperature": 0.0}, QueryError, "above 0"),
        (captioned_rows, {"symmetries": 4}, QueryError, "symmetries is 4; expected 1"),
        ([], {"symmetries": 0}, QueryError, "symmetries is 0"),
        ([{"image": broken, "captions": ["x"]}], {}, ImageReadError, "broken.png"),
        ([{"image": picture, "captions": []}], {}, DataLayoutError, "caption"),
        ([], {}, DataLayoutError, "0 rows"),
    ]
    for rows, options, error, message in cases:
        with pytest.raises(error, match=message):
            evaluate_retrieval(tiny_encoder, rows, **options)


def test_rasters_and_deep_pictures_are_scored_as_they_are_searched(tiny_encoder, tmp_path):
    draw = np.random.default_rng(0)
    deep = [draw.integers(300, 4000, (bands, 20, 20)).astype(np.uint16) for bands in (4, 3, 1)]
    files = [write(tmp_path / f"{n}.tif", values) for n, values in enumerate(deep)]
    captions = [["a river"], ["many planes"], ["a pier"]]
    table = datasets.Dataset.from_dict({"image": [*map(str, files)], "captions": captions})
    table = table.cast_column("image", datasets.Image())
    data = similarity_matrix(tiny_encoder, table)
    torch.testing.assert_close(data.image_vectors, tiny_encoder.images(files).vectors)


def test_a_temperature_is_refused_before_the_work(tiny_encoder, captioned_rows, monkeypatch):
    monkeypatch.setattr(evaluation, "similarity_matrix", lambda *_, **__: pytest.fail("embedded"))
    with pytest.raises(QueryError, match="above 0"):
        evaluate_retrieval(tiny_encoder, captioned_rows, rerank="smr", temperature=-1.0)


def noise_rows(captioned_rows):
    """The captions of ``captioned_rows`` with pictures that differ when they are turned."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    pictures = [Image.fromarray(p).resize((56, 40), Image.Resampling.NEAREST) for p in pixels]
    return [row | {"image": p} for row, p in zip(captioned_rows, pictures, strict=True)]


@pytest.mark.parametrize("rerank", ["none", "smr", "mr"])
def test_with_eight_symmetries_turned_pictures_get_the_same_report(
    tiny_encoder, captioned_rows, rerank
):
    rows = noise_rows(captioned_rows)
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.TRANSPOSE, Image.Transpose.FLIP_LEFT_RIGHT)
    other = [
        row | {"image": row["image"].transpose(t)} for row, t in zip(rows, turns, strict=False)
    ]
    other.append(rows[3])
    matrices = {
        count: [
            similarity_matrix(tiny_encoder, found, symmetries=count).similarity
            for found in (rows, other)
        ]
        for count in (1, 8)
    }
    torch.testing.assert_close(*matrices[8], atol=1e-5, rtol=0)
    assert (matrices[1][0] - matrices[1][1]).abs().max() > 1e-3
    assert (matrices[8][0] - matrices[1][0]).abs().max() > 1e-3
    reports = [
        evaluate_retrieval(tiny_encoder, found, rerank=rerank, symmetries=8)
        for found in (rows, other)
    ]
    assert reports[0].symmetries == 8
    assert reports[0].metrics == pytest.approx(reports[1].metrics)


def test_the_interval_can_be_remade_from_the_written_report(tiny_encoder, captioned_rows):
    report = evaluate_retrieval(tiny_encoder, noise_rows(captioned_rows))
    written = json.loads(results_json(report.to_dict()))
    captions = torch.tensor(written["caption_counts"])
    rows = torch.tensor(written["per_image"], dtype=torch.float64)
    assert captions.tolist() == [2, 2, 3, 1] and rows.shape == (4, 6)
    assert rows[:, 0].mean().item() == pytest.approx(written["i2t_R@1"], abs=0.006)
    t2i = (captions.double() @ rows[:, 3] / captions.sum()).item()
    assert t2i == pytest.approx(written["t2i_R@1"], abs=0.006)
    assert tuple(written["interval"]) == bootstrap_interval(rows, captions)
    low, high = written["interval"]
    assert low <= written["mR"] <= high
    assert list(written)[-1] == "per_image"


def test_results_files_hold_a_list_of_numbers_on_one_line():
    results = {
        "text": "[\n 1,\n 2 ]",
        "rows": [[1.5, -2.0], [3.0, None]],
        "log": [{"a": 1}],
        "b": [],
    }
    text = results_json(results)
    assert json.loads(text) == results
    assert "    [1.5, -2.0],\n    [3.0, null]\n" in text
    assert text.endswith("}\n") and '"a": 1' in text.splitlines()[8]
