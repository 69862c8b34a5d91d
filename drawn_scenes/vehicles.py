"""Things that move: cars, lorries, boats, aircraft, railway wagons, each in its own frame.

The first axis of an object points to its nose. Each function draws the object and notes its box.
"""

import numpy as np

from drawn_scenes import shapes
from drawn_scenes.canvas import Array, Canvas, Patch
from drawn_scenes.ground import tint

CAR_COLOURS = (
    (0.86, 0.86, 0.85), (0.82, 0.83, 0.84), (0.70, 0.71, 0.72), (0.58, 0.59, 0.60),
    (0.16, 0.16, 0.18), (0.24, 0.25, 0.27), (0.55, 0.15, 0.13), (0.18, 0.26, 0.42),
    (0.62, 0.57, 0.48), (0.30, 0.36, 0.32),
)  # fmt: skip
GLASS = (0.14, 0.16, 0.19)
CAR_SIZE = (4.6, 1.9)


def car(canvas: Canvas, u: float, v: float, angle: float) -> bool:
    """Draw a passenger car; True if it is in the picture."""
    rng = canvas.rng
    length, width = CAR_SIZE[0] * rng.uniform(0.92, 1.1), CAR_SIZE[1] * rng.uniform(0.95, 1.08)
    patch = canvas.patch(u, v, angle, radius=length * 0.7)
    if patch is None:
        return False
    ground = float(np.median(patch.height))
    body = patch.cover(shapes.box(patch.x, patch.y, length / 2, width / 2, 0.5))
    paint = tint(canvas, CAR_COLOURS[rng.integers(len(CAR_COLOURS))], 0.02)
    patch.paint(body, paint, ground + 0.9)
    cabin = shapes.box(patch.x + 0.25, patch.y, length * 0.31, width * 0.43, 0.35)
    patch.paint(patch.cover(cabin), GLASS, ground + 1.15)
    roof = shapes.box(patch.x + 0.35, patch.y, length * 0.19, width * 0.38, 0.3)
    patch.paint(patch.cover(roof), np.minimum(paint * 1.06, 1), ground + 1.5)
    return canvas.record("car", u, v, length=length, width=width, angle=angle)


def lorry(canvas: Canvas, u: float, v: float, angle: float) -> bool:
    """Draw a lorry with a box body; True if it is in the picture."""
    rng = canvas.rng
    length, width = float(rng.uniform(9, 15)), 2.6
    patch = canvas.patch(u, v, angle, radius=length * 0.6)
    if patch is None:
        return False
    ground = float(np.median(patch.height))
    cab = shapes.box(patch.x - length / 2 + 1.2, patch.y, 1.2, 1.2, 0.3)
    patch.paint(patch.cover(cab), tint(canvas, (0.6, 0.6, 0.62), 0.15), ground + 2.6)
    trailer = shapes.box(patch.x + 1.5, patch.y, length / 2 - 1.5, width / 2, 0.1)
    shade = 1 + 0.03 * patch.grain
    patch.paint(
        patch.cover(trailer),
        tint(canvas, (0.82, 0.82, 0.80), 0.06) * shade[..., None],
        ground + 3.6,
    )
    return canvas.record("lorry", u, v, length=length, width=width, angle=angle)


