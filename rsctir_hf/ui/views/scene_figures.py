"""A scene with its heat map and numbered hits, and the same hits on a map, as plotly figures."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from rsctir_hf.geo.map_output import overview_in_degrees
from rsctir_hf.scene import SceneAnswer, SceneHit
from rsctir_hf.ui.server.open_scenes import OVERVIEW_SIDE, OpenScene
from rsctir_hf.ui.views.uploads import encode_picture

_BOX, _INK = "#ffd166", "#10222b"
_CHOSEN = "#4cc9f0"
_HEAT = [
    [0.0, "rgba(13,21,24,0)"],
    [0.5, "rgba(255,138,76,0.25)"],
    [1.0, "rgba(255,60,30,0.75)"],
]
_HEIGHT = 460
_CLEAR = "rgba(0,0,0,0)"


def scene_figure(scene: OpenScene, *, heat: bool = True, chosen: int | None = None) -> go.Figure:
    """Draw the scene in its own pixels, with the heat map and the hits of its last answer.

    Args:
        scene: what is open.
        heat: lay the scores over it.
        chosen: rank of the hit whose box stands out.
    """
    width, height = scene.raster.size
    figure = go.Figure()
    _add_picture(figure, scene.picture, (0, 0, width, height))
    answer = scene.answer
    if answer is not None:
        if heat:
            figure.add_trace(_heat(answer, scene.confident_score))
        outlines = [_ring(hit.window.corners.tolist()) for hit in answer.hits]
        _add_hits(figure, answer.hits, outlines, chosen=chosen)
    figure.update_xaxes(visible=False, range=[0, width], constrain="domain")
    figure.update_yaxes(visible=False, range=[height, 0], scaleanchor="x", constrain="domain")
    return _laid_out(figure)


def map_figure(scene: OpenScene, *, chosen: int | None = None) -> go.Figure | None:
    """Draw scene and hits in degrees; None where the scene has no place on the map.

    Nothing is fetched from a map server: the scene itself, moved to EPSG:4326, is the ground.
    """
    placed = overview_in_degrees(scene.raster, scene.picture)
    if placed is None:
        return None
    ground, (west, south, east, north) = placed
    figure = go.Figure()
    _add_picture(figure, ground, (west, north, east, south))
    found = scene.answer.hits if scene.answer else ()
    hits = [hit for hit in found if hit.corners is not None]
    _add_hits(figure, hits, [_ring(list(hit.corners or ())) for hit in hits], chosen=chosen)
    stretch = 1 / max(float(np.cos(np.radians((south + north) / 2))), 0.01)
    axis = {"tickformat": ".4f", "gridcolor": "rgba(128,140,145,0.35)", "nticks": 5}
    figure.update_xaxes(title="longitude", range=[west, east], constrain="domain", **axis)
    figure.update_yaxes(
        title="latitude", range=[south, north], scaleanchor="x", scaleratio=stretch, **axis
    )
    figure.update_layout(font={"color": "#7d9096"})
    return _laid_out(figure, margin={"l": 10, "r": 10, "t": 10, "b": 10})


def _add_picture(
    figure: go.Figure, picture: Image.Image, box: tuple[float, float, float, float]
) -> None:
    left, top, right, bottom = box
    figure.add_layout_image(
        source=_encoded(picture),
        xref="x", yref="y", x=left, y=top, sizex=abs(right - left), sizey=abs(bottom - top),
        sizing="stretch", layer="below",
    )  # fmt: skip


def _encoded(picture: Image.Image) -> str:
    """Return a data URI; one that may be clear in places where the picture is."""
    if picture.mode == "RGB":
        return encode_picture(picture, OVERVIEW_SIDE)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _heat(answer: SceneAnswer, confident: float | None) -> go.Heatmap:
    """Draw the scores; what is no confident match never gets the strongest colour."""
    strongest = float(np.nanmax(answer.heat))
    rows, columns = answer.heat.shape
    across, down = answer.cell
    return go.Heatmap(
        z=answer.heat,
        x=(np.arange(columns) + 0.5) * across,
        y=(np.arange(rows) + 0.5) * down,
        colorscale=_HEAT,
        zmin=min(float(np.nanmin(answer.heat)), 0.0),
        zmax=max(strongest, confident or strongest),
        showscale=False,
        zsmooth="best",
        hovertemplate="score %{z:.2f}<extra></extra>",
    )


def _add_hits(
    figure: go.Figure,
    hits: Sequence[SceneHit],
    outlines: Sequence[tuple[list[float], list[float]]],
    *,
    chosen: int | None,
) -> None:
    """Draw each hit's outline and, at its upper left corner, its rank."""
    for hit, (x, y) in zip(hits, outlines, strict=True):
        stands_out = hit.rank == chosen
        line = {"color": _CHOSEN if stands_out else _BOX, "width": 4 if stands_out else 2}
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip"))
    figure.add_trace(
        go.Scatter(
            x=[(x[0] + x[2]) / 2 for x, _ in outlines],
            y=[(y[0] + y[2]) / 2 for _, y in outlines],
            mode="markers+text",
            text=[str(hit.rank) for hit in hits],
            textfont={"color": _INK, "size": 11},
            marker={
                "size": 20,
                "color": [_CHOSEN if hit.rank == chosen else _BOX for hit in hits],
                "line": {"color": _INK, "width": 1},
                "opacity": 1,
            },
            customdata=[f"<b>#{hit.rank}</b> score {hit.score:.2f}" for hit in hits],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )


def _ring(corners: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    closed = [*corners, corners[0]]
    return [corner[0] for corner in closed], [corner[1] for corner in closed]


def _laid_out(figure: go.Figure, margin: dict[str, Any] | None = None) -> go.Figure:
    figure.update_layout(
        margin=margin or {"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        hoverlabel={"bgcolor": _INK, "font": {"color": "#ffffff"}},
        height=_HEIGHT,
        dragmode="pan",
    )
    return figure
