"""Draw ``methods/NAME.svg``: one small figure for each related system of ``methods.md``.

    python docs/draw_methods.py

A figure is boxes on a grid and arrows between them. Dashed is what a training alone has:
the finished model is without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).with_name("methods")
WIDE, GAP, HIGH, ROW, MARGIN = 196, 44, 46, 62, 14  # pixels: a box, the grid, the edge
LETTERS = (24, 28)  # of the first line in a box, and of the second
_FIRST, _LINE = 20, 16  # pixels: the first line below a box's top, the next below that
_SIGMA, _GAMMA = "\N{GREEK SMALL LETTER SIGMA}", "\N{GREEK SMALL LETTER GAMMA}"
_INK, _SOFT, _ARROW = "#10222b", "#4d6068", "#5f7f86"
#: By kind: fill and edge.
_COLOURS = {
    "picture": ("#e3f1ee", "#0f766e"),
    "words": ("#fdf1dc", "#b7791f"),
    "both": ("#f4f8f7", "#8aa3a8"),
    "loss": ("#ffffff", "#8aa3a8"),
}


@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        column: of the grid, from the left.
        row: of the grid, from the top; halves lie between rows.
        title: its first line.
        line: its second one; may be empty.
        kind: ``picture``, ``words``, ``both``, or ``loss``, which is drawn dashed.
    """

    column: int
    row: float
    title: str
    line: str = ""
    kind: str = "both"

    @property
    def left(self) -> float:
        """Its left side in pixels."""
        return MARGIN + self.column * (WIDE + GAP)

    @property
    def top(self) -> float:
        """Its upper side in pixels."""
        return MARGIN + self.row * ROW


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        says: what it shows, for those who cannot see it.
        boxes: by name.
        arrows: from a box to one further right, or to one in the same column.
    """

    says: str
    boxes: Mapping[str, Box]
    arrows: Sequence[tuple[str, str]]


FIGURES = {
    "amfmn": Figure(
        "AMFMN: the picture's vector gates the sentence's, and is compared with the result",
        {
            "picture": Box(0, 0, "picture", kind="picture"),
            "sentence": Box(0, 1, "sentence", kind="words"),
            "v": Box(1, 0, "vector v", "what the index keeps", "picture"),
            "t": Box(1, 1, "vector t", kind="words"),
            "F": Box(2, 1, "F(v, t)", f"soft: {_SIGMA}(Wv) ⊙ t"),
            "score": Box(3, 0.5, "score", "cos(v, F(v, t))"),
        },
        [
            ("picture", "v"),
            ("sentence", "t"),
            ("v", "F"),
            ("t", "F"),
            ("v", "score"),
            ("F", "score"),
        ],
    ),
    "msa": Figure(
        "MSA: in training each stage of the image tower asks the words; a search compares vectors",
        {
            "picture": Box(0, 0, "picture", kind="picture"),
            "sentence": Box(0, 2, "sentence", kind="words"),
            "stages": Box(1, 0, "stages 1 to 4", "of the image tower, pooled", "picture"),
            "words": Box(1, 2, "words", "states of the text tower", "words"),
            "v": Box(2, 0, "vector", kind="picture"),
            "asks": Box(2, 1, "stages ask the words", "how well do both match?", "loss"),
            "t": Box(2, 2, "vector", kind="words"),
            "cosine": Box(3, 0, "cosine", "all that a search needs"),
            "losses": Box(3, 1, "cross, consistency", "right pair; stages agree", "loss"),
        },
        [
            *(("picture", "stages"), ("sentence", "words"), ("stages", "v"), ("words", "t")),
            *(("stages", "asks"), ("words", "asks"), ("asks", "losses")),
            *(("v", "cosine"), ("t", "cosine")),
        ],
    ),
    "self_paced": Figure(
        "Self-paced weights: a pair's loss says whether it is clean, ambiguous or noisy",
        {
            "pair": Box(0, 1, "picture and sentence", "a pair of the batch"),
            "loss": Box(1, 1, "loss l of the pair", "both cross entropies"),
            "clean": Box(2, 0, f"clean: l < {_GAMMA}₁", f"weight cos(π l / 2{_GAMMA}₁)"),
            "ambiguous": Box(
                2, 1, f"ambiguous: {_GAMMA}₁ ≤ l < {_GAMMA}₂", f"weight λ₁ cos(π l / 2{_GAMMA}₂)"
            ),
            "noisy": Box(2, 2, f"noisy: {_GAMMA}₂ ≤ l", "fits no better than chance"),
            "sum": Box(3, 0.5, "what is learnt from", kind="loss"),
            "aside": Box(3, 2, "set aside", "released: a soft triplet"),
        },
        [
            *(("pair", "loss"), ("loss", "clean"), ("loss", "ambiguous"), ("loss", "noisy")),
            *(("clean", "sum"), ("ambiguous", "sum"), ("noisy", "aside")),
        ],
    ),
    "fine": Figure(
        "The fine stage: the best pictures by cosine are compared again, patch by patch",
        {
            "sentence": Box(0, 0, "sentence t", kind="words"),
            "index": Box(0, 1, "index", "vectors and int8 patches", "picture"),
            "best": Box(1, 0.5, "best 100 by cosine", "stage one"),
            "weights": Box(2, 0, "w = softmax(t · pᵢ / τ)", "how much each counts"),
            "patches": Box(2, 1, "patches p₁ to p₄₉", "of these pictures", "picture"),
            "pooled": Box(3, 1, "½ mean p + ½ Σ wᵢ pᵢ", "pooled anew for t", "picture"),
            "score": Box(3, 0, "score", "0.9 cosine + 0.1 t · pooled"),
        },
        [
            *(("sentence", "best"), ("index", "best"), ("best", "weights"), ("best", "patches")),
            *(("patches", "weights"), ("weights", "pooled"), ("patches", "pooled")),
            ("pooled", "score"),
        ],
    ),
    "ssjdn": Figure(
        "SSJDN-style: what one level has found salient the next one sees less of",
        {
            "f1": Box(0, 0, "level f₁, finest", f"salience m₁ = {_SIGMA}(conv f₁)", "picture"),
            "f2": Box(0, 1, "level f₂ ⊙ (1 - m₁)", "salience m₂", "picture"),
            "f3": Box(0, 2, "level f₃ ⊙ (1 - m₂)", "and back; both added", "picture"),
            "v": Box(1, 1, "picture's vector", "from all f ⊙ m", "picture"),
            "t": Box(1, 2, "sentence's vector", kind="words"),
            "head": Box(2, 1.5, "one head for scenes", "stays: hits show the scene"),
            "classes": Box(3, 1, "class supervision", "of both sides", "loss"),
            "margin": Box(3, 2, "adaptive margin", "smaller within a class", "loss"),
        },
        [
            *(("f1", "f2"), ("f2", "f3"), ("f1", "v"), ("f2", "v"), ("f3", "v")),
            *(("v", "head"), ("t", "head"), ("head", "classes"), ("head", "margin")),
        ],
    ),
    "cmir_net": Figure(
        "CMIR-NET: pictures and sets of labels meet in one code, which tells the labels",
        {
            "v": Box(0, 0, "picture's vector", kind="picture"),
            "labels": Box(0, 2, "set of labels", "ship, dock, water", "words"),
            "fv": Box(1, 0, "code", "one linear layer", "picture"),
            "fl": Box(1, 2, "code", "two layers", "words"),
            "told": Box(2, 1, "labels told by a code", "ship and not sand: a product"),
            "near": Box(2, 0, "crossed", "labels made from this code", "loss"),
            "again": Box(2, 2, "crossed", "vector made from this code", "loss"),
            "distance": Box(1, 1, "near each other", kind="loss"),
        },
        [
            *(("v", "fv"), ("labels", "fl"), ("fv", "told"), ("fl", "told"), ("fv", "near")),
            *(("fl", "again"), ("fv", "distance"), ("fl", "distance")),
        ],
    ),
    "label_free": Figure(
        "Without captions: three terms over two views of a picture, and sentences assigned to it",
        {
            "one": Box(0, 0, "a picture", kind="picture"),
            "two": Box(0, 1, "another view of it", kind="picture"),
            "tower": Box(1, 0.5, "picture tower", "the only part that learns", "picture"),
            "bank": Box(1, 2, "bank of sentences", "text side frozen", "words"),
            "z": Box(2, 0.5, "vectors z₁, z₂", kind="picture"),
            "assigned": Box(2, 2, "sentences assigned", "before training, evenly", "words"),
            "terms": Box(3, 0, "three terms, label-free", "NT-Xent, angle, neighbour", "loss"),
            "start": Box(3, 1, "near its start", kind="loss"),
            "learnt": Box(3, 2, "assigned sentences", "for both views", "loss"),
        },
        [
            *(("one", "tower"), ("two", "tower"), ("tower", "z"), ("bank", "assigned")),
            *(("z", "terms"), ("z", "start"), ("z", "learnt"), ("assigned", "learnt")),
        ],
    ),
}


def main() -> None:
    """Write the figures."""
    for name, figure in FIGURES.items():
        (FOLDER / f"{name}.svg").write_text(drawing(figure), encoding="utf-8")


def drawing(figure: Figure) -> str:
    """Return a figure as SVG."""
    boxes = figure.boxes.values()
    width = max(box.left for box in boxes) + WIDE + MARGIN
    height = max(box.top for box in boxes) + HIGH + MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" font-family="ui-sans-serif, system-ui, DejaVu Sans, sans-serif" '
        f'role="img" aria-label="{escape(figure.says)}">',
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="{_ARROW}"/></marker>',
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#ffffff"/>',
        *(_arrow(figure.boxes[start], figure.boxes[end]) for start, end in figure.arrows),
        *map(_drawn, boxes),
        "</svg>\n",
    ])  # fmt: skip


def _drawn(box: Box) -> str:
    fill, edge = _COLOURS[box.kind]
    dashes = ' stroke-dasharray="5 4"' if box.kind == "loss" else ""
    first = box.top + (_FIRST if box.line else HIGH / 2 + 4)
    return (
        f'<rect x="{box.left:.0f}" y="{box.top:.0f}" width="{WIDE}" height="{HIGH}" rx="7" '
        f'fill="{fill}" stroke="{edge}"{dashes}/>'
        f'<text x="{box.left + 10:.0f}" y="{first:.0f}" font-size="13" font-weight="600" '
        f'fill="{_INK}">{escape(box.title)}</text>'
        f'<text x="{box.left + 10:.0f}" y="{first + _LINE:.0f}" font-size="11.5" '
        f'fill="{_SOFT}">{escape(box.line)}</text>'
    )


def _arrow(start: Box, end: Box) -> str:
    """Draw an arrow from the right side to the left one, or within a column down or up."""
    if start.column == end.column:
        down = end.row > start.row
        x = start.left + WIDE / 2
        y1, y2 = (start.top + HIGH, end.top) if down else (start.top, end.top + HIGH)
        path = f"M{x:.0f} {y1:.0f} V{y2:.0f}"
    else:
        x1, y1, x2, y2 = start.left + WIDE, start.top + HIGH / 2, end.left, end.top + HIGH / 2
        bend = GAP / 2
        path = (
            f"M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} "
            f"{x2:.0f} {y2:.0f}"
        )
    return (
        f'<path d="{path}" fill="none" stroke="{_ARROW}" stroke-width="1.4" '
        'marker-end="url(#tip)"/>'
    )


if __name__ == "__main__":
    main()