def boat(canvas: Canvas, u: float, v: float, angle: float, *, length: float) -> bool:
    """Draw a motor boat or yacht with deck and cabin; True if it is in the picture."""
    rng = canvas.rng
    half, beam = length / 2, length * float(rng.uniform(0.13, 0.16))
    patch = canvas.patch(u, v, angle, radius=half * 1.15)
    if patch is None:
        return False
    ground = float(np.median(patch.height))
    taper = beam * np.sqrt(np.clip((half - patch.x) / (0.75 * length), 0, 1))
    hull = np.maximum(np.abs(patch.y) - taper, np.abs(patch.x) - half)
    hull_colour = tint(canvas, (0.86, 0.86, 0.84), 0.04)
    patch.paint(patch.cover(hull), hull_colour, ground + 0.9)
    deck_colours = ((0.62, 0.53, 0.40), (0.78, 0.77, 0.73), (0.55, 0.60, 0.66))
    deck = tint(canvas, deck_colours[rng.integers(3)], 0.03)
    patch.paint(patch.cover(hull + beam * 0.3), deck, ground + 0.8)
    cabin = shapes.box(patch.x + 0.02 * length, patch.y, length * 0.17, beam * 0.58, beam * 0.3)
    patch.paint(patch.cover(cabin), hull_colour, ground + 2.2)
    screen = shapes.box(patch.x - 0.16 * length, patch.y, length * 0.03, beam * 0.5, 0.1)
    patch.paint(patch.cover(screen), GLASS, ground + 1.7)
    if rng.random() < 0.35:  # a canvas awning over the stern
        awning = shapes.box(patch.x + 0.30 * length, patch.y, length * 0.1, beam * 0.6, 0.2)
        colour = ((0.16, 0.24, 0.42), (0.15, 0.33, 0.33), (0.45, 0.17, 0.16))[rng.integers(3)]
        patch.paint(patch.cover(awning), tint(canvas, colour, 0.02), ground + 2.0)
    return canvas.record("boat", u, v, length=length, width=2 * beam, angle=angle)


def wake(canvas: Canvas, u: float, v: float, angle: float, *, length: float) -> None:
    """Paint the white water behind a moving boat."""
    patch = canvas.patch(u, v, angle, radius=length * 5)
    if patch is None:
        return
    behind = -patch.x - length * 0.3
    arms = np.abs(np.abs(patch.y) - behind * 0.22) - 0.03 * behind
    core = np.abs(patch.y) - 0.12 * length - 0.04 * behind
    spread = np.minimum(arms, core)
    fade = np.clip(1 - behind / (4.3 * length), 0, 1) * (behind > 0)
    foam = np.clip(0.6 - spread / 0.8, 0, 1) * fade * np.clip(0.55 + 0.4 * patch.grain, 0, 1)
    patch.paint(foam * 0.75, (0.86, 0.89, 0.88))


def plane(canvas: Canvas, u: float, v: float, angle: float, *, length: float) -> bool:
    """Draw an airliner seen from above; True if it is in the picture."""
    patch = canvas.patch(u, v, angle, radius=length * 0.62)
    if patch is None:
        return False
    rng = canvas.rng
    ground = float(np.median(patch.height))
    white = tint(canvas, (0.88, 0.88, 0.87), 0.03)
    grey = white * 0.86
    ribs = 1 - 0.06 * (np.abs(np.mod(patch.x, length * 0.05) - length * 0.025) < 0.12)
    for wings in (_wings(patch, length), _tailplane(patch, length)):
        patch.paint(patch.cover(wings), grey * ribs[..., None], ground + length * 0.10)
    _engines(canvas, patch, length, ground)
    radius = length * 0.052
    nose = np.clip((length / 2 - patch.x) / (length * 0.12), 0, 1) ** 0.5
    tail = np.clip((patch.x + length / 2) / (length * 0.30), 0.12, 1)
    girth = radius * np.minimum(nose, tail)
    hull = np.maximum(np.abs(patch.y) - girth, np.abs(patch.x) - length / 2)
    round_top = np.sqrt(np.clip(1 - (patch.y / (girth + 1e-6)) ** 2, 0, 1))
    patch.paint(patch.cover(hull), white, ground + length * 0.11 + radius * round_top)
    window = shapes.box(patch.x - length * 0.455, patch.y, length * 0.012, radius * 0.5, 0.1)
    patch.paint(patch.cover(window), GLASS)
    livery = ((0.14, 0.22, 0.45), (0.60, 0.14, 0.14), (0.12, 0.36, 0.34), (0.72, 0.45, 0.12))
    fin = shapes.convex(
        patch.x, patch.y,
        [(-0.36 * length, 0.004 * length), (-0.36 * length, -0.004 * length),
         (-0.49 * length, -0.011 * length), (-0.49 * length, 0.011 * length)],
    )  # fmt: skip
    patch.paint(
        patch.cover(fin), tint(canvas, livery[rng.integers(4)], 0.02), ground + length * 0.22
    )
    return canvas.record("plane", u, v, length=length, width=length * 0.95, angle=angle)


