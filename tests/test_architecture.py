"""The layers and the house rules, read off the source.

``PLACES`` is the layer table. A new module fails until it is given its place there.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from module_imports import PACKAGE, ROOT, imports_of, own_imports, part_of_file, tree_of

LEAVES = {"models.galr", "models.cmpagl", "models.overhead"}
PURE = {"losses", "metrics", "reranking", "training_args", "protocols", "errors", "imagery"}
PURE |= {
    "entries",
    "captions",
    "weights",
    "model_files",
    "boxes",
    "proposals",
    "average_precision",
    "detector_args",
    "storage",
    "pushing",
    "json_text",
}
ADAPTERS = {"data", "drawn", "gallery", "geo", "regions", "pretrained", "open_clip"}
ENGINES = {"vector_index"}  # below the adapters: the gallery keeps its vectors in one
SERVICES = {"retriever", "evaluation", "detection_evaluation", "export", "scene"}
GROUND = LEAVES | PURE
SERVED = {"gallery", "regions", "metrics", "reranking", "protocols", "errors", "imagery"}
SERVED |= {"vector_index", "entries", "captions", "weights", "boxes", "average_precision"}
SERVED |= {"storage", "drawn", "json_text"}
BELOW_DOORS = GROUND | ENGINES | ADAPTERS | SERVICES
ROOT_NAMES = ""  # what `rsctir_hf/__init__.py` itself defines, such as its version
TRAINING_DOORS = {"trainer", "callbacks", "hub", "card_tables", "initialization", "run_report"}
TRAINING_DOORS |= {
    "averaging_trainer",
    "resumption",
    "training_data",
    "distillation",
    "detector_data",
    "detector_trainer",
}

# the part of the package -> the parts it may import, besides itself
PLACES: dict[str, set[str]] = (
    {part: set() for part in LEAVES | {"models", "allocation", "precision"}}
    | dict.fromkeys(PURE, PURE)
    | dict.fromkeys(ENGINES, GROUND)
    | dict.fromkeys(ADAPTERS, GROUND)
    | {"gallery": GROUND | ENGINES | {"geo"}}
    | dict.fromkeys(SERVICES, SERVED)
    | {"scene": SERVED | {"geo", "retriever"}}
    | {part: BELOW_DOORS | TRAINING_DOORS | {ROOT_NAMES} for part in TRAINING_DOORS}
    | {
        "space": {"errors", "model_files", "pushing", "ui"},
        "cli": BELOW_DOORS | {"hub", "space", "allocation", ROOT_NAMES},
        "ui": BELOW_DOORS | {ROOT_NAMES},
    }
    | {"__main__": {"cli"}, ROOT_NAMES: BELOW_DOORS | TRAINING_DOORS}
)
# tokenizers comes with transformers, whose tokenizers are built from it
LEAF_PACKAGES = {"torch", "torchvision", "timm", "transformers", "tokenizers"}
LEAF_PACKAGES |= set(sys.stdlib_module_names)
HEAVY = ["gradio", "torch_geometric", "rasterio", "faiss"]
HEAVY += ["matplotlib", "datasets", "plotly", "pandas", "pymilvus", "psycopg", "onnxruntime"]
RUNS_WHAT_IT_READS = {"eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load"}
RUNS_WHAT_IT_READS |= {"pickle.load", "pickle.loads", "joblib.load", "dill.load", "dill.loads"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "misc"}
MAX_LINES = 450

FOLDERS = [ROOT / PACKAGE]
FOLDERS += [ROOT / name for name in ("training", "benchmarks", "examples", "docs")]
PACKAGE_FILES = sorted((ROOT / PACKAGE).rglob("*.py"))
SHIPPED_FILES = sorted(file for folder in FOLDERS for file in folder.rglob("*.py"))
SHIPPED_FILES += [ROOT / "app.py"] if (ROOT / "app.py").exists() else []
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))


def name_of(file):
    return file.relative_to(ROOT).as_posix()


def functions_of(tree):
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def is_main_block(node):
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def calls_of(tree, name):
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == name]


every_package_file = pytest.mark.parametrize("file", PACKAGE_FILES, ids=name_of)
every_shipped_file = pytest.mark.parametrize("file", SHIPPED_FILES, ids=name_of)
every_file = pytest.mark.parametrize("file", SHIPPED_FILES + TEST_FILES, ids=name_of)
every_leaf_file = pytest.mark.parametrize(
    "file", [file for file in PACKAGE_FILES if part_of_file(file) in LEAVES], ids=name_of
)


@every_package_file
def test_imports_point_down(file):
    part = part_of_file(file)
    assert part in PLACES, f"give {part!r} its place in PLACES"
    refused = own_imports(file) - PLACES[part] - {part}
    assert not refused, f"{part or PACKAGE} may not import {sorted(refused)}"


def test_app_imports_only_the_ui_and_how_memory_and_errors_are_handed_out():
    app = ROOT / "app.py"
    if not app.exists():
        pytest.skip("app.py is not there yet")
    assert own_imports(app) <= {"ui", "allocation", "errors"}


@every_leaf_file
def test_leaves_import_only_their_siblings_and_the_four(file):
    for dots, module in imports_of(tree_of(file)):
        assert dots <= 1, "a leaf reaches no further than its own folder"
        if dots:
            assert "." not in module, "leaf folders are flat"
        else:
            assert module.split(".")[0] in LEAF_PACKAGES, f"a leaf may not import {module}"


@every_leaf_file
def test_leaves_do_not_try_their_imports(file):
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Try):
            assert not any(isinstance(n, ast.Import | ast.ImportFrom) for n in node.body)


def test_leaf_folders_are_flat():
    for leaf in LEAVES:
        folder = ROOT / PACKAGE / Path(*leaf.split("."))
        assert not [sub for sub in folder.glob("*/") if sub.name != "__pycache__"]


@every_shipped_file
def test_relative_imports_stay_inside_model_folders(file):
    in_leaf = file.is_relative_to(ROOT / PACKAGE) and part_of_file(file) in LEAVES
    assert in_leaf or not any(dots for dots, _ in imports_of(tree_of(file)))


@every_shipped_file
def test_only_the_files_about_rasters_import_rasterio(file):
    if any(module.split(".")[0] == "rasterio" for _, module in imports_of(tree_of(file))):
        assert file.parent == ROOT / PACKAGE / "geo"


@every_shipped_file
def test_no_function_imports(file):
    for function in functions_of(tree_of(file)):
        lazy = file == ROOT / PACKAGE / "__init__.py" and function.name == "__getattr__"
        inside = [n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert lazy or not inside, f"{function.name} imports in line {inside[0].lineno}"


@every_file
def test_names_say_something(file):
    assert file.stem not in VAGUE_NAMES


@every_file
def test_files_have_a_docstring_and_stay_short(file):
    source = file.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "say in the first line what the file is"
    assert source.count("\n") <= MAX_LINES


@every_file
def test_nothing_is_star_imported(file):
    nodes = [node for node in ast.walk(tree_of(file)) if isinstance(node, ast.ImportFrom)]
    assert not any(alias.name == "*" for node in nodes for alias in node.names)


@every_package_file
def test_only_the_cli_and_build_scripts_print(file):
    tree = tree_of(file)
    is_script = file.name == "__main__.py" or any(is_main_block(node) for node in tree.body)
    if part_of_file(file) != "cli" and not is_script:
        assert not [call.lineno for call in calls_of(tree, "print")]


@every_shipped_file
def test_no_assert_and_no_bare_except(file):
    for node in ast.walk(tree_of(file)):
        assert not isinstance(node, ast.Assert), f"raise in line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"name the exception in line {node.lineno}"


@every_shipped_file
def test_nothing_runs_what_it_reads(file):
    """No pickle is opened, no shell is asked, and nobody but the user trusts remote code."""
    for call in (node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)):
        written = ast.unparse(call)
        assert ast.unparse(call.func) not in RUNS_WHAT_IT_READS, written
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert ast.unparse(call.func) != "torch.load" or given.get("weights_only") == "True", (
            written
        )
        assert given.get("allow_pickle", "False") == given.get("shell", "False") == "False", written
        trusted = given.get("trust_remote_code", "False")
        assert trusted.rsplit(".")[-1] in ("False", "trust", "trust_remote_code"), written


@every_shipped_file
def test_nobody_asks_for_a_model_class_outside_the_models(file):
    if file.is_relative_to(ROOT / PACKAGE / "models"):
        return
    for call in calls_of(tree_of(file), "isinstance"):
        asked = ast.unparse(call.args[1])
        assert not re.search(r"\b(GaLR|CMPAGL)\w*Model\b", asked), f"line {call.lineno}: {asked}"


@every_file
def test_no_file_names_a_path_of_a_developers_machine(file):
    slash = "/"
    for folder in ("work", "home", "Users"):
        assert f"{slash}{folder}{slash}" not in file.read_text(encoding="utf-8")


def test_importing_the_package_stays_light():
    code = f"import sys, {PACKAGE}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_retriever_loads_without_pyg():
    code = f"import sys, {PACKAGE}.retriever; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch_geometric" not in done.stdout.split()
