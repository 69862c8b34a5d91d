"""The finished model on validation: what is chosen there, and the reports."""

from rsctir_hf.evaluation import SMR_TEMPERATURES
from rsctir_hf.training.report import (
    best_on_average,
    choose_on_validation,
    judge,
    validation_reports,
)


def test_choices_are_written_to_the_configuration(tiny_encoder, tiny_clip, captioned_rows):
    choose_on_validation(
        tiny_encoder,
        judge(tiny_encoder, {"ucm": captioned_rows}),
    )
    assert tiny_clip.config.smr_temperature > 0


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
