"""What makes a picture in degrees a map: its lines of degrees, a scale bar, a basemap."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rsctir_hf.ui.views.plots import INK

#: West, south, east and north in degrees.
Bounds = tuple[float, float, float, float]

#: Who is asked for the basemap, and only where a visitor wants one.
TILE_SERVER = "https://tile.openstreetmap.org"
_ATTRIBUTION = "Basemap \N{COPYRIGHT SIGN} OpenStreetMap contributors"
_LABEL: dict[str, Any] = {
    "showarrow": False, "bgcolor": "rgba(16,34,43,0.75)", "borderpad": 2,
    "font": {"color": "#ffffff", "size": 10},
}  # fmt: skip
_EDGE = 0.04  # share of the width that the name of a line needs beside it
_LINES = 4  # of latitude and of longitude, about
_METRES_A_DEGREE = 111_320.0  # of latitude, and of longitude at the equator
_MOST_TILES, _FINEST_TILES = 30, 19
_LIMIT = 85.05  # degrees of latitude, beyond which there is no web map
_ACROSS = 3  # tiles over the width of a map, about


def nice_step(most: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is no larger than ``most``."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= most * (1 + 1e-9))


def widened(bounds: Bounds, share: float) -> Bounds:
    """Return bounds with a margin of a share of their width and height."""
    west, south, east, north = bounds
    across, up = (east - west) * share, (north - south) * share
    return west - across, max(south - up, -90.0), east + across, min(north + up, 90.0)


def squeeze(bounds: Bounds) -> float:
    """Return how long a degree of longitude is in the middle, a degree of latitude being 1."""
    return max(math.cos(math.radians((bounds[1] + bounds[3]) / 2)), 0.01)


def ratio_of(bounds: Bounds) -> float:
    """Return width by height of bounds on the ground."""
    west, south, east, north = bounds
    return (east - west) * squeeze(bounds) / (north - south)


def add_graticule(figure: go.Figure, bounds: Bounds) -> None:
    """Let the axes be degrees, and draw and name their lines over the picture."""
    west, south, east, north = bounds
    line = {"color": "rgba(255,255,255,0.6)", "width": 1, "dash": "dot"}
    for x, name in _lines(west, east, "EW").items():
        figure.add_shape(type="line", x0=x, x1=x, y0=south, y1=north, line=line)
        if min(x - west, east - x) > _EDGE * (east - west):  # else it would be cut
            figure.add_annotation(x=x, y=north, text=name, yanchor="top", **_LABEL)
    for y, name in _lines(south, north, "NS").items():
        figure.add_shape(type="line", x0=west, x1=east, y0=y, y1=y, line=line)
        figure.add_annotation(x=east, y=y, text=name, xanchor="right", **_LABEL)
    hidden = {"visible": False, "constrain": "domain"}
    figure.update_xaxes(range=[west, east], **hidden)
    figure.update_yaxes(
        range=[south, north], scaleanchor="x", scaleratio=1 / squeeze(bounds), **hidden
    )


def add_scale_bar(figure: go.Figure, bounds: Bounds) -> None:
    """Draw a length on the ground, about a fifth of the width, in the lower left corner."""
    west, south, east, north = bounds
    metres_a_degree = _METRES_A_DEGREE * squeeze(bounds)
    metres = nice_step((east - west) * metres_a_degree / 4)
    x0, y = west + (east - west) * 0.03, south + (north - south) * 0.04
    x1 = x0 + metres / metres_a_degree
    for colour, width in ((INK, 7), ("#ffffff", 3)):
        figure.add_shape(
            type="line", x0=x0, x1=x1, y0=y, y1=y, line={"color": colour, "width": width}
        )
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    figure.add_annotation(x=(x0 + x1) / 2, y=y, yshift=14, text=text, **_LABEL)


def add_basemap(figure: go.Figure, bounds: Bounds) -> None:
    """Lay tiles of a web map below everything; the visitor's browser fetches them."""
    west, south, east, north = bounds
    zoom = min(max(math.floor(math.log2(360 * _ACROSS / (east - west))), 0), _FINEST_TILES)
    while True:
        (left, top), (right, bottom) = _tile_at(west, north, zoom), _tile_at(east, south, zoom)
        if (right - left + 1) * (bottom - top + 1) <= _MOST_TILES or zoom == 0:
            break
        zoom -= 1
    for column in range(left, right + 1):
        for row in range(top, bottom + 1):
            (x0, y0), (x1, y1) = _corner(column, row, zoom), _corner(column + 1, row + 1, zoom)
            figure.add_layout_image(
                source=f"{TILE_SERVER}/{zoom}/{column}/{row}.png", xref="x", yref="y", x=x0, y=y0,
                sizex=x1 - x0, sizey=y0 - y1, sizing="stretch", layer="below",
            )  # fmt: skip
    corner = {"xref": "paper", "yref": "paper", "x": 1, "y": 0}
    ends = {"xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(text=_ATTRIBUTION, **corner, **ends, **_LABEL)


def _lines(low: float, high: float, signs: str) -> dict[float, str]:
    """Return where lines go, with their degrees in words."""
    step = nice_step((high - low) / _LINES)
    digits = max(0, -math.floor(math.log10(step)))
    places = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
    return {
        float(place): f"{abs(place):.{digits}f}° {signs[0] if place >= 0 else signs[1]}"
        for place in places
    }


def _tile_at(longitude: float, latitude: float, zoom: int) -> tuple[int, int]:
    count = 2**zoom
    angle = math.radians(min(max(latitude, -_LIMIT), _LIMIT))
    row = (1 - math.asinh(math.tan(angle)) / math.pi) / 2 * count
    column = (longitude + 180) / 360 * count
    return min(max(int(column), 0), count - 1), min(max(int(row), 0), count - 1)


def _corner(column: int, row: int, zoom: int) -> tuple[float, float]:
    """Return longitude and latitude of a tile's upper left corner."""
    count = 2**zoom
    latitude = math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / count))))
    return column / count * 360 - 180, latitude
