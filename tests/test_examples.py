"""The examples run to their end on a few drawn scenes, as they stand."""

import json
import os
import runpy
import shutil
import sys

import nbformat
import pytest
from nbclient import NotebookClient

pytest.importorskip("torch_geometric", reason="region_graph.py needs the extra 'app'")

from rsctir_hf.sample import sample_folder
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("all_checkpoints")]

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "quickstart.ipynb"
SCENES = ("airport_00", "harbor_00", "river_00", "tennis_courts_00", "beach_00", "storage_tanks_00")
MOST_LINES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    lines = (sample_folder() / "metadata.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["file_name"].removesuffix(".jpg") in SCENES]
    (folder / "metadata.jsonl").write_text("\n".join(kept))
    for scene in SCENES:
        shutil.copy(sample_folder() / f"{scene}.jpg", folder)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Run an example from the checkout; return the lines it prints."""

    def example(name, *arguments):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return example


def test_every_example_is_short_and_shows_how_it_is_started():
    files = sorted(EXAMPLES.glob("*.py"))
    assert len(files) == 5
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.count("\n") < MOST_LINES, file.name
        assert f"\n    python examples/{file.name}\n" in text


def test_search_folder_finds_the_harbour_before_and_after_saving(run, folder):
    out = run("search_folder.py", folder, "many boats in a harbor")
    assert out[0] == f"{len(SCENES)} pictures indexed, 0 could not be read"
    assert out[3].endswith("harbor_00.jpg")
    assert "harbor_00.jpg" in out[-1]


def test_picture_and_words_finds_the_picture_itself_first(run, folder):
    out = run("picture_and_words.py", folder, folder / "beach_00.jpg", "beside a river")
    assert out[1] == "like beach_00.jpg"
    assert out[2].endswith("1.000  beach_00.jpg")
    assert len([line for line in out if line.startswith("  ")]) == 12


def test_caption_pictures_writes_a_line_of_json_for_each(run, folder, tmp_path):
    bank = tmp_path / "bank.txt"
    bank.write_text("planes at an airport\nboats in a harbor\ntennis courts\n")
    rows = [json.loads(line) for line in run("caption_pictures.py", folder, bank)]
    assert {row["file_name"] for row in rows} == {f"{scene}.jpg" for scene in SCENES}
    best = {row["file_name"]: row["captions"][0] for row in rows}
    assert best["airport_00.jpg"] == "planes at an airport"


def test_region_graph_lists_what_each_region_adds(run, folder):
    out = run("region_graph.py", folder, "some planes at the airport")
    assert "airport_00.jpg" in out[1]
    assert "regions in the graph" in out[3]
    values = [float(line.split()[0]) for line in out[4:]]
    assert values and values == sorted(values, reverse=True)


def test_compare_reranks_scores_each_of_them(run, folder):
    out = run("compare_reranks.py", folder, "checkpoints/cmpagl-rs")
    assert out[0] == f"{len(SCENES)} pictures of {folder.name}"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out[4:]]
    assert [row[1] for row in cells] == ["none", "smr", "mr"]
    assert all(0 < float(row[3]) <= 100 for row in cells)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_holds_no_outputs(file):
    cells = nbformat.read(file, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code and not [cell for cell in code if cell.outputs or cell.execution_count]


def test_the_quickstart_runs_in_a_kernel_of_this_interpreter():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    asked = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    notebook.cells.append(asked)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(EXAMPLES)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert asked.outputs[0].text.strip() == sys.executable
    first_hits = next(cell for cell in cells if 'rerank="smr"' in cell.source).outputs[0].text
    assert "harbor" in first_hits.splitlines()[0]


def test_the_loop_goes_from_a_folder_to_a_concept_and_a_geoparquet():
    notebook = nbformat.read(EXAMPLES / "analyst_loop.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(EXAMPLES)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    rounds = next(cell for cell in cells if "turn in range(2)" in cell.source).outputs
    said = "".join(each.text for each in rounds if each.get("name") == "stdout")  # in pieces
    found = [line.count("'railway_yard'") for line in said.splitlines()]
    assert found[0] < 3 <= found[1]  # what the words do not find, marks do
    row = cells[-1].outputs[0].text.splitlines()[1]
    assert "'class': 'railway_yard'" in row and "look again in 2025" in row
