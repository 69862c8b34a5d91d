"""Things that stand: pitched houses, flat blocks, tanks, pools, each in its own frame."""

import numpy as np

from drawn_scenes import shapes
from drawn_scenes.canvas import Array, Canvas, Patch
from drawn_scenes.ground import tint

ROOFS = {
    "red": ((0.55, 0.33, 0.26), (0.60, 0.40, 0.32), (0.51, 0.32, 0.26)),
    "brown": ((0.46, 0.38, 0.32), (0.52, 0.44, 0.36), (0.41, 0.34, 0.29)),
    "grey": ((0.50, 0.50, 0.51), (0.43, 0.44, 0.46), (0.58, 0.57, 0.56)),
    "white": ((0.82, 0.81, 0.79), (0.77, 0.77, 0.76), (0.84, 0.82, 0.78)),
    "dark": ((0.29, 0.30, 0.32), (0.25, 0.25, 0.27), (0.33, 0.33, 0.34)),
}
POOL = (0.30, 0.66, 0.72)
WALL = 3.2  # metres to the eaves

Place = tuple[float, float, float]  # east and north of the middle in metres, and the angle


def house(
    canvas: Canvas,
    place: Place,
    *,
    length: float,
    width: float,
    roof: str,
    name: str = "house",
) -> bool:
    """Draw a house with a gabled or hipped roof, often with a wing; True if in the picture."""
    rng = canvas.rng
    u, v, angle = place
    patch = canvas.patch(u, v, angle, radius=np.hypot(length, width) * 0.75)
    if patch is None:
        return False
    ground = float(np.percentile(patch.height, 20))
    shades = ROOFS[roof]
    base = tint(canvas, shades[rng.integers(len(shades))], 0.025)
    slope = float(rng.uniform(0.42, 0.62))
    hipped = rng.random() < 0.6
    footprint, rise = _roof(patch.x, patch.y, length / 2, width / 2, slope, hipped)
    if rng.random() < 0.65:  # a wing across the main ridge
        side = rng.choice([-1.0, 1.0])
        shift = float(rng.uniform(-0.25, 0.25)) * length
        wing_half = width * float(rng.uniform(0.24, 0.33))
        wing, wing_rise = _roof(
            patch.y - side * width * 0.32, patch.x - shift, width * 0.42, wing_half, slope, hipped
        )
        rise = np.maximum(np.where(footprint < 0, rise, -1), np.where(wing < 0, wing_rise, -1))
        footprint = np.minimum(footprint, wing)
    rows = np.sin(2 * np.pi * rise / 0.32)
    tone = 1 + 0.045 * patch.grain + 0.02 * rows
    mask = patch.cover(footprint)
    patch.paint(mask, base * tone[..., None], ground + WALL + np.maximum(rise, 0))
    _roof_furniture(canvas, patch, footprint, ground, length)
    return canvas.record(name, u, v, length=length, width=width, angle=angle)


def _roof(
    x: Array, y: Array, half_length: float, half_width: float, slope: float, hipped: bool
) -> tuple[Array, Array]:
    """Signed distance of the eaves and height of the roof above them, metres."""
    footprint = shapes.box(x, y, half_length, half_width)
    rise = half_width - np.abs(y)
    if hipped:
        rise = np.minimum(rise, half_length - np.abs(x))
    return footprint, np.clip(rise, 0, None) * slope


def _roof_furniture(
    canvas: Canvas, patch: Patch, footprint: Array, ground: float, length: float
) -> None:
    """Chimneys and skylights."""
    rng = canvas.rng
    for _ in range(rng.integers(0, 3)):
        du, dv = rng.uniform(-0.35, 0.35) * length, rng.uniform(-0.15, 0.15) * length
        spot = shapes.box(patch.x - du, patch.y - dv, 0.45, 0.4)
        inside = patch.cover(spot) * (footprint < -0.6)
        if rng.random() < 0.5:
            patch.paint(inside, (0.45, 0.40, 0.37), patch.height + 1.2)
        else:
            patch.paint(inside, (0.70, 0.73, 0.76))


