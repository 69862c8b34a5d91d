"""The page that shows what tuning has changed: table, learning curve, what rose and what fell.

It is one file without references to others. Its pictures are those of whoever trains, so that no
push takes it along (``hub.push.IGNORE_PATTERNS``).
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2

from rsctir_hf.data.collator import picture_source
from rsctir_hf.files.pictures import read_image
from rsctir_hf.training.before_after import Compared, movers, verdict

PAGE_FILE = "report.html"
TEMPLATE = Path(__file__).with_name("tuned_page.html")
THUMBNAIL = 176  # pixels of the longer side
WIDTH, HEIGHT = 640, 260  # of the curve, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 16, 34  # margins


@dataclass(frozen=True)
class TunedPage:
    """What the page shows.

    Attributes:
        model: name of the result.
        base: folder or Hub id of the model it went on from.
        compared: every set before and after; queries are those of the first.
        curve: epoch and validation mR of each evaluation.
        base_score: validation mR of the base.
        best_epoch: whose weights were chosen; None: the last.
        base_share: of the base's weights in the finished ones, which the curve is without.
    """

    model: str
    base: str
    compared: Sequence[Compared]
    curve: Sequence[tuple[float, float]]
    base_score: float
    best_epoch: float | None
    base_share: float = 0.0

    def html(self) -> str:
        """Return the page."""
        template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(
            TEMPLATE.read_text(encoding="utf-8")
        )
        rose, fell = movers(self.compared[0])
        better, said = verdict(self.compared)
        return template.render(
            page=self,
            shown=self.compared[0],
            groups=[
                ("Rose most", "No query rose.", [self._query(number) for number in rose]),
                ("Fell most", "No query fell.", [self._query(number) for number in fell]),
            ],
            better=better,
            verdict=said,
            plot=curve_plot(self.curve, self.base_score),
        )

    def _query(self, number: int) -> dict[str, Any]:
        """Return what is shown of one caption."""
        shown = self.compared[0]
        row, caption = self._captions[number]
        before, after = shown.before, shown.after
        pictures = [
            ("right picture", row),
            ("first before", int(before.first[number])),
            ("first after", int(after.first[number])),
        ]
        return {
            "caption": caption,
            "before": int(before.ranks[number]),
            "after": int(after.ranks[number]),
            "pictures": [
                {"title": title, "right": place == row, "data": self._thumbnails(place)}
                for title, place in pictures
            ],
        }

    @cached_property
    def _captions(self) -> list[tuple[int, str]]:
        rows = enumerate(self.compared[0].rows)
        return [(number, caption) for number, row in rows for caption in row["captions"]]

    @cached_property
    def _thumbnails(self) -> Any:  # noqa: ANN401 - row -> data URI, each made once
        rows = self.compared[0].rows
        return lru_cache(None)(lambda row: thumbnail(picture_source(rows[row]["image"])))


def thumbnail(source: Any) -> str:  # noqa: ANN401 - whatever an image column may hold
    """Return a small JPEG of a picture as a data URI."""
    picture = read_image(source)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def curve_plot(curve: Sequence[tuple[float, float]], base: float) -> dict[str, Any]:
    """Lay a learning curve out: epoch from 0 on the x axis, mR with some room on the y axis.

    Args:
        curve: epoch and mR of each evaluation.
        base: mR of epoch 0.

    Returns:
        ``points`` of the line and ``dots`` (x, y, epoch, mR), ``ticks`` of both axes, ``base``, the
        height of its line.
    """
    points = [(0.0, base), *curve]
    last = max(epoch for epoch, _ in points) or 1.0
    scores = [score for _, score in points]
    room = max(1.0, 0.1 * (max(scores) - min(scores)))
    low, high = max(0.0, min(scores) - room), min(100.0, max(scores) + room)

    def x(epoch: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * epoch / last, 1)

    def y(score: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - score) / (high - low), 1)

    dots = [(x(epoch), y(score), epoch, score) for epoch, score in points]
    step = max(1, round(last / 8))
    return {
        "points": " ".join(f"{dot[0]},{dot[1]}" for dot in dots),
        "dots": dots,
        "base": y(base),
        "x_ticks": [(x(epoch), epoch) for epoch in range(0, int(last) + 1, step)],
        "y_ticks": [(y(score), score) for score in nice_values(low, high)],
        "size": (WIDTH, HEIGHT),
        "frame": (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
    }


def nice_values(low: float, high: float) -> list[float]:
    """Return three to seven round values within a range."""
    step = next(each for each in (0.5, 1, 2, 5, 10, 20, 25) if (high - low) / each <= 6)
    first = int(-(-low // step))
    return [number * step for number in range(first, int(high // step) + 1)]
