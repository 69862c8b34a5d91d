"""Draw ``architecture.svg``: what the package consists of, and which imports there really are.

    python docs/draw_architecture.py

A box is a room of the package, or what starts it. An arrow says that a file of the upper box
imports one of the lower; those that follow from others are left out, and those to the ground, on
which everything stands. Rows come from the imports: a box lies above all that it imports.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import networkx as nx
from module_imports import LEAVES, PACKAGE, ROOT, own_imports, room_of_file

SVG = Path(__file__).with_name("architecture.svg")
GROUND = "ground"
#: What every room may stand on, drawn as one.
ON_THE_GROUND = ("loading", "files", "sample", "allocation", "time_left", "errors")
MODELS = "models"
_WIDTH, _MARGIN, _BOX, _BEND, _ROW = 1240, 24, 178, 14, 70
_LINE, _TITLE = 15, 24  # pixels
_LETTERS = 27  # of the small print in one line of a box
_INK, _SOFT, _ARROW, _FILL, _EDGE = "#10222b", "#4d6068", "#7f979c", "#f4f8f7", "#b9cbc8"
#: What holds no architecture: the package's own name, and what starts it.
_LEFT_OUT = {""}


def main() -> None:
    """Write the drawing."""
    SVG.write_text(drawing(), encoding="utf-8")


def box_of(room: str) -> str:
    """Return the title of the box that a room lies in."""
    if room in ON_THE_GROUND:
        return GROUND
    return MODELS if room in LEAVES else room


@cache
def contents() -> dict[str, list[str]]:
    """Return what each box holds: its modules, folders of it, or the rooms of the ground."""
    inside: dict[str, list[str]] = {GROUND: list(ON_THE_GROUND)}
    for room, file in files():
        box = box_of(room)
        if box == GROUND:
            continue
        names = inside.setdefault(box, [])
        folder = ROOT / PACKAGE / box
        if not file.is_relative_to(folder):  # a module is its own box
            continue
        first, *deeper = file.relative_to(folder).parts
        name = f"{first}/" if deeper else file.stem
        if name not in (*names, "__init__"):
            names.append(name)
    return inside


def imports_between_boxes() -> nx.DiGraph:
    """Return the boxes and every import between two of them."""
    graph = nx.DiGraph()
    for room, file in files():
        wanted = own_imports(file) - _LEFT_OUT
        graph.add_node(box_of(room))
        graph.add_edges_from((box_of(room), box_of(each)) for each in wanted)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    return graph


def files() -> Iterator[tuple[str, Path]]:
    """Yield every file of the package and what starts it, with the room it belongs to."""
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        if (room := room_of_file(file)) not in _LEFT_OUT:
            yield room, file
    yield "app.py", ROOT / "app.py"
    for file in sorted((ROOT / "training").glob("*.py")):
        yield f"training/{file.name}", file


def rows_of(graph: nx.DiGraph) -> list[list[str]]:
    """Sort boxes into rows, the lowest first, each ordered to lie above what it imports.

    ``graph`` gets a bend, a node named after its edge, in each row that an edge passes, so that it
    passes between the boxes there.
    """
    rows = [sorted(row) for row in nx.topological_generations(graph.reverse())]
    level = {title: place for place, row in enumerate(rows) for title in row}
    for upper, lower in sorted(graph.edges):
        bends = [f"{upper}>{lower}>{row}" for row in range(level[upper] - 1, level[lower], -1)]
        if bends:
            graph.remove_edge(upper, lower)
            nx.add_path(graph, [upper, *bends, lower])
        for bend in bends:
            rows[int(bend.rpartition(">")[2])].append(bend)
    middle = {title: x for row in rows for title, x in _middles(row).items()}
    for _ in range(40):  # alternately by what lies below and above; it settles after a few
        for near, order in ((graph.successors, rows), (graph.predecessors, rows[::-1])):
            for row in order:
                wish = {title: _mean([middle[each] for each in near(title)]) for title in row}
                row.sort(key=lambda title: (wish[title] or middle[title], title))
                middle |= _middles(row)
    return rows


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _middles(row: list[str]) -> dict[str, float]:
    """Return the middle of each box and bend of a row in pixels; together they fill the width."""
    widths = [_BOX if not _is_bend(title) else _BEND for title in row]
    room = (_WIDTH - 2 * _MARGIN - sum(widths)) / len(row)
    left, middles = float(_MARGIN), {}
    for title, width in zip(row, widths, strict=True):
        middles[title] = left + (room + width) / 2
        left += room + width
    return middles


def drawing() -> str:
    """Return the picture as SVG."""
    graph = imports_between_boxes()
    graph.remove_node(GROUND)
    graph = nx.transitive_reduction(graph)
    rows = rows_of(graph)
    boxes: dict[str, tuple[float, float, float]] = {}  # middle, top, bottom
    top = float(_MARGIN)
    for row in reversed(rows):
        height = max(_height(title) for title in row if not _is_bend(title))
        for title, middle in _middles(row).items():
            own = height if _is_bend(title) else _height(title)
            boxes[title] = (middle, top, top + own)
        top += height + _ROW
    top -= _ROW - 34
    parts = [_ground(top)]
    parts += [_line(boxes, *edge) for edge in sorted(graph.edges)]
    parts += [_box(title, *boxes[title][:2]) for title in sorted(boxes) if not _is_bend(title)]
    height = top + 62 + _MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        f'font-family="ui-sans-serif, system-ui, DejaVu Sans, sans-serif" role="img" '
        'aria-label="The parts of the package and their imports">',
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="{_ARROW}"/></marker>',
        f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _is_bend(title: str) -> bool:
    return ">" in title


def _names(title: str, letters: int = _LETTERS) -> list[str]:
    """Return what is in a box as lines of small print."""
    lines: list[str] = []
    for name in contents().get(title, ()):
        if lines and len(lines[-1]) + len(name) + 2 <= letters:
            lines[-1] += f", {name}"
        else:
            lines.append(name)
    return lines


def _height(title: str) -> float:
    return _TITLE + 12 + _LINE * len(_names(title))


def _box(title: str, middle: float, top: float) -> str:
    left = middle - _BOX / 2
    rows = "".join(
        f'<tspan x="{left + 10:.1f}" dy="{_LINE}">{escape(line)}</tspan>' for line in _names(title)
    )
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{_BOX}" height="{_height(title):.1f}" rx="7" '
        f'fill="{_FILL}" stroke="{_EDGE}"/>'
        f'<text x="{left + 10:.1f}" y="{top + 20:.1f}" font-size="13.5" font-weight="600" '
        f'fill="{_INK}">{escape(title)}</text>'
        f'<text x="{left + 10:.1f}" y="{top + 22:.1f}" font-size="11" fill="{_SOFT}">{rows}</text>'
    )


def _ground(top: float) -> str:
    names = ", ".join(ON_THE_GROUND)
    return (
        f'<rect x="{_MARGIN}" y="{top:.1f}" width="{_WIDTH - 2 * _MARGIN}" height="62" rx="7" '
        f'fill="#e7efed" stroke="{_EDGE}"/>'
        f'<text x="{_MARGIN + 14}" y="{top + 26:.1f}" font-size="13.5" font-weight="600" '
        f'fill="{_INK}">{GROUND}: every box may import it, and it imports none</text>'
        f'<text x="{_MARGIN + 14}" y="{top + 46:.1f}" font-size="11" fill="{_SOFT}">{names}</text>'
    )


def _line(boxes: Mapping[str, tuple[float, float, float]], upper: str, lower: str) -> str:
    """Draw an edge to a box, with a tip, or to a bend and down along it."""
    x1, _, y1 = boxes[upper]
    x2, y2, end = boxes[lower]
    half = (y2 - y1) / 2
    rest = 'marker-end="url(#tip)"' if not _is_bend(lower) else ""
    down = "" if not _is_bend(lower) else f" V{end:.1f}"
    return (
        f'<path d="M{x1:.1f} {y1:.1f} C{x1:.1f} {y1 + half:.1f} {x2:.1f} {y2 - half:.1f} '
        f'{x2:.1f} {y2:.1f}{down}" fill="none" stroke="{_ARROW}" stroke-width="1.4" {rest}/>'
    )


if __name__ == "__main__":
    main()
