"""The floors of the house and its rules, read off the source.

``docs/module_imports.py`` holds the plan, ``FLOORS``; a new room fails until it has a place there.
Each test names every offender at once.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import networkx as nx
import pytest
from module_imports import (
    FLOORS,
    LEAVES,
    PACKAGE,
    ROOT,
    allowed_imports,
    imports_of,
    own_imports,
    room_imports,
    room_of_file,
)
from module_imports import tree_of as parse

MOST_IN_ROOT = 10
MOST_LINES_OF_A_FILE = 450
MOST_LINES_OF_THE_PACKAGE = 48_050  # 32,800 before own captions, loop and related systems
# tokenizers comes with transformers, NumPy and Pillow with torchvision
LEAF_PACKAGES = {"torch", "torchvision", "timm", "transformers", "tokenizers"}
LEAF_PACKAGES |= {"numpy", "PIL"}
LEAF_PACKAGES |= set(sys.stdlib_module_names)
HEAVY = ["gradio", "torch_geometric", "rasterio", "faiss"]
HEAVY += ["matplotlib", "datasets", "plotly", "pandas", "pymilvus", "psycopg", "onnxruntime"]
RUNS_WHAT_IT_READS = {"eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load"}
RUNS_WHAT_IT_READS |= {"pickle.load", "pickle.loads", "joblib.load", "dill.load", "dill.loads"}
#: The console script loads a command's code when it is called, so that help comes without torch.
#: The others hand on names (PEP 562), or need what an extra brings or a table names.
IMPORT_WHEN_CALLED = {
    "rsctir_cli/main.py load",
    "rsctir_hf/__init__.py __getattr__",
    "rsctir_hf/regions/__init__.py __getattr__",
    "rsctir_hf/regions/graph.py _package",
    "rsctir_hf/vector_index/opening.py _imported",
    "rsctir_hf/files/gdal_pictures.py require_rasterio",
    "rsctir_hf/loading/adapters.py merge_adapter",
    "rsctir_hf/training/retrieval_trainer.py adapter_for",
    "rsctir_hf/export.py _export",
    "rsctir_hf/export.py _stable_sort",
    "benchmarks/proposal_recall.py selective_boxes",
    "benchmarks/vector_search.py started_postgres",
}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "misc"}

PACKAGE_FILES = sorted((ROOT / PACKAGE).rglob("*.py"))
BESIDE_THE_PACKAGE = ("rsctir_cli", "drawn_scenes", "training", "benchmarks", "examples", "docs")
SHIPPED_FILES = [*PACKAGE_FILES, ROOT / "app.py"]
SHIPPED_FILES += sorted(f for name in BESIDE_THE_PACKAGE for f in (ROOT / name).rglob("*.py"))
ALL_FILES = SHIPPED_FILES + sorted((ROOT / "tests").rglob("*.py"))
LEAF_FILES = [file for file in PACKAGE_FILES if room_of_file(file) in LEAVES]

tree_of = cache(parse)


def at(file, node=None):
    """Name a place in a file."""
    return file.relative_to(ROOT).as_posix() + (f":{node.lineno}" if node else "")


def nodes_of(files, *kinds):
    """Yield (file, node) for every node of some kinds."""
    for file in files:
        yield from ((file, node) for node in ast.walk(tree_of(file)) if isinstance(node, kinds))


def calls_of(files, name):
    for file, call in nodes_of(files, ast.Call):
        if isinstance(call.func, ast.Name) and call.func.id == name:
            yield file, call


def has_main_block(file):
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        for node in tree_of(file).body
    )


def in_leaf(file):
    return file.is_relative_to(ROOT / PACKAGE) and room_of_file(file) in LEAVES


def test_every_room_has_its_place_in_the_plan():
    assert set(room_imports()) == {room for floor in FLOORS for room in floor}


def test_imports_point_down():
    refused = {
        room: sorted(imported - allowed_imports(room)) for room, imported in room_imports().items()
    }
    assert not {room: up for room, up in refused.items() if up}


def test_the_page_is_laid_out_from_tabs_of_views_of_what_the_server_holds():
    order = ["server", "views", "tabs"]  # what stands directly in ui is above all three
    climbs = []
    for file in sorted((ROOT / PACKAGE / "ui").rglob("*.py")):
        folder = file.parent.name
        below = order[: order.index(folder) + 1] if folder in order else order
        for _, module in imports_of(tree_of(file)):
            names = module.split(".")
            if names[:2] == [PACKAGE, "ui"] and folder != "ui" and names[2] not in below:
                climbs.append((at(file), module))
    assert not climbs


def test_no_folder_imports_in_a_circle():
    modules = nx.DiGraph()
    for file in PACKAGE_FILES:
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for dots, imported in imports_of(tree_of(file)):
            module = f"{name.rpartition('.')[0]}.{imported}" if dots else imported
            modules.add_edge(name, module)
    modules.remove_nodes_from([n for n in list(modules) if n.split(".")[0] != PACKAGE])
    modules.remove_edges_from(list(nx.selfloop_edges(modules)))
    assert not list(nx.simple_cycles(modules))


def test_the_page_on_architecture_has_every_room_on_its_floor():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[1] for line in page.splitlines() if re.match(r"\| \w+ \| `", line)]
    assert [tuple(re.findall(r"`([\w.]+)`", row)) for row in rows] == [
        (*FLOORS[0], *FLOORS[1]),
        *FLOORS[2:-1],
        FLOORS[-1][1:],  # the folder that the three lie in
    ]


def test_the_root_is_small_and_so_is_the_package():
    assert len(list((ROOT / PACKAGE).glob("*.py"))) <= MOST_IN_ROOT
    lines = sum(file.read_text(encoding="utf-8").count("\n") for file in PACKAGE_FILES)
    assert lines <= MOST_LINES_OF_THE_PACKAGE


def test_no_module_name_stands_twice():
    # A leaf's processor is the family's own; `cli` and `ui` name a door after the room behind it.
    stems = Counter(
        file.stem
        for file in PACKAGE_FILES
        if file.stem != "__init__" and room_of_file(file) not in ("cli", *LEAVES)
    )
    assert not [stem for stem, count in stems.items() if count > 1]


def test_app_imports_only_the_ui_and_how_memory_and_errors_are_handed_out():
    assert own_imports(ROOT / "app.py") <= {"ui", "allocation", "errors"}


def test_nothing_in_the_package_imports_the_drawing_program():
    assert not [
        at(file)
        for file in PACKAGE_FILES
        if any(module.split(".")[0] == "drawn_scenes" for _, module in imports_of(tree_of(file)))
    ]


def test_what_a_command_takes_is_said_without_the_package():
    told = [ROOT / "rsctir_cli" / name for name in ("commands.py", "analyst.py", "options.py")]
    modules = [module for file in told for _, module in imports_of(tree_of(file))]
    own = {"typer", "rsctir_cli", *sys.stdlib_module_names}
    assert {module.split(".")[0] for module in modules} <= own


def test_leaves_import_only_their_siblings_and_the_four():
    refused = [
        (at(file), module)
        for file in LEAF_FILES
        for dots, module in imports_of(tree_of(file))
        if dots > 1
        or (dots and "." in module)  # leaf folders are flat
        or (not dots and module.split(".")[0] not in LEAF_PACKAGES)
    ]
    assert not refused


def test_leaves_do_not_try_their_imports():
    assert not [
        at(file, node)
        for file, node in nodes_of(LEAF_FILES, ast.Try)
        if any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body)
    ]


def test_leaf_folders_are_flat():
    folders = [ROOT / PACKAGE / Path(*leaf.split(".")) for leaf in LEAVES]
    inside = [sub for folder in folders for sub in folder.glob("*/")]
    assert not [sub for sub in inside if sub.name != "__pycache__"]


def test_relative_imports_stay_inside_model_folders():
    assert not [
        at(file)
        for file in SHIPPED_FILES
        if not in_leaf(file) and any(dots for dots, _ in imports_of(tree_of(file)))
    ]


def test_only_the_files_about_rasters_import_rasterio():
    assert not [
        at(file)
        for file in SHIPPED_FILES
        if file.parent != ROOT / PACKAGE / "geo"
        and any(module.split(".")[0] == "rasterio" for _, module in imports_of(tree_of(file)))
    ]


def test_no_function_imports():
    assert not [
        f"{at(file, inner)} {function.name}"
        for file, function in nodes_of(SHIPPED_FILES, ast.FunctionDef, ast.AsyncFunctionDef)
        if f"{at(file)} {function.name}" not in IMPORT_WHEN_CALLED
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
        or (isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith("import_module"))
    ]


def test_names_say_something():
    assert not [at(file) for file in ALL_FILES if file.stem in VAGUE_NAMES]


def test_files_have_a_docstring_and_stay_short():
    assert not [at(file) for file in ALL_FILES if not ast.get_docstring(tree_of(file))]
    lengths = {at(file): file.read_text(encoding="utf-8").count("\n") for file in ALL_FILES}
    assert not {name: count for name, count in lengths.items() if count > MOST_LINES_OF_A_FILE}


def test_nothing_is_star_imported():
    assert not [
        at(file, node)
        for file, node in nodes_of(ALL_FILES, ast.ImportFrom)
        if any(alias.name == "*" for alias in node.names)
    ]


def test_only_the_cli_and_scripts_print():
    assert not [
        at(file, call)
        for file, call in calls_of(PACKAGE_FILES, "print")
        if room_of_file(file) not in ("cli", "__main__") and not has_main_block(file)
    ]


def test_no_assert_and_no_bare_except():
    assert not [at(file, node) for file, node in nodes_of(SHIPPED_FILES, ast.Assert)]
    handlers = nodes_of(SHIPPED_FILES, ast.ExceptHandler)
    assert not [at(file, node) for file, node in handlers if node.type is None]


def test_nothing_runs_what_it_reads():
    """No pickle is opened, no shell is asked, and nobody but the user trusts remote code."""
    refused = []
    for file, call in nodes_of(SHIPPED_FILES, ast.Call):
        name = ast.unparse(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        trusted = given.get("trust_remote_code", "False").rsplit(".")[-1]
        if (
            name in RUNS_WHAT_IT_READS
            or (name == "torch.load" and given.get("weights_only") != "True")
            or given.get("allow_pickle", "False") != "False"
            or given.get("shell", "False") != "False"
            or trusted not in ("False", "trust", "trust_remote_code")
        ):
            refused.append((at(file, call), ast.unparse(call)))
    assert not refused


def test_nobody_asks_for_a_model_class_outside_the_models():
    assert not [
        at(file, call)
        for file, call in calls_of(SHIPPED_FILES, "isinstance")
        if not file.is_relative_to(ROOT / PACKAGE / "models")
        and re.search(r"\b(GaLR|CMPAGL)\w*Model\b", ast.unparse(call.args[1]))
    ]


def test_no_file_names_a_path_of_a_developers_machine():
    homes = [f"/{folder}/" for folder in ("work", "home", "Users")]
    texts = {at(file): file.read_text(encoding="utf-8") for file in ALL_FILES}
    assert not [name for name, text in texts.items() if any(home in text for home in homes)]


def loaded_by(module, heavy):
    """Import a module in a fresh process and return which of the heavy ones came along."""
    code = f"import sys, {module}; print(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_importing_the_package_stays_light():
    assert loaded_by(PACKAGE, HEAVY) == []


@pytest.mark.slow
def test_a_search_loads_without_pyg_rasters_and_the_drawing_program():
    heavy = ["torch_geometric", "rasterio", "drawn_scenes", "gradio", "matplotlib"]
    assert loaded_by(f"{PACKAGE}.cli.search", heavy) == []
