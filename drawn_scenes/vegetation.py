"""Trees, bushes and woods: domed crowns with lobes and leaves that cast real shadows."""

from collections.abc import Callable

import numpy as np

from drawn_scenes.canvas import Array, Canvas, sample_grid
from drawn_scenes.ground import tint

GREENS = ((0.20, 0.28, 0.15), (0.24, 0.31, 0.17), (0.17, 0.25, 0.15), (0.28, 0.33, 0.18))
CONIFERS = ((0.19, 0.26, 0.18), (0.21, 0.28, 0.19), (0.17, 0.24, 0.17))


def tree(
    canvas: Canvas,
    u: float,
    v: float,
    *,
    radius: float,
    palette: tuple[tuple[float, float, float], ...] = GREENS,
    pointed: bool = False,
) -> None:
    """Draw one crown of a given radius (metres); pointed crowns are conifers."""
    rng = canvas.rng
    patch = canvas.patch(u, v, radius=radius * 1.4)
    if patch is None:
        return
    turn = np.arctan2(patch.y, patch.x)
    lobes = sum(
        rng.uniform(0.03, 0.09) * np.sin(k * turn + rng.uniform(0, 6.3)) for k in (2, 3, 5, 8)
    )
    share = np.hypot(patch.x, patch.y) / (radius * (1 + lobes))
    leaves = _leaves(canvas, patch.x, patch.y, radius)
    share = share + 0.12 * leaves
    mask = patch.cover((share - 1) * radius, soft=0.25)
    tall = radius * rng.uniform(1.2, 1.7)
    profile = 1 - np.clip(share, 0, 1) if pointed else np.sqrt(np.clip(1 - share**2, 0, 1))
    crown = tall * (0.42 + 0.58 * profile) + 0.22 * radius * leaves
    base = tint(canvas, palette[rng.integers(len(palette))], 0.018) * canvas.foliage
    tone = 1 + 0.16 * leaves + 0.09 * patch.grain
    above = np.maximum(canvas.land_at(u, v) + crown, patch.height)
    patch.paint(mask, base * tone[..., None], above)


def _leaves(canvas: Canvas, x: Array, y: Array, radius: float) -> Array:
    """Clumps of foliage about a fifth of the crown wide, unit variance or so."""
    grid = canvas.rng.standard_normal((16, 16), dtype=np.float32)
    size = max(radius / 3.2, 0.45)
    return 1.2 * sample_grid(grid, x / size + 8, y / size + 8)


def bush(canvas: Canvas, u: float, v: float, *, radius: float) -> None:
    """Draw a low shrub: a small flat crown."""
    rng = canvas.rng
    patch = canvas.patch(u, v, radius=radius * 1.3)
    if patch is None:
        return
    wobble = 1 + 0.2 * np.sin(3 * np.arctan2(patch.y, patch.x) + rng.uniform(0, 6.3))
    share = np.hypot(patch.x, patch.y) / (radius * wobble)
    mask = patch.cover((share - 1) * radius, soft=0.3)
    dome = patch.height + radius * 0.9 * np.sqrt(np.clip(1 - share**2, 0, 1))
    base = tint(canvas, (0.29, 0.32, 0.20), 0.025) * canvas.foliage
    patch.paint(mask, base * (1 + 0.12 * patch.grain)[..., None], dome)


def scatter_trees(
    canvas: Canvas,
    tries: int,
    *,
    radius: tuple[float, float],
    clearance: float = 0.6,
    where: Callable[[float, float], bool] | None = None,
    palette: tuple[tuple[float, float, float], ...] = GREENS,
) -> int:
    """Plant trees on free ground, small groves more often than single trees.

    Args:
        canvas: the sheet.
        tries: number of groves tried.
        radius: least and largest crown radius in metres.
        clearance: free distance asked for, as a share of the crown radius.
        where: further condition on the scene point.
        palette: crown colours.

    Returns:
        The number of trees planted.
    """
    rng = canvas.rng
    planted = 0
    for _ in range(tries):
        u, v = _random_point(canvas)
        for _ in range(1 + rng.poisson(1.3)):
            r = float(rng.uniform(*radius))
            if canvas.free(u, v, r * clearance) and (where is None or where(u, v)):
                tree(canvas, u, v, radius=r, palette=palette)
                planted += 1
            u, v = u + rng.normal(0, 1.6 * r), v + rng.normal(0, 1.6 * r)
    return planted


def _random_point(canvas: Canvas) -> tuple[float, float]:
    half_width, half_height = canvas.span
    right = canvas.rng.uniform(-1.06, 1.06) * half_width
    down = canvas.rng.uniform(-1.06, 1.06) * half_height
    return canvas.from_picture(float(right), float(down))


def tree_row(
    canvas: Canvas, start: tuple[float, float], end: tuple[float, float], *, radius: float
) -> None:
    """Plant a hedge or avenue of trees between two scene points."""
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    for t in np.arange(0, length, radius * 1.7) / max(length, 1e-6):
        wander = canvas.rng.normal(0, 0.15 * radius, 2)
        r = radius * float(canvas.rng.uniform(0.75, 1.15))
        u = start[0] + t * (end[0] - start[0]) + wander[0]
        v = start[1] + t * (end[1] - start[1]) + wander[1]
        if canvas.free(u, v, r * 0.5):
            tree(canvas, u, v, radius=r)


def wood(canvas: Canvas, density: Array, *, spacing: float, kind: str = "broadleaved") -> int:
    """Cover ground with a closed canopy where ``density`` (H, W) is above zero.

    Args:
        canvas: the sheet.
        density: (H, W) in working pixels; trees stand where it is positive and nothing blocks.
        spacing: metres between trunks.
        kind: ``broadleaved``, ``conifer`` or ``mixed``.

    Returns:
        The number of trees.
    """
    rng = canvas.rng
    reach = canvas.reach * 1.12
    steps = np.arange(-reach, reach, spacing)
    points = [(u, v) for u in steps for v in steps]
    rng.shuffle(points)
    planted = 0
    rows, columns = density.shape
    for u, v in points:
        du, dv = rng.uniform(-0.5, 0.5, 2) * spacing
        right, down = canvas.to_ground(u + du, v + dv)
        i, j = int(down / canvas.pixel + rows / 2), int(right / canvas.pixel + columns / 2)
        if not (0 <= i < rows and 0 <= j < columns) or density[i, j] <= 0 or canvas.blocked[i, j]:
            continue
        conifer = kind == "conifer" or (kind == "mixed" and rng.random() < 0.4)
        r = spacing * float(rng.uniform(0.45, 0.95)) * (0.8 if conifer else 1.0)
        palette = CONIFERS if conifer else GREENS
        tree(canvas, u + du, v + dv, radius=r, palette=palette, pointed=conifer)
        planted += 1
    return planted
