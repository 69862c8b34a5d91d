"""Light and camera: from albedo and heights to a picture as an aerial sensor would take it.

The sun stands at one place for the whole scene. Shading is Lambert's cosine over the height field,
shadows are found by marching from every pixel towards the sun, and haze, colour cast, optical blur
and sensor noise come last.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from drawn_scenes.canvas import MARGIN, SUPERSAMPLING, Array, Canvas

SKY = np.array([0.86, 0.97, 1.18], dtype=np.float32)
SUN = np.array([1.05, 1.0, 0.92], dtype=np.float32)
AMBIENT = 0.40  # share of the light on flat open ground that comes from the sky


@dataclass(frozen=True)
class Light:
    """Sun and camera of one picture.

    Attributes:
        azimuth: direction to the sun in the picture, radians from right, clockwise.
        elevation: of the sun, radians.
        haze: 0..1 share of air light mixed in.
        gain: (3,) colour cast of the sensor.
        exposure: factor on all channels.
        blur: radius of the optical blur in picture pixels.
        noise: standard deviation of the sensor noise, 0..255.
        saturation: of the colours, 1 leaves them alone.
    """

    azimuth: float
    elevation: float
    haze: float
    gain: tuple[float, float, float]
    exposure: float
    blur: float
    noise: float
    saturation: float


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a plausible late-morning sun and a slightly imperfect camera."""
    warm = rng.normal(0, 0.025)
    green = rng.normal(0, 0.012)
    return Light(
        azimuth=float(rng.uniform(0, 2 * np.pi)),
        elevation=float(np.radians(rng.uniform(36, 58))),
        haze=float(rng.uniform(0.01, 0.13)),
        gain=(1 + float(warm), 1 + float(green), 1 - float(warm)),
        exposure=float(rng.uniform(1.04, 1.22)),
        blur=float(rng.uniform(0.25, 0.55)),
        noise=float(rng.uniform(1.0, 2.6)),
        saturation=float(rng.uniform(0.74, 0.98)),
    )


def render(canvas: Canvas, light: Light) -> Image.Image:
    """Expose the canvas to the light and return the finished RGB picture."""
    sun = _shading(canvas, light) * (1 - _shadow(canvas, light))
    sky = _openness(canvas)
    lit = AMBIENT * sky[..., None] * SKY + (1 - AMBIENT) * sun[..., None] * SUN
    picture = canvas.albedo * lit * light.exposure * np.asarray(light.gain, dtype=np.float32)
    grey = picture @ np.array([0.30, 0.59, 0.11], dtype=np.float32)
    picture = grey[..., None] + light.saturation * (picture - grey[..., None])
    air = np.array([0.74, 0.79, 0.84], dtype=np.float32)
    picture = picture * (1 - light.haze) + light.haze * air
    picture = _shoulder(picture)
    return _develop(canvas, picture, light)


def _shading(canvas: Canvas, light: Light) -> Array:
    """Cosine of the angle between surface and sun, one on flat ground."""
    slope_y, slope_x = np.gradient(canvas.height, canvas.pixel)
    slope_x, slope_y = np.clip(slope_x, -3, 3), np.clip(slope_y, -3, 3)
    sun_x = np.cos(light.azimuth) * np.cos(light.elevation)
    sun_y = np.sin(light.azimuth) * np.cos(light.elevation)
    cosine = (np.sin(light.elevation) - slope_x * sun_x - slope_y * sun_y) / np.sqrt(
        1 + slope_x**2 + slope_y**2
    )
    return np.clip(cosine / np.sin(light.elevation), 0.12, 1.3)


def _shadow(canvas: Canvas, light: Light) -> Array:
    """Share of the sun that higher things take away, 0..1 (H, W)."""
    height = canvas.height
    rise = np.tan(light.elevation) * canvas.pixel  # metres the sun ray climbs a working pixel
    steps = int(min((height.max() - height.min()) / rise + 1, 220))
    taken = np.zeros_like(height)
    for step in range(1, steps + 1):
        dx = round(step * np.cos(light.azimuth))
        dy = round(step * np.sin(light.azimuth))
        here, there = _overlap(height.shape, dx, dy)
        excess = height[there] - height[here] - step * rise
        # a sharper edge near the object, a softer one farther away (penumbra)
        edge = np.clip(excess / (rise * (1.2 + 0.05 * step)), 0, 1)
        taken[here] = np.maximum(taken[here], edge)
    return taken * np.float32(0.96)


def _overlap(shape: tuple[int, ...], dx: int, dy: int) -> tuple[tuple, tuple]:
    rows, columns = shape
    here = np.s_[max(-dy, 0) : rows - max(dy, 0), max(-dx, 0) : columns - max(dx, 0)]
    there = np.s_[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)]
    return here, there


def _openness(canvas: Canvas) -> Array:
    """How much sky a pixel sees: less beside walls and between trees (ambient occlusion)."""
    around = blur(canvas.height, 2.0 / canvas.pixel)
    return np.clip(1 - 0.13 * np.clip(around - canvas.height, -0.6, 3.0), 0.55, 1.1)


def blur(values: Array, radius: float) -> Array:
    """Cheap wide blur of (H, W): shrink with a box filter, enlarge with a cubic one."""
    rows, columns = values.shape
    small = (max(int(columns / radius), 1), max(int(rows / radius), 1))
    image = Image.fromarray(values.astype(np.float32)).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((columns, rows), Image.Resampling.BICUBIC))


def _shoulder(picture: Array) -> Array:
    """Compress highlights softly, as film and sensors' tone curves do."""
    return np.where(picture < 0.8, picture, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.2))


def _develop(canvas: Canvas, picture: Array, light: Light) -> Image.Image:
    rng = np.random.default_rng(canvas.rng.integers(2**32))
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    cut = MARGIN * SUPERSAMPLING
    width, height = canvas.size
    area = (cut, cut, cut + width * SUPERSAMPLING, cut + height * SUPERSAMPLING)
    image = image.resize((width, height), Image.Resampling.BOX, area)
    image = image.filter(ImageFilter.GaussianBlur(light.blur))
    values = np.asarray(image, dtype=np.float32)
    values += rng.normal(0, light.noise, (height, width, 1))
    values += rng.normal(0, light.noise * 0.35, (height, width, 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
