"""The finished model on validation: what is chosen there, and the reports."""

import pytest
import torch

from rsctir_hf.evaluation import SMR_TEMPERATURES
from rsctir_hf.training.report import (
    OFF_TOPIC,
    best_on_average,
    choose_on_validation,
    confident_score,
    judge,
    validation_reports,
)


def test_the_confident_score_lies_midway_between_on_topic_and_off_topic_sentences():
    # 5 % quantile of 0.50, 0.51 ... 1.50 is 0.55; 95 % quantile of 0.00, 0.01 ... 1.00 is 0.95.
    steps = torch.arange(101) / 100
    assert confident_score(steps + 0.5, steps) == pytest.approx((0.55 + 0.95) / 2)


def test_choices_are_written_to_the_configuration(tiny_encoder, tiny_clip, captioned_rows):
    choose_on_validation(
        tiny_encoder,
        judge(tiny_encoder, {"ucm": captioned_rows}),
    )
    assert tiny_clip.config.smr_temperature > 0
    assert -1 <= tiny_clip.config.confident_score <= 1


def test_the_value_that_is_best_on_average_is_chosen_and_the_first_of_equals():
    # Means 2, 3 and 3; the first set alone would choose 0.1 and the second 0.3.
    scores = {0.1: [4.0, 0.0], 0.2: [3.0, 3.0], 0.3: [1.0, 5.0]}
    assert best_on_average((0.1, 0.2, 0.3), scores.__getitem__) == 0.2
    assert best_on_average((0.3, 0.2, 0.1), scores.__getitem__) == 0.3


def test_the_temperature_is_chosen_on_all_sets_and_not_on_the_first(
    tiny_encoder, captioned_rows, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "rsctir_hf.training.report.directional_metrics",
        lambda i2t, t2i, owners: asked.append(len(owners)) or {"mR": 0.0},
    )
    sets = {"ucm": captioned_rows, "rsicd": captioned_rows[:2]}
    choose_on_validation(
        tiny_encoder,
        judge(tiny_encoder, sets),
    )
    assert asked == [8, 4] * len(SMR_TEMPERATURES)


def test_confidence_comes_from_the_sentences_of_all_sets_each_in_its_own_gallery(
    tiny_encoder, captioned_rows, monkeypatch
):
    lengths = []
    monkeypatch.setattr(
        "rsctir_hf.training.report.confident_score",
        lambda on, off: lengths.append((len(on), len(off))) or 0.0,
    )
    sets = {"ucm": captioned_rows, "rsicd": captioned_rows[:2]}
    choose_on_validation(
        tiny_encoder,
        judge(tiny_encoder, sets),
    )
    assert lengths == [(7 + 3, 2 * len(OFF_TOPIC))]  # distinct sentences: "many boats" twice


def test_there_is_a_report_for_each_set_and_rerank(tiny_encoder, captioned_rows):
    reports = validation_reports(
        tiny_encoder,
        judge(
            tiny_encoder,
            {"ucm": captioned_rows, "rsicd": captioned_rows[:2]},
        ),
        bank=["a river", "a pier"],
        source={"model": "m", "split": "validation", "seed": 0},
    )
    assert [(report["data"], report["rerank"], report["images"]) for report in reports] == [
        (name, rerank, images)
        for name, images in (("ucm", 4), ("rsicd", 2))
        for rerank in ("none", "smr", "mr")
    ]
    assert {report["split"] for report in reports} == {"validation"}
