"""The tables of documents: means and spread over seeds, intervals, published rows below ours."""

import json
from statistics import stdev

import pytest
import torch

from benchmarks import results_table
from benchmarks.published import RSICD_CAVEAT, read_published
from benchmarks.results_table import CELLS, COLUMNS, HEADLINE, NONE, read_reports
from rsctir_hf.metrics import bootstrap_interval

DOCUMENTS = results_table.documents()


def report_of(value, **changes):
    """A report of UCM test whose cells are all ``value`` percent; ``per_image`` of 10 pictures."""
    hits = round(value / 10)
    report = dict.fromkeys((*CELLS, "mR"), value)
    report |= {"model": "checkpoints/m", "data": "ucm", "split": "test", "rerank": "smr"}
    report |= {"images": 210, "captions": 1050, "distinct_captions": 377, "seed": 0}
    report |= {"metrics_stable": {"mR": value - 1}, "caption_aware": {"mR": value + 30}}
    report |= {"bank_metrics": None, "symmetries": 8, "caption_counts": [5] * 10}
    report |= {"per_image": [[100.0] * 6] * hits + [[0.0] * 6] * (10 - hits)}
    return report | {"interval": [value - 2.0, value + 3.0]} | changes


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")

    return write


def lines_of(root):
    return results_table.tables(read_reports(root)).splitlines()


def rows_of(lines, model):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] == model]


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_tables_of_the_documents_are_those_of_the_results_files(file):
    remedy = "run: python benchmarks/results_table.py --write"
    assert file.read_text(encoding="utf-8") == DOCUMENTS[file], remedy


def test_headline_and_goals_of_each_model(tmp_path, write):
    for seed, value in ((0, 50.0), (1, 53.0)):
        changes = {"model": f"cmpagl-ucm-seed{seed}", "seed": seed, "symmetries": 1}
        write(f"results/{seed}.json", report_of(value, rerank="none", **changes))
        write(f"results/{seed}_smr.json", report_of(value + 4, **changes))
        write(f"results/{seed}_eight.json", report_of(90.0, **changes | {"symmetries": 8}))
    write("results/other.json", report_of(99.0, model="not-a-product", symmetries=1))
    lines = results_table.headline(read_reports(tmp_path)).splitlines()
    ours = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert ours[0][:4] == ["UCM-Captions, test", "`cmpagl-ucm`", "2", "51.50 ± 2.12"]
    assert ours[0][5] == "55.50 ± 2.12"
    assert all(len(row) == len(HEADLINE) for row in ours)
    assert [row[1] for row in ours[1:]] == [
        "*AMFMN-fusion*",
        "*CABIR*",
        "*CLIP B/32, fine-tuned*",
        "*PE-RSITR*",
        "*RemoteCLIP B/32*",
    ]
    goals = results_table.goals_table(read_reports(tmp_path)).splitlines()
    met = [[cell.strip() for cell in line.strip("|").split("|")] for line in goals[2:]]
    assert [row[2:] for row in met] == [
        ["none", "51.50 ± 2.12", "52", "missed"],
        ["SMR", "55.50 ± 2.12", "54", "met"],
    ]


def test_seeds_become_one_row_with_mean_spread_and_the_interval_of_the_mean(tmp_path, write):
    reports = [
        report_of(value, model=f"outputs/m-seed{seed}", seed=seed)
        for seed, value in enumerate((40.0, 50.0, 90.0))
    ]
    for seed, report in enumerate(reports):
        write(f"results/m-seed{seed}_test_smr_sym8.json", report)
    lines = lines_of(tmp_path)
    assert lines[0] == "**UCM-Captions, test**: 210 pictures, 1,050 captions (377 different)"
    row, *every = rows_of(lines, "m")
    low, high = bootstrap_interval(
        torch.tensor([report["per_image"] for report in reports]), torch.full((10,), 5)
    )
    assert row == [
        *("m", "SMR", "8", "3", "60.0 / 60.0 / 60.0", "60.0 / 60.0 / 60.0"),
        f"60.00 ± {stdev((40, 50, 90)):.2f}",  # 26.46: sample deviation, sqrt(1400 / 2)
        f"{low:.1f} to {high:.1f}",
        *("90.00", NONE, "`results/m-seed*_test_smr_sym8.json`"),
    ]
    assert "± 26.46" in row[6]
    assert [cells[:5] for cells in every] == [
        ["m", str(seed), "SMR", "8", f"{report['mR']:.2f}"] for seed, report in enumerate(reports)
    ]
    assert every[0][4:] == [
        *["40.00"] * 7,
        *("38.0 to 43.0", "39.00", "70.00", NONE, "`results/m-seed0_test_smr_sym8.json`"),
    ]


def test_one_seed_has_no_spread_and_keeps_the_interval_of_its_report(tmp_path, write):
    write("results/m_test_smr.json", report_of(50.0, bank_metrics={"mR": 48.0}))
    row = rows_of(lines_of(tmp_path), "m")[0]
    assert row[3] == "1"
    assert row[6:10] == ["50.00", "48.0 to 53.0", "80.00", "48.00"]


