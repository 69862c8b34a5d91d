"""What the page says about a model."""

import json

from rsctir_hf.ui.server.model_facts import ModelFacts, describe_model, read_figures


def test_a_model_without_results_is_not_evaluated(bench):
    facts = describe_model(bench.retriever().encoder.model, "somewhere/cmpagl")
    assert (facts.name, facts.quality, facts.can_match) == ("cmpagl", "not evaluated", True)
    assert "parameters" in facts.size


def test_every_report_of_a_results_file_becomes_a_figure_plain_test_first(tmp_path):
    report = {"mR": 47.0, "rerank": "none", "data": "x/ucm_captions", "split": "validation"}
    results = {"reports": [report, {**report, "mR": 49.5, "rerank": "smr", "split": "test"}]}
    results["test"] = {"mR": 48.25, "rerank": "none", "data": "ucm", "split": "test"}
    results["test"] |= {"t2i_R@10": 93.8, "images": 1210}
    (tmp_path / "results.json").write_text(json.dumps(results))
    figures = read_figures(tmp_path)
    assert [figure.value for figure in figures] == [48.25, 49.5, 47.0]
    facts = ModelFacts("m", 34_400_000, figures, "", can_match=False)
    assert facts.size == "34 M parameters"
    assert facts.quality == (
        "finds the right picture in its first ten of 1,210 for 94 of 100 sentences "
        "(UCM-Captions test)"
    )


def test_a_damaged_results_file_is_no_figure(tmp_path):
    (tmp_path / "results.json").write_text("{")
    assert read_figures(tmp_path) == ()
