"""A launch whose region graphs are made of a detector's boxes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.ui.endpoints import Endpoints
from rsctir_hf.ui.server.workbench import Phase, Workbench
from rsctir_hf.ui.tabs.region_tab import RegionHandlers
from tests.tiny_detectors import CLASSES, save_detector
from tests.ui.conftest import wait_until_over

THRESHOLD = 0.1


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return save_detector(tmp_path_factory.mktemp("detectors") / "seen-from-above")


@pytest.fixture(scope="module")
def with_detector(settings, detector):
    return replace(settings, regions=str(detector), region_threshold=THRESHOLD)


def test_class_names_are_shown_at_the_boxes_in_the_table_and_in_the_files(with_detector):
    bench = Workbench(with_detector)
    bench.retriever()
    handlers, path = RegionHandlers(bench), str(bench.gallery.paths[2])
    message, shown, slider, *_ = handlers.find_regions(path)
    assert message == ""
    _, shown = handlers.explain(shown, "a pier")
    figure, _, legend, table, _, as_json, as_graphml = handlers.draw(
        shown, slider["value"], 20, 0.0
    )
    names = [row[table["headers"].index("label")] for row in table["data"]]
    assert names and set(names) <= set(CLASSES)
    hover = " ".join(figure.data[-1].customdata)
    assert all(f"<b>#{number} {name}</b>" in hover for number, name, *_ in table["data"])
    assert [node["label"] for node in json.loads(Path(as_json).read_text())["nodes"]] == names
    assert names[0] in Path(as_graphml).read_text()
    assert "boxes are of seen-from-above, a detector, in galr, the region model" in legend
    answer = Endpoints(bench).region_graph(path)
    assert [node["label"] for node in answer["nodes"]] == names


def test_only_a_galr_model_takes_the_regions_and_takes_them_everywhere(with_detector):
    bench = Workbench(with_detector)
    assert bench.retriever().encoder.regions == "model"
    assert bench.region_retriever().encoder.regions.record.threshold == THRESHOLD
    alone = Workbench(replace(with_detector, model=with_detector.region_model))
    assert alone.retriever() is alone.region_retriever()
    assert alone.retriever().encoder.regions.record.threshold == THRESHOLD
    wait_until_over(alone)
    assert alone.status.phase is Phase.READY
    path = alone.gallery.paths[2]
    best = alone.retriever().search(path)[0]
    assert Path(best.path) == path and best.score == pytest.approx(1.0, abs=1e-5)
    everyones = alone.retriever()
    assert everyones.with_empty_gallery().encoder.regions is everyones.encoder.regions


WRONG = [
    ({"regions": "no/such/folder"}, "neither a detector folder nor a Hub id"),
    ({"regions": "nobody/nothing-here"}, "nobody/nothing-here"),
    ({"region_threshold": 3.0}, "threshold is 3.0; expected a score from 0 to 1"),
    ({"regions": "model", "region_threshold": 0.3}, "only a detector's regions have a threshold"),
]


@pytest.mark.parametrize(("change", "reason"), WRONG)
def test_wrong_regions_are_told_in_the_tab_and_searches_go_on(with_detector, change, reason):
    bench = Workbench(replace(with_detector, **change))
    hits = bench.retriever().search("a pier")
    path = str(bench.gallery.paths[2])
    message, shown, *_ = RegionHandlers(bench).find_regions(path)
    assert shown is None and hits
    assert "There is no answer" in message and 'role="alert"' in message
    assert reason in message.replace("&#x27;", "'")
    assert "Launch with --regions and --region-threshold" in message


@pytest.mark.parametrize(("change", "reason"), WRONG)
def test_wrong_regions_of_the_model_that_searches_are_told_by_the_page(
    with_detector, change, reason
):
    bench = Workbench(replace(with_detector, model=with_detector.region_model, **change))
    with pytest.raises(ModelLoadError) as caught:
        bench.retriever()
    assert reason in str(caught.value) and "RSCTIR_REGIONS" in str(caught.value)
    assert "Launch with --model" not in str(caught.value)