@pytest.mark.parametrize(
    "change",
    [
        {"regions": "none"},
        {"regions": "detr"},
        {"regions": "detr", "detector": {"fingerprint": "ab", "threshold": 0.3, "max_regions": 9}},
    ],
)
def test_seeds_with_different_regions_are_never_averaged(tmp_path, write, change):
    write("results/m_seed0.json", report_of(50.0, regions="model"))
    write("results/m_seed1.json", report_of(50.0, regions="model", seed=1))
    assert len(read_reports(tmp_path)) == 2
    write("results/m_seed2.json", report_of(50.0, seed=2, **change))
    with pytest.raises(ValueError, match=r"m_seed0.json and results/m_seed2.json are seeds of one"):
        read_reports(tmp_path)


def test_reranks_views_data_and_sizes_are_never_averaged_together(tmp_path, write):
    changes = [{}, {"rerank": "none"}, {"symmetries": 1}, {"split": "validation"}, {"images": 209}]
    changes += [{"data": "sample"}, {"model": "checkpoints/n"}]
    for number, change in enumerate(changes):
        write(f"results/{number}.json", report_of(50.0, seed=number, **change))
    lines = lines_of(tmp_path)
    rows = rows_of(lines, "m") + rows_of(lines, "n")
    assert len(rows) == 2 * len(changes)  # each in the table and among the single cells
    assert {row[6] for row in rows if len(row) == len(COLUMNS)} == {"50.00"}
    titles = [line.split("**")[1] for line in lines if line.startswith("**")]
    assert titles[-1] == "Drawn scenes" and len(titles) == 4


def test_files_of_before_the_interval_and_other_measurements_do_no_harm(tmp_path, write):
    old = report_of(50.0, seed=None)
    for name in ("symmetries", "per_image", "interval", "caption_counts"):
        del old[name]
    write("results/old.json", old)
    write("results/new.json", report_of(50.0, symmetries=1, seed=1))
    write("results/speed.json", {"pictures_per_second": 30})
    write("results/list.json", [1, 2])
    row, *every = rows_of(lines_of(tmp_path), "m")
    assert row[2:4] == ["1", "2"]
    assert row[7] == NONE  # an interval of the mean needs the pictures of both
    assert sorted(cells[1] for cells in every) == ["1", NONE]


def test_published_rows_stand_below_ours(tmp_path, write):
    write("results/m.json", report_of(50.0))
    lines, published = lines_of(tmp_path), read_published("ucm")
    assert lines[4].startswith("| m |")
    assert lines[5].startswith("| *") and lines[4 + len(published)].startswith("| *")
    assert lines[5 + len(published)] == ""
    assert "<details><summary>Every single cell: UCM-Captions, test</summary>" in lines
    assert lines[-1] == "</details>"
    assert "beats" not in "\n".join(lines)


def test_validation_of_runs_is_read_and_a_part_of_rsicd_is_called_one(tmp_path, write):
    part = {"data": "rsicd", "split": "validation", "images": 1027, "captions": 5135}
    validation = [report_of(24.0, model="cmpagl-rsicd", rerank=r, **part) for r in ("none", "smr")]
    record = {"git_revision": "x", "validation": validation, "log": []}
    write("results/runs/cmpagl-rsicd.json", record)
    write("checkpoints/copy/results.json", record)  # of the same run: counted once
    general = report_of(23.0, model="cmpagl-rs", **part)
    write("checkpoints/cmpagl-rs/results.json", {"validation": [general]})
    lines = lines_of(tmp_path)
    assert lines[0].startswith("**RSICD (AID subset, 150 px), validation**: 1,027 pictures")
    assert RSICD_CAVEAT in lines
    assert [row[3] for row in rows_of(lines, "cmpagl-rsicd")[:2]] == ["1", "1"]
    assert rows_of(lines, "cmpagl-rsicd")[0][-1] == "`results/runs/cmpagl-rsicd.json`"
    assert rows_of(lines, "cmpagl-rs")[0][-1] == "`checkpoints/cmpagl-rs/results.json`"
    assert len(rows_of(lines, "*GaLR*")) == 1
    whole = report_of(24.0, data="rsicd", split="validation", images=1094)
    assert results_table.data_title("rsicd", "validation", whole["images"]) == "RSICD"


def test_two_reports_of_one_seed_are_refused(tmp_path, write):
    write("results/a.json", report_of(50.0))
    write("results/b.json", report_of(51.0))
    with pytest.raises(ValueError, match=r"results/a\.json and results/b\.json both report"):
        read_reports(tmp_path)


def test_the_seed_is_read_from_the_models_name_where_the_report_lacks_it(tmp_path, write):
    for seed in (0, 1):
        write(f"results/{seed}.json", report_of(50.0, model=f"m-seed{seed}", seed=None))
    assert [report.seed for report in read_reports(tmp_path)] == [0, 1]


PUBLISHED = [*read_published("ucm"), *read_published("rsicd")]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.method)
def test_published_rows_average_to_their_printed_mean_or_say_so(row):
    mean = sum(row.recalls) / 6
    if "cells average" in row.source:
        assert f"{mean:.2f}" in row.source
    else:
        assert mean == pytest.approx(row.mean, abs=0.011)


def test_an_empty_checkout_says_how_to_get_results(tmp_path):
    assert lines_of(tmp_path) == [results_table.NO_RESULTS]
