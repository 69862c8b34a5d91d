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
    assert tiny_clip.config.smr_temperature in SMR_TEMPERATURES


def test_the_value_that_is_best_on_average_is_chosen_and_the_first_of_equals():
    # Means 2, 3 and 3; the first set alone would choose 0.1 and the second 0.3.
    scores = {0.1: [4.0, 0.0], 0.2: [3.0, 3.0], 0.3: [1.0, 5.0]}
    assert best_on_average("it", (0.1, 0.2, 0.3), scores.__getitem__) == 0.2
    assert best_on_average("it", (0.3, 0.2, 0.1), scores.__getitem__) == 0.3


def test_of_equals_the_value_so_far_stays_also_one_that_the_grid_does_not_hold():
    scores = {0.1: [1.0], 0.2: [3.0], 0.3: [3.0], 0.4: [2.0], 0.25: [3.0]}
    for now, best in ((0.3, 0.3), (0.25, 0.25), (0.4, 0.2), (0.1, 0.2), (0.0, 0.2)):
        assert best_on_average("it", (0.1, 0.2, 0.3, 0.4), scores.__getitem__, now=now) == best


def test_on_a_set_that_tells_no_temperatures_apart_that_of_the_base_stays(
    tiny_encoder, captioned_rows, monkeypatch
):
    monkeypatch.setattr(tiny_encoder.model.config, "smr_temperature", 0.14, raising=False)
    choose_on_validation(tiny_encoder, judge(tiny_encoder, {"mine": captioned_rows[:1]}))
    assert tiny_encoder.model.config.smr_temperature == 0.14


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
