"""A scene with its heat map and numbered hits, and the same hits on a map, as plotly figures."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from rsctir_hf.geo.map_output import overview_in_degrees
from rsctir_hf.scene import SceneAnswer, SceneHit
from rsctir_hf.ui.server.open_scenes import OVERVIEW_SIDE, OpenScene
from rsctir_hf.ui.views.plots import add_picture, lay_out, numbered_marks, show_pixels

_BOX, _CHOSEN = "#ffd166", "#4cc9f0"
_HEAT = [
    [0.0, "rgba(13,21,24,0)"],
    [0.5, "rgba(255,138,76,0.25)"],
    [1.0, "rgba(255,60,30,0.75)"],
]
_HEIGHT = 460


def scene_figure(scene: OpenScene, *, heat: bool = True, chosen: int | None = None) -> go.Figure:
    """Draw the scene in its own pixels, with the heat map and the hits of its last answer.

    The box of the hit whose rank is ``chosen`` stands out.
    """
    width, height = scene.raster.size
    figure = go.Figure()
    add_picture(figure, scene.picture, (0, 0, width, height), side=OVERVIEW_SIDE)
    answer = scene.answer
    if answer is not None:
        if heat:
            figure.add_trace(_heat(answer))
        corners = [hit.window.corners.tolist() for hit in answer.hits]
        _add_hits(figure, answer.hits, corners, chosen=chosen)
    show_pixels(figure, scene.raster.size)
    return lay_out(figure, height=_HEIGHT).update_layout(dragmode="pan")


def map_figure(scene: OpenScene, *, chosen: int | None = None) -> go.Figure | None:
    """Draw scene and hits in degrees; None where the scene has no place on the map.

    Nothing is fetched from a map server: the scene itself, moved to EPSG:4326, is the ground.
    """
    placed = overview_in_degrees(scene.raster, scene.picture)
    if placed is None:
        return None
    ground, (west, south, east, north) = placed
    figure = go.Figure()
    add_picture(figure, ground, (west, north, east, south), side=OVERVIEW_SIDE)
    hits = [hit for hit in scene.hits if hit.corners is not None]
    _add_hits(figure, hits, [hit.corners or () for hit in hits], chosen=chosen)
    stretch = 1 / max(float(np.cos(np.radians((south + north) / 2))), 0.01)
    axis = {"tickformat": ".4f", "gridcolor": "rgba(128,140,145,0.35)", "nticks": 5}
    figure.update_xaxes(title="longitude", range=[west, east], constrain="domain", **axis)
    figure.update_yaxes(
        title="latitude", range=[south, north], scaleanchor="x", scaleratio=stretch, **axis
    )
    figure.update_layout(font={"color": "#7d9096"}, dragmode="pan")
    return lay_out(figure, height=_HEIGHT, margin=10)


def _heat(answer: SceneAnswer) -> go.Heatmap:
    """Draw the scores; what does not surely fit never gets the strongest colour."""
    strongest = float(np.nanmax(answer.heat))
    rows, columns = answer.heat.shape
    across, down = answer.cell
    return go.Heatmap(
        z=answer.heat,
        x=(np.arange(columns) + 0.5) * across,
        y=(np.arange(rows) + 0.5) * down,
        colorscale=_HEAT,
        zmin=min(float(np.nanmin(answer.heat)), 0.0),
        zmax=max(strongest, answer.fits_from or strongest),
        showscale=False,
        zsmooth="best",
        hovertemplate="score %{z:.2f}<extra></extra>",
    )


def _add_hits(
    figure: go.Figure,
    hits: Sequence[SceneHit],
    corners: Sequence[Sequence[Sequence[float]]],
    *,
    chosen: int | None,
) -> None:
    """Draw each hit's outline, whose four corners (x, y) are given, and in its middle its rank."""
    for hit, four in zip(hits, corners, strict=True):
        stands_out = hit.rank == chosen
        x, y = zip(*four, four[0], strict=True)
        line = {"color": _CHOSEN if stands_out else _BOX, "width": 4 if stands_out else 2}
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip"))
    figure.add_trace(
        numbered_marks(
            [((a[0] + c[0]) / 2, (a[1] + c[1]) / 2) for a, _, c, _ in corners],
            [hit.rank for hit in hits],
            [f"<b>#{hit.rank}</b> score {hit.score:.2f}" for hit in hits],
            size=20,
            color=[_CHOSEN if hit.rank == chosen else _BOX for hit in hits],
        )
    )