def _wings(patch: Patch, length: float) -> Array:
    side = np.abs(patch.y)
    inner = [(0.13, 0.0), (0.02, 0.17), (-0.075, 0.17), (-0.10, 0.0)]
    outer = [(0.025, 0.165), (-0.115, 0.475), (-0.15, 0.475), (-0.075, 0.165)]
    parts = [[(a * length, b * length) for a, b in corners] for corners in (inner, outer)]
    return shapes.union(*(shapes.convex(patch.x, side, corners) for corners in parts))


def _tailplane(patch: Patch, length: float) -> Array:
    corners = [(-0.38, 0.0), (-0.47, 0.17), (-0.50, 0.17), (-0.475, 0.0)]
    return shapes.convex(patch.x, np.abs(patch.y), [(a * length, b * length) for a, b in corners])


def _engines(canvas: Canvas, patch: Patch, length: float, ground: float) -> None:
    side = np.abs(patch.y)
    for x, y in ((0.075, 0.155),):
        pod = shapes.capsule(
            patch.x, side, ((x - 0.035) * length, y * length), ((x + 0.03) * length, y * length),
            0.02 * length,
        )  # fmt: skip
        patch.paint(
            patch.cover(pod), tint(canvas, (0.62, 0.63, 0.65), 0.03), ground + 0.09 * length
        )


def wagon(canvas: Canvas, u: float, v: float, angle: float, *, kind: str) -> bool:
    """Draw a railway wagon: ``open`` with ore or coal, ``covered`` or a round ``tanker``."""
    length, width = 14.0, 2.9
    patch = canvas.patch(u, v, angle, radius=length * 0.6)
    if patch is None:
        return False
    rng = canvas.rng
    ground = float(np.median(patch.height))
    body = shapes.box(patch.x, patch.y, length / 2 - 0.6, width / 2, 0.15)
    paints = ((0.45, 0.24, 0.17), (0.36, 0.37, 0.38), (0.24, 0.33, 0.42), (0.55, 0.47, 0.34))
    paint = tint(canvas, paints[rng.integers(4)], 0.03)
    if kind == "tanker":
        tank = shapes.box(patch.x, patch.y, length / 2 - 0.8, width / 2 - 0.1, 1.2)
        dome = np.sqrt(np.clip(1 - (patch.y / (width / 2)) ** 2, 0, 1))
        colour = tint(
            canvas, (0.30, 0.30, 0.31) if rng.random() < 0.5 else (0.78, 0.78, 0.76), 0.03
        )
        patch.paint(patch.cover(tank), colour, ground + 2.2 + 1.4 * dome)
    elif kind == "open":
        patch.paint(patch.cover(body), paint, ground + 2.8)
        load = tint(canvas, (0.17, 0.17, 0.17) if rng.random() < 0.6 else (0.50, 0.42, 0.33), 0.03)
        heap = ground + 2.3 + 0.5 * np.cos(patch.y) + 0.15 * patch.grain
        patch.paint(patch.cover(body + 0.35), load * (1 + 0.10 * patch.grain)[..., None], heap)
    else:
        ribs = 1 - 0.10 * (np.abs(np.mod(patch.x, 1.8) - 0.9) < 0.15)
        patch.paint(patch.cover(body), paint * ribs[..., None], ground + 3.8)
    return canvas.record("wagon", u, v, length=length - 1.2, width=width, angle=angle)
