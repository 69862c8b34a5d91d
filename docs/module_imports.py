"""Which room of the package imports which, read off the source without running it.

A room is a folder of ``rsctir_hf``, a module of its root, or a folder of ``rsctir_hf/models``.

    python docs/module_imports.py      # every room with what it imports, and how many there are
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "rsctir_hf"
LEAVES = ("models.galr", "models.cmpagl", "models.overhead")
#: The plan of the house. A room imports any floor below its own and, on its own, only rooms to its
#: right; leaves import nothing of ours.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli", "ui"),
    (
        *("detection", "training", "hub", "export", "audit"),
        *("collection", "scene", "evaluation", "search", "labels"),
    ),
    ("embedding", "vector_index", "data", "regions", "geo"),
    ("sample", "loading", "files"),
    ("losses", "reranking", "metrics", "allocation", "time_left", "errors"),
    ("models", *LEAVES),
)


def tree_of(file: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def room_of(module: str) -> str:
    """Return the room that a dotted name below the package belongs to; "" is its ``__init__``."""
    names = [name for name in module.split(".") if name != "__init__"]
    return ".".join(names[:2]) if names[:1] == ["models"] else "".join(names[:1])


def room_of_file(file: Path) -> str:
    """Return the room that a file of the package belongs to."""
    return room_of(".".join(file.relative_to(ROOT / PACKAGE).with_suffix("").parts))


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
    """Return the rooms of the package that a file imports, by absolute name."""
    modules = [module for dots, module in imports_of(tree_of(file)) if not dots]
    own = [module for module in modules if module.split(".")[0] == PACKAGE]
    return {room_of(module.removeprefix(PACKAGE).lstrip(".")) for module in own}


def allowed_imports(room: str) -> set[str]:
    """Return the rooms that one may import, by ``FLOORS``."""
    if room in LEAVES:
        return set()
    order = [each for floor in FLOORS for each in floor]
    return set(order[order.index(room) + 1 :])


def room_imports() -> dict[str, set[str]]:
    """Return every room with the other rooms that its files import."""
    found: dict[str, set[str]] = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        if room := room_of_file(file):  # the root's __init__ only hands names on
            found.setdefault(room, set()).update(own_imports(file) - {room, ""})
    return found


def main() -> None:
    """Print rooms and arrows."""
    found = room_imports()
    for room, imported in sorted(found.items()):
        print(f"{room:16}-> {', '.join(sorted(imported)) or 'nothing'}")
    print(f"{len(found)} rooms, {sum(map(len, found.values()))} arrows")


if __name__ == "__main__":
    main()
