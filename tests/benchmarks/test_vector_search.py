"""The comparison of engines at a small size: what it writes, and that it does nothing twice."""

import json

import pytest
import torch

from benchmarks import vector_search, vector_sets


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(vector_search, "QUERIES", 64)
    monkeypatch.setattr(vector_search, "SECONDS", 0.01)

    def main(*options):
        places = ("--output", str(tmp_path / "report.json"), "--cache", str(tmp_path / "cache"))
        vector_search.main([*options, *places])
        return json.loads((tmp_path / "report.json").read_text()), capsys.readouterr()

    return main


def test_each_engine_is_measured_once_and_put_in_the_table(run):
    report, first = run("--sizes", "300", "--engines", "exact", "hnsw")
    assert set(report["rows"]) == {"exact/clustered/300", "hnsw/clustered/300"}
    exact = report["rows"]["exact/clustered/300"]
    assert exact["recall"] == 1.0
    assert {found["recall"] for found in exact["filtered"].values()} == {1.0}
    assert exact["bytes"] > 300 * vector_sets.DIMENSION * 4
    assert report["rows"]["hnsw/clustered/300"]["recall"] > 0.95
    assert report["rows"]["hnsw/clustered/300"]["exact_queries_per_second_64"] > 0
    assert set(report["exact_against_bare"]["300"]) == {"batch_1", "batch_64"}
    again, second = run("--sizes", "300", "--engines", "exact")
    assert again["rows"] == report["rows"]
    assert "measuring exact/clustered/300" in first.err and "measuring" not in second.err
    assert "| picture | 300 | HNSW |" in second.out


def test_clustered_vectors_stand_around_their_centres():
    made = vector_sets.clustered(400, queries=50)
    assert made.vectors.shape == (400, 512)
    nearest = (made.queries @ made.vectors.T).max(dim=1).values
    # centre and noise are independent: cosine 1 / (1 + 0.5 ** 2) = 0.8 within a cluster
    assert nearest.mean() == pytest.approx(0.8, abs=0.05)


def test_copies_of_pictures_lie_at_the_cosine_that_is_reported(monkeypatch, tmp_path):
    random = torch.nn.functional.normalize(torch.randn(60, 512), dim=1)
    near = torch.nn.functional.normalize(random + 0.02 * torch.randn(60, 512), dim=1)
    pictures = torch.cat([random, near])
    monkeypatch.setattr(vector_sets, "_embedded", lambda *_: (pictures, random[:30]))
    made = vector_sets.real(300, queries=10, data=tmp_path, model=tmp_path, cache=tmp_path)
    assert made.vectors.shape == (300, 512) and len(made.queries) == 10
    cosine = vector_sets._usual_nearest(pictures)
    copies = (made.vectors[120:240] * pictures).sum(dim=1)
    assert copies.mean() == pytest.approx(cosine, abs=0.02)
    assert f"180 copies of them at a cosine of {cosine:.2f}" in made.about
    fewer = vector_sets.real(50, queries=10, data=tmp_path, model=tmp_path, cache=tmp_path)
    assert fewer.vectors.shape == (50, 512) and "padded" not in fewer.about
