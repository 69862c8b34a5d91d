"""What every plotly figure over a picture has: the picture below, numbered marks, no frame."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from PIL import Image

from rsctir_hf.files.data_uris import encode_picture

INK = "#10222b"
_CLEAR = "rgba(0,0,0,0)"


def add_picture(
    figure: go.Figure, picture: Image.Image, box: tuple[float, float, float, float], *, side: int
) -> None:
    """Put a picture below everything else.

    Args:
        figure: what it is added to.
        picture: RGB, or with an alpha channel.
        box: its left, top, right and bottom on the axes.
        side: most pixels a side that are sent.
    """
    left, top, right, bottom = box
    figure.add_layout_image(
        source=encode_picture(picture, side),
        xref="x", yref="y", x=left, y=top, sizex=abs(right - left), sizey=abs(bottom - top),
        sizing="stretch", layer="below",
    )  # fmt: skip


def numbered_marks(
    places: Sequence[tuple[float, float]],
    numbers: Sequence[int],
    hovers: Sequence[str],
    **marker: Any,  # noqa: ANN401 - plotly's own
) -> go.Scatter:
    """Return n numbers in filled marks.

    Args:
        places: n (x, y).
        numbers: what stands in them.
        hovers: what a pointer at them reads.
        marker: size, colour and symbol of plotly's marker, one or n of each.
    """
    return go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers+text",
        text=[str(number) for number in numbers],
        textfont={"color": INK, "size": 11},
        marker={"line": {"color": INK, "width": 1}, "opacity": 1, **marker},
        customdata=list(hovers),
        hovertemplate="%{customdata}<extra></extra>",
    )


def show_pixels(figure: go.Figure, size: tuple[int, int], **axis: Any) -> None:  # noqa: ANN401
    """Let the axes, which nobody sees, be the pixels of a picture (W, H), the first one on top."""
    width, height = size
    hidden = {"visible": False, "constrain": "domain", **axis}
    figure.update_xaxes(range=[0, width], **hidden)
    figure.update_yaxes(range=[height, 0], scaleanchor="x", **hidden)


def lay_out(figure: go.Figure) -> go.Figure:
    """Take frame, legend and background away; the page gives its size (``sized``)."""
    return figure.update_layout(
        margin=dict.fromkeys("lrtb", 0),
        showlegend=False,
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        hoverlabel={"bgcolor": INK, "font": {"color": "#ffffff"}},
    )


def sized(elem_id: str, ratio: float) -> str:
    """Return a style that gives a figure the width to height of what it shows, on any screen."""
    return f"<style>#{elem_id}{{--rs-ratio:{min(max(ratio, 0.2), 5.0):.4f}}}</style>"
