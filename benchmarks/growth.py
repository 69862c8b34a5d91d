"""How time grows with the gallery, as one picture for the README.

    python benchmarks/growth.py

Draws what ``vector_search.py`` (search, 10^3 to 10^6 vectors) and ``embedding_speed.py``
(embedding, 10^2 to 10^4 pictures) have written to ``results/``, both on logarithmic axes, into
``results/growth.svg``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report import RESULTS, flags, read, run

SEARCHED = {"exact": "exact", "hnsw": "HNSW"}
SET = "clustered"
COLOURS = ("#1b6ca8", "#c1541a")
MARKERS = ("o", "s")

Curve = list[tuple[float, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, draw and write."""
    parser = flags(__doc__, "growth.svg")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    search = search_curves(read(options.results / "vector_search.json"))
    draw(search, embedding_curves(read(options.results / "embedding_speed.json")), options.output)


def search_curves(found: Mapping[str, Any]) -> dict[str, Curve]:
    """Return for each engine the milliseconds of one query by the number of vectors."""
    return {
        title: sorted(
            (row["vectors"], 1e3 / row["queries_per_second"])
            for row in found["rows"].values()
            if (row["engine"], row["set"]) == (engine, SET)
        )
        for engine, title in SEARCHED.items()
    }


def embedding_curves(found: Mapping[str, Any]) -> dict[str, Curve]:
    """Return for each model the seconds of a run by the number of pictures."""
    return {
        name: sorted((point["pictures"], point["seconds"]) for point in points)
        for name, points in found["growth"].items()
    }


def draw(search: Mapping[str, Curve], embedding: Mapping[str, Curve], output: Path) -> None:
    """Draw both panels and write them as SVG with its words as text."""
    # the same numbers must give the same file
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 10}):
        figure = Figure(figsize=(9, 3.4), layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2)
        panel(left, search, title="One query", across="vectors in the index", up="milliseconds")
        panel(right, embedding, title="Embedding from JPEG files", across="pictures", up="seconds")
        figure.savefig(output, format="svg", metadata={"Date": None})


def panel(axes: Axes, curves: Mapping[str, Curve], *, title: str, across: str, up: str) -> None:
    """Draw some curves with both axes logarithmic."""
    for (name, curve), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=True):
        axes.plot(*zip(*curve, strict=True), color=colour, marker=marker, label=name)
    axes.set(title=title, xlabel=across, ylabel=up, xscale="log", yscale="log")
    axes.grid(which="major", color="#dddddd")
    axes.legend(frameon=False)


if __name__ == "__main__":
    run(main)
