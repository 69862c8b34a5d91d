"""The picture of the growth curves holds what the results files say."""

import json
import xml.etree.ElementTree as ElementTree

import growth
import pytest


@pytest.fixture
def results(tmp_path):
    rows = {
        f"{engine}/{kind}/{size}": {
            "engine": engine,
            "set": kind,
            "vectors": size,
            "queries_per_second": 1e6 / size,  # so that a query takes size / 1000 ms
        }
        for engine in ("exact", "hnsw", "postgres")
        for kind in ("clustered", "real")
        for size in (10_000, 1_000)
    }
    (tmp_path / "vector_search.json").write_text(json.dumps({"rows": rows}))
    points = [{"pictures": 100, "seconds": 3.5}, {"pictures": 1000, "seconds": 33.0}]
    found = {"growth": {"cmpagl-rs": points, "galr-rs": points}}
    (tmp_path / "embedding_speed.json").write_text(json.dumps(found))
    return tmp_path


def test_curves_are_milliseconds_of_a_query_and_seconds_of_a_run(results):
    search = json.loads((results / "vector_search.json").read_text())
    curve = [(1_000, 1.0), (10_000, 10.0)]
    assert growth.search_curves(search) == {"exact": curve, "HNSW": curve}
    embedding = json.loads((results / "embedding_speed.json").read_text())
    assert growth.embedding_curves(embedding)["galr-rs"] == [(100, 3.5), (1000, 33.0)]


def test_the_picture_is_small_and_the_same_each_time(results):
    files = [results / "one.svg", results / "two.svg"]
    for file in files:
        growth.main(["--results", str(results), "--output", str(file)])
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size < 60_000
    words = set(ElementTree.parse(files[0]).getroot().itertext())
    assert {"exact", "HNSW", "cmpagl-rs", "galr-rs", "milliseconds", "seconds"} <= words
