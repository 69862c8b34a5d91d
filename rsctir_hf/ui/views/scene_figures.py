"""A scene with its heat map and numbered hits, drawn once: as a map where it has a place on one."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from rsctir_hf.geo.map_output import overview_in_degrees
from rsctir_hf.scene import SceneAnswer, SceneHit
from rsctir_hf.ui.server.open_scenes import OVERVIEW_SIDE, OpenScene
from rsctir_hf.ui.views.map_marks import (
    add_basemap,
    add_graticule,
    add_scale_bar,
    ratio_of,
    widened,
)
from rsctir_hf.ui.views.plots import add_picture, lay_out, numbered_marks, show_pixels

_BOX, _CHOSEN = "#ffd166", "#4cc9f0"
#: Share of the strongest score, and red, green, blue and opacity (0..1) there.
_HEAT = np.array([[0.0, 13, 21, 24, 0.0], [0.5, 255, 138, 76, 0.3], [1.0, 255, 60, 30, 0.75]])
_AROUND = 0.25  # of width and height that a basemap shows beside the scene


def scene_figure(
    scene: OpenScene, *, heat: bool = True, chosen: int | None = None, basemap: bool = False
) -> tuple[go.Figure, float]:
    """Draw the scene with the heat map and the hits of its last answer.

    Args:
        scene: what is open.
        heat: lay the scores over it.
        chosen: rank of the hit whose box stands out.
        basemap: lay a web map below it, which the visitor's browser fetches.

    Returns:
        The figure, in degrees where the scene has a place on the map, else in its own pixels; and
        its width by its height.
    """
    picture = heated(scene.picture, scene.answer, scene.raster.size) if heat else scene.picture
    placed = overview_in_degrees(scene.raster, picture)
    figure, hits = go.Figure(), scene.hits
    if placed is None:
        width, height = scene.raster.size
        add_picture(figure, picture, (0, 0, width, height), side=OVERVIEW_SIDE)
        _add_hits(figure, hits, [hit.window.corners.tolist() for hit in hits], chosen=chosen)
        show_pixels(figure, scene.raster.size)
        return lay_out(figure).update_layout(dragmode="pan"), width / height
    ground, bounds = placed
    west, south, east, north = bounds
    shown = widened(bounds, _AROUND) if basemap else bounds
    if basemap:
        add_basemap(figure, shown)
    add_picture(figure, ground, (west, north, east, south), side=OVERVIEW_SIDE)
    add_graticule(figure, shown)
    add_scale_bar(figure, shown)
    on_map = [hit for hit in hits if hit.corners is not None]
    _add_hits(figure, on_map, [hit.corners or () for hit in on_map], chosen=chosen)
    return lay_out(figure).update_layout(dragmode="pan"), ratio_of(shown)


def heated(picture: Image.Image, answer: SceneAnswer | None, size: tuple[int, int]) -> Image.Image:
    """Lay the scores of an answer over a picture of the whole scene.

    What does not surely fit never gets the strongest colour.

    Args:
        picture: RGB.
        answer: whose ``heat`` lies on a grid of cells; None leaves the picture as it is.
        size: width and height of the scene in pixels.
    """
    if answer is None:
        return picture
    low, strongest = float(np.nanmin(answer.heat)), float(np.nanmax(answer.heat))
    low, high = min(low, 0.0), max(strongest, answer.fits_from or strongest)
    share = np.nan_to_num((answer.heat - low) / max(high - low, 1e-9))
    layers = [np.interp(share, _HEAT[:, 0], values) for values in _HEAT[:, 1:].T]
    layers[3] = np.where(np.isnan(answer.heat), 0.0, 255 * layers[3])
    cells = Image.fromarray(np.stack(layers, axis=2).round().astype(np.uint8))
    scale = picture.width / size[0], picture.height / size[1]
    whole = [
        max(round(count * cell * part), 1)
        for count, cell, part in zip(cells.size, answer.cell, scale, strict=True)
    ]
    over = cells.resize((whole[0], whole[1]), Image.Resampling.BICUBIC)
    over = over.crop((0, 0, *picture.size))
    return Image.alpha_composite(picture.convert("RGBA"), over).convert("RGB")


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
