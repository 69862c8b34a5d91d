"""Which part of the package imports which, read off the source without running it.

A part is a module or folder of ``rsctir_hf``, and each folder of ``rsctir_hf/models``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "rsctir_hf"


def tree_of(file: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def part_of(module: str) -> str:
    """Return the part that a dotted name below the package belongs to; "" is its ``__init__``."""
    names = [name for name in module.split(".") if name != "__init__"]
    return ".".join(names[:2]) if names[:1] == ["models"] else "".join(names[:1])


def part_of_file(file: Path) -> str:
    """Return the part that a file of the package belongs to."""
    return part_of(".".join(file.relative_to(ROOT / PACKAGE).with_suffix("").parts))


def module_or_package(name: str) -> str:
    """Read `from rsctir_hf import name`: a module of that name, or a name of the package's own."""
    inside = ROOT / PACKAGE / name
    return f"{PACKAGE}.{name}" if inside.is_dir() or inside.with_suffix(".py").exists() else PACKAGE


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (dots, dotted module) of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE and not node.level:
            yield from ((0, module_or_package(alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def own_imports(file: Path) -> set[str]:
    """Return the parts of the package that a file imports, by absolute name."""
    modules = [module for dots, module in imports_of(tree_of(file)) if not dots]
    own = [module for module in modules if module.split(".")[0] == PACKAGE]
    return {part_of(module.removeprefix(PACKAGE).lstrip(".")) for module in own}
