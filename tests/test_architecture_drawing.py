"""The drawing in docs/ shows the imports there are."""

import draw_architecture
import networkx as nx
from draw_architecture import GROUND, ON_THE_GROUND, SVG, contents, drawing, imports_between_boxes
from module_imports import FLOORS, LEAVES


def test_the_drawing_is_the_one_that_the_imports_make():
    assert SVG.read_text() == drawing(), "run python docs/draw_architecture.py"


def test_every_room_of_the_plan_lies_in_one_box():
    rooms = {room for floor in FLOORS for room in floor}
    assert rooms - {*ON_THE_GROUND, *LEAVES} <= set(contents())
    assert set(contents()[GROUND]) <= rooms


def test_boxes_import_no_circle_and_the_ground_imports_none():
    graph = imports_between_boxes()
    assert nx.is_directed_acyclic_graph(graph)
    assert not graph.out_degree(GROUND)
    assert graph.has_edge("search", "embedding")
    assert not graph.has_edge("embedding", "search")


def test_another_import_changes_the_drawing(monkeypatch):
    own_imports = draw_architecture.own_imports
    monkeypatch.setattr(
        draw_architecture,
        "own_imports",
        lambda file: own_imports(file) | ({"training"} if file.name == "app.py" else set()),
    )
    assert SVG.read_text() != drawing()
