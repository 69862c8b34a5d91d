"""Model folders import nothing of ours, so what two of them need stands in each, and stays equal.

A ``# Copied from rsctir_hf.models.FAMILY.file.name`` above the second says where the first stands,
``# Copied from rsctir_hf.files.file`` at its head that a whole file is one of the ground floor.
"""

import ast
import re
from itertools import combinations
from pathlib import Path

import pytest

import rsctir_hf

MODELS = Path(rsctir_hf.__file__).parent / "models"
GROUND = MODELS.parent / "files"
MARK = re.compile(r"^ *# Copied from rsctir_hf\.models\.(\w+)\.(\w+)\.([\w.]+)$")
WHOLE = re.compile(r"# Copied from rsctir_hf\.files\.(\w+)\n")
SHORT = 150  # characters; a shorter body may be the same by chance
DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


def named(tree, prefix=""):
    """Yield dotted name and node of every definition in a module and its classes."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            yield prefix + (getattr(node, "name", None) or ast.unparse(targets[0])), node
        if isinstance(node, ast.ClassDef):
            yield from named(node, f"{prefix}{node.name}.")


def definitions(file):
    return dict(named(ast.parse(file.read_text(encoding="utf-8"))))


def first_line(node):
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])


def copies():
    """Return (file, node, where it was copied from) of each marked definition."""
    found = []
    for file in sorted(MODELS.rglob("*.py")):
        lines = file.read_text(encoding="utf-8").split("\n")
        marks = {number: MARK.match(line) for number, line in enumerate(lines, start=1)}
        for number in (number for number, mark in marks.items() if mark):
            below = [node for node in definitions(file).values() if first_line(node) > number]
            found.append((file, min(below, key=first_line), marks[number].groups()))
    return found


def whole_copies():
    """Return (file, the ground floor's that it is a copy of)."""
    heads = {file: WHOLE.match(file.read_text(encoding="utf-8")) for file in MODELS.rglob("*.py")}
    return [(file, GROUND / f"{head[1]}.py") for file, head in sorted(heads.items()) if head]


def test_every_mark_is_understood():
    marked = sum("# Copied from" in line for f in MODELS.rglob("*.py") for line in f.open())
    assert len(copies()) + len(whole_copies()) == marked > 0


@pytest.mark.parametrize(("file", "origin"), whole_copies(), ids=lambda part: part.name)
def test_a_copied_file_is_equal_to_what_it_was_copied_from(file, origin):
    text = origin.read_text(encoding="utf-8")
    assert file.read_text(encoding="utf-8").partition("\n")[2] == text, "copy it again"


@pytest.mark.parametrize(("file", "node", "origin"), copies(), ids=lambda part: str(part)[-40:])
def test_a_copy_is_equal_to_what_it_was_copied_from(file, node, origin):
    family, module, name = origin
    assert family != file.parent.name
    original = definitions(MODELS / family / f"{module}.py")[name]
    assert ast.dump(node) == ast.dump(original), f"{file.name}, line {node.lineno}, is not {name}"


def test_no_twin_goes_without_a_mark():
    marked = {ast.dump(node) for _, node, _ in copies()}
    marked |= {ast.dump(n) for file, _ in whole_copies() for n in definitions(file).values()}
    families = {
        folder.name: {
            ast.dump(node): name
            for file in folder.glob("*.py")
            for name, node in definitions(file).items()
            if len(ast.unparse(node)) > SHORT
        }
        for folder in MODELS.iterdir()
    }
    twins = [
        families[left][dump]
        for left, right in combinations(sorted(families), 2)
        for dump in families[left].keys() & families[right].keys() - marked
    ]
    assert twins == []
