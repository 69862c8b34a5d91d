"""Ground covers: grass, soil, sand, water and pavements as textures (H, W, 3) over a canvas."""

import numpy as np

from drawn_scenes.canvas import Array, Canvas, Colour

DRY_GRASS = (0.56, 0.52, 0.39)
WHITE_PAINT = (0.88, 0.88, 0.86)
YELLOW_PAINT = (0.80, 0.68, 0.30)


def mix(first: Colour, second: Colour, share: Array | float) -> Array:
    """Blend two colours; ``share`` (H, W) or a number is the weight of the second."""
    weight = np.clip(np.asarray(share, dtype=np.float32), 0, 1)[..., None]
    a, b = np.asarray(first, dtype=np.float32), np.asarray(second, dtype=np.float32)
    return a + weight * (b - a)


def tint(canvas: Canvas, colour: tuple[float, float, float], amount: float = 0.04) -> Array:
    """Return the colour (3,) moved a little at random: no two roofs are quite alike."""
    shift = canvas.rng.normal(0, amount) + canvas.rng.normal(0, amount * 0.2, 3)
    return np.clip(np.asarray(colour) + shift, 0.03, 0.97).astype(np.float32)


def textured(canvas: Canvas, colour: Colour, *, coarse: float, fine: float, scale: float) -> Array:
    """Multiply a colour by smooth mottling and fine grain of the given relative strengths."""
    mottle = 1 + coarse * canvas.noise(scale, 4) + fine * canvas.grain
    return np.asarray(colour, dtype=np.float32) * mottle[..., None]


def grass(canvas: Canvas, dry: float | None = None) -> Array:
    """Meadow or lawn; ``dry`` 0 is lush, 1 is straw."""
    rng = canvas.rng
    dry = float(rng.uniform(0.1, 0.6)) if dry is None else dry
    green = tint(canvas, (0.335, 0.405, 0.225), 0.015)
    patches = dry + 0.16 * canvas.noise(canvas.reach / 1.5, 4) + 0.10 * canvas.noise(3.0, 3)
    return textured(canvas, mix(green, DRY_GRASS, patches), coarse=0.05, fine=0.07, scale=6.0)


def scrub(canvas: Canvas) -> Array:
    """Dry open ground with darker specks of low plants."""
    soil = mix((0.60, 0.53, 0.42), (0.47, 0.44, 0.33), 0.5 + 0.4 * canvas.noise(25.0, 4))
    specks = np.clip(canvas.noise(1.8, 2) - 0.9, 0, 1)
    return textured(canvas, mix(soil, (0.30, 0.33, 0.22), specks), coarse=0.05, fine=0.05, scale=8)


def soil(canvas: Canvas, colour: tuple[float, float, float] = (0.57, 0.46, 0.35)) -> Array:
    """Bare earth."""
    base = mix(tint(canvas, colour, 0.02), (0.68, 0.60, 0.49), 0.25 + 0.25 * canvas.noise(14.0, 5))
    return textured(canvas, base, coarse=0.04, fine=0.05, scale=2.5)


def sand(canvas: Canvas) -> Array:
    """Pale beach sand with faint trampled mottling."""
    base = mix((0.80, 0.73, 0.60), (0.72, 0.65, 0.53), 0.4 + 0.3 * canvas.noise(18.0, 4))
    return textured(canvas, base, coarse=0.035, fine=0.035, scale=1.5)


def asphalt(canvas: Canvas, lightness: float | None = None) -> Array:
    """Road surface with repairs, wear and hairline cracks."""
    rng = canvas.rng
    level = float(rng.uniform(0.38, 0.52)) if lightness is None else lightness
    base = textured(canvas, (level, level, level * 1.01), coarse=0.05, fine=0.035, scale=10.0)
    crack = np.abs(canvas.noise(9.0, 4)) < 0.02
    base *= 1 - 0.10 * crack[..., None]
    return base * (1 - 0.05 * np.clip(canvas.noise(2.5, 2) - 1.0, 0, 1)[..., None])


def concrete(canvas: Canvas, slab: float = 6.0) -> Array:
    """Concrete slabs with joints every ``slab`` metres along the scene's axes."""
    level = tint(canvas, (0.66, 0.65, 0.61), 0.02)
    base = textured(canvas, level, coarse=0.035, fine=0.025, scale=12.0)
    joints = (np.abs(np.mod(canvas.x, slab) - slab / 2) > slab / 2 - 0.12) | (
        np.abs(np.mod(canvas.y, slab) - slab / 2) > slab / 2 - 0.12
    )
    cell = np.floor(canvas.x / slab).astype(int) * 7919 + np.floor(canvas.y / slab).astype(int)
    shade = np.sin(cell * 12.9898) * 0.022
    return base * (1 + shade - 0.09 * joints)[..., None]


def water(canvas: Canvas, colour: tuple[float, float, float] | None = None) -> Array:
    """Open water: slow colour drift, wind ripples in one direction, a sprinkle of sun glint."""
    rng = canvas.rng
    palette = [(0.13, 0.24, 0.27), (0.20, 0.27, 0.24), (0.12, 0.20, 0.26), (0.25, 0.29, 0.23)]
    base = palette[rng.integers(len(palette))] if colour is None else colour
    wind = float(rng.uniform(0, np.pi))
    ripple = canvas.streaks(2.6, 0.9, wind) + 0.7 * canvas.streaks(6.0, 1.9, wind + 0.25)
    swell = canvas.noise(canvas.reach / 1.2, 3)
    tone = 1 + 0.05 * swell + 0.045 * ripple + 0.02 * canvas.grain
    glint = np.clip(ripple - 2.1 + 0.25 * swell, 0, 1) * 0.16
    return tint(canvas, base, 0.012) * tone[..., None] + glint[..., None]


def ploughed(canvas: Canvas, colour: Colour, *, angle: float, spacing: float) -> Array:
    """Crop rows or furrows: fine lines at a scene angle that waver a little."""
    across = canvas.y * np.cos(angle) - canvas.x * np.sin(angle)
    wave = np.sin(2 * np.pi * across / spacing + 0.5 * canvas.noise(30.0, 2))
    lanes = canvas.streaks(40.0, spacing * 1.7, angle)
    base = textured(canvas, colour, coarse=0.05, fine=0.05, scale=20.0)
    return base * (1 + 0.05 * wave + 0.045 * lanes)[..., None]
