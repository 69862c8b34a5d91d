"""The drawing in docs/ shows the imports there are."""

import draw_architecture
import networkx as nx
import pytest
from draw_architecture import GROUND, GROUPS, SVG, drawing, group_of, imports_between_groups

from .test_architecture import PLACES, ROOT_NAMES


def test_the_drawing_is_the_one_that_the_imports_make():
    assert SVG.read_text() == drawing(), "run python docs/draw_architecture.py"


def test_every_part_of_the_layer_table_lies_in_one_box():
    parts = [part for group in GROUPS.values() for part in group]
    assert sorted(parts) == sorted({*PLACES, "app.py", "training"} - {ROOT_NAMES})
    with pytest.raises(LookupError, match="Give 'new' a place in GROUPS"):
        group_of("new")


def test_boxes_import_no_circle_and_the_ground_imports_none():
    graph = imports_between_groups()
    assert nx.is_directed_acyclic_graph(graph)
    assert not graph.out_degree(GROUND)
    assert graph.has_edge("search", "galleries")
    assert not graph.has_edge("galleries", "search")


def test_another_import_changes_the_drawing(monkeypatch):
    own_imports = draw_architecture.own_imports
    monkeypatch.setattr(
        draw_architecture,
        "own_imports",
        lambda file: own_imports(file) | ({"hub"} if file.name == "app.py" else set()),
    )
    assert SVG.read_text() != drawing()