def block(
    canvas: Canvas,
    place: Place,
    *,
    length: float,
    width: float,
    tall: float,
    name: str = "building",
) -> bool:
    """Draw a flat-roofed building with parapet and plant on its roof; True if in the picture."""
    rng = canvas.rng
    u, v, angle = place
    patch = canvas.patch(u, v, angle, radius=np.hypot(length, width) * 0.55)
    if patch is None:
        return False
    ground = float(np.percentile(patch.height, 20))
    base = tint(
        canvas, ((0.70, 0.69, 0.66), (0.60, 0.60, 0.60), (0.76, 0.74, 0.70))[rng.integers(3)], 0.02
    )
    outline = shapes.box(patch.x, patch.y, length / 2, width / 2)
    mask = patch.cover(outline)
    seams = 1 - 0.03 * (np.abs(np.mod(patch.x, 3.0) - 1.5) < 0.12)
    patch.paint(mask, base * 1.12, ground + tall + 0.7)
    tone = (seams + 0.03 * patch.grain)[..., None]
    patch.paint(patch.cover(outline + 0.5), base * 0.94 * tone, ground + tall)
    c, s = np.cos(angle), np.sin(angle)
    for _ in range(min(int(length * width / 90) + 1, 24)):
        du = rng.uniform(-0.4, 0.4) * length
        dv = rng.uniform(-0.36, 0.36) * width
        a, b = rng.uniform(0.5, 1.5, 2)
        colour, top = tint(canvas, (0.72, 0.73, 0.73), 0.06), tall + rng.uniform(0.8, 1.8)
        spot = (u + c * du - s * dv, v + s * du + c * dv)
        unit = canvas.patch(*spot, angle, radius=2.5)
        if unit is not None:
            unit.paint(unit.cover(shapes.box(unit.x, unit.y, a, b)), colour, ground + top)
    return canvas.record(name, u, v, length=length, width=width, angle=angle)


def tank(canvas: Canvas, u: float, v: float, *, radius: float, tall: float) -> bool:
    """Draw a cylindrical storage tank with a fixed cone or a sunken floating roof."""
    rng = canvas.rng
    patch = canvas.patch(u, v, float(rng.uniform(0, 6.3)), radius=radius * 1.15)
    if patch is None:
        return False
    ground = float(np.percentile(patch.height, 20))
    distance = np.hypot(patch.x, patch.y)
    base = tint(
        canvas, ((0.84, 0.84, 0.82), (0.78, 0.78, 0.76), (0.72, 0.69, 0.63))[rng.integers(3)], 0.02
    )
    turn = np.arctan2(patch.y, patch.x)
    plates = 1 - 0.035 * (np.abs(np.sin(8 * turn)) < 2.0 / (distance + 2.0) * 0.12)
    stains = 1 - 0.05 * np.clip(np.sin(5 * turn + rng.uniform(0, 6)) * distance / radius, 0, 1)
    mask = patch.cover(distance - radius)
    tone = (plates * stains + 0.02 * patch.grain)[..., None]
    if rng.random() < 0.45:  # floating roof below the rim
        patch.paint(mask, base, ground + tall)
        sunk = patch.cover(distance - radius + 0.45)
        roof = base * 0.90 * tone
        patch.paint(sunk, roof, ground + tall * float(rng.uniform(0.72, 0.92)))
        ladder = shapes.capsule(patch.x, patch.y, (0.0, 0.0), (radius - 0.4, 0.0), 0.35)
        patch.paint(patch.cover(ladder), base * 0.72)
    else:
        cone = tall + (radius - distance) * 0.10
        patch.paint(mask, base * tone, ground + cone)
        rim = patch.cover(np.abs(distance - radius + 0.35) - 0.15)
        patch.paint(rim, base * 0.8)
    stair = shapes.box(patch.x - radius - 0.2, patch.y, 0.5, 2.0)
    patch.paint(patch.cover(stair), (0.5, 0.5, 0.5), ground + tall * 0.6)
    return canvas.record("storage tank", u, v, length=2 * radius, width=2 * radius)


def pool(canvas: Canvas, u: float, v: float, angle: float, *, length: float) -> bool:
    """Draw a garden pool with a paved rim; True if in the picture."""
    patch = canvas.patch(u, v, angle, radius=length * 0.9)
    if patch is None:
        return False
    shape = shapes.box(patch.x, patch.y, length / 2, length * 0.27, length * 0.2)
    patch.paint(patch.cover(shape - 0.9), (0.74, 0.71, 0.65))
    patch.paint(patch.cover(shape), tint(canvas, POOL, 0.02) * (1 + 0.03 * patch.grain)[..., None])
    return canvas.record("swimming pool", u, v, length=length, width=length * 0.54, angle=angle)
