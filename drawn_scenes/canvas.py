"""The sheet a scene is drawn on: what the ground is made of (albedo) and how high it stands.

Scenes are drawn in metres in a frame of their own, turned by a random angle against the picture.
Nothing here knows about light: shadows and shading follow from the heights, in ``light.py``.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

Array = np.ndarray
Colour = tuple[float, float, float] | Array

SUPERSAMPLING = 2
MARGIN = 20  # output pixels drawn around the picture, so that shadows fall in from outside
LEAST_VISIBLE = 0.5  # an object cut more than this by the frame is not reported


@dataclass(frozen=True)
class DrawnObject:
    """One thing in the picture.

    Attributes:
        category: what it is, for example ``"plane"``.
        bbox: x, y, width, height in pixels of the picture.
    """

    category: str
    bbox: tuple[float, float, float, float]


@dataclass
class Patch:
    """A window of the canvas with coordinates of its own.

    Attributes:
        x: (H, W) metres along the window's own first axis.
        y: (H, W) metres along its second axis.
        albedo: (H, W, 3) view of the canvas, 0..1.
        height: (H, W) view of the canvas, metres.
        grain: (H, W) view of fine noise of unit variance.
        pixel: metres per working pixel.
    """

    x: Array
    y: Array
    albedo: Array
    height: Array
    grain: Array
    pixel: float

    def cover(self, distance: Array, soft: float = 0.0) -> Array:
        """Turn a signed distance (metres) into coverage 0..1, antialiased or softer."""
        return np.clip(0.5 - distance / max(self.pixel, soft), 0, 1)

    def paint(self, mask: Array, colour: Colour, height: Array | float | None = None) -> None:
        """Lay a colour, and if given a height in metres, over what is there."""
        cover = mask[..., None]
        self.albedo += cover * (np.asarray(colour, dtype=np.float32) - self.albedo)
        if height is not None:
            self.height += mask * (height - self.height)

    def stain(self, mask: Array, factor: float) -> None:
        """Multiply the albedo by ``factor`` where the mask is one."""
        self.albedo *= 1 + mask[..., None] * (factor - 1)


class Canvas(Patch):
    """The whole sheet.

    Args:
        rng: the only source of chance for everything drawn.
        width: of the picture in pixels.
        height_px: of the picture in pixels.
        gsd: ground sampling distance, metres per picture pixel.
        angle: of the scene frame against the picture, radians.
    """

    def __init__(
        self, rng: np.random.Generator, *, width: int, height_px: int, gsd: float, angle: float
    ) -> None:
        self.rng = rng
        self.size = (width, height_px)
        self.gsd = gsd
        self.angle = angle
        self.objects: list[DrawnObject] = []
        rows = (height_px + 2 * MARGIN) * SUPERSAMPLING
        columns = (width + 2 * MARGIN) * SUPERSAMPLING
        pixel = gsd / SUPERSAMPLING
        right = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * pixel
        down = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * pixel
        self._right, self._down = np.meshgrid(right, down)
        x, y = _turn(self._right, self._down, angle)
        grain = rng.standard_normal((rows, columns), dtype=np.float32)
        super().__init__(
            x=x,
            y=y,
            albedo=np.full((rows, columns, 3), 0.5, dtype=np.float32),
            height=np.zeros((rows, columns), dtype=np.float32),
            grain=grain,
            pixel=pixel,
        )
        self.terrain = np.zeros((rows, columns), dtype=np.float32)
        self.blocked = np.zeros((rows, columns), dtype=bool)
        # one season and one kind of soil a scene: all its leaves lean the same way
        lushness = rng.uniform(0.95, 1.45)
        warmth = rng.normal(0, 0.05)
        self.foliage = lushness * np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)

    @property
    def reach(self) -> float:
        """Metres from the centre to a corner of the picture."""
        return float(np.hypot(*self.size)) / 2 * self.gsd

    @property
    def span(self) -> tuple[float, float]:
        """Half the width and half the height of the picture in metres."""
        return self.size[0] / 2 * self.gsd, self.size[1] / 2 * self.gsd

    def noise(self, scale: float, octaves: int = 3) -> Array:
        """Fractal noise (H, W) of about unit variance; ``scale`` = metres of its largest blobs."""
        rows, columns = self.height.shape
        total = np.zeros((rows, columns), dtype=np.float32)
        power = 0.0
        for octave in range(octaves):
            cell = max(scale / self.pixel / 2**octave, 1.0)
            shape = (int(rows / cell) + 3, int(columns / cell) + 3)
            grid = self.rng.standard_normal(shape, dtype=np.float32)
            left, top = self.rng.uniform(0, 1, 2)
            area = (left, top, left + columns / cell, top + rows / cell)
            resized = Image.fromarray(grid).resize((columns, rows), Image.Resampling.BICUBIC, area)
            total += 0.55**octave * np.asarray(resized)
            power += 0.55 ** (2 * octave)
        return total / np.float32(0.72 * np.sqrt(power))

    def streaks(self, along: float, across: float, angle: float = 0.0) -> Array:
        """Stretched noise (H, W): blobs of ``along`` by ``across`` metres at a scene angle."""
        x, y = _turn(self.x, self.y, angle)
        grid = self.rng.standard_normal((256, 256), dtype=np.float32)
        return sample_grid(grid, x / along + 128, y / across + 128)

    def patch(self, u: float, v: float, angle: float = 0.0, *, radius: float) -> Patch | None:
        """Window around a scene point with axes turned by ``angle``; None if out of sight."""
        right, down = self.to_ground(u, v)
        rows, columns = self.height.shape
        centre_x = right / self.pixel + (columns - 1) / 2
        centre_y = down / self.pixel + (rows - 1) / 2
        r = radius / self.pixel + 2
        x0, x1 = max(int(centre_x - r), 0), min(int(centre_x + r) + 1, columns)
        y0, y1 = max(int(centre_y - r), 0), min(int(centre_y + r) + 1, rows)
        if x0 >= x1 or y0 >= y1:
            return None
        window = np.s_[y0:y1, x0:x1]
        x, y = _turn(self._right[window] - right, self._down[window] - down, self.angle + angle)
        return Patch(x, y, self.albedo[window], self.height[window], self.grain[window], self.pixel)

    def to_ground(self, u: float, v: float) -> tuple[float, float]:
        """Scene metres -> metres right of and below the centre of the picture."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return float(c * u - s * v), float(s * u + c * v)

    def to_pixel(self, u: float, v: float) -> tuple[float, float]:
        """Scene metres -> pixel coordinates of the picture."""
        right, down = self.to_ground(u, v)
        return right / self.gsd + self.size[0] / 2, down / self.gsd + self.size[1] / 2

    def from_picture(self, right: float, down: float) -> tuple[float, float]:
        """Metres right of and below the centre -> scene metres."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return float(c * right + s * down), float(-s * right + c * down)

    def sees(self, u: float, v: float, margin: float = 0.0) -> bool:
        """Whether a scene point lies in the picture, at least ``margin`` metres from its edge."""
        x, y = self.to_pixel(u, v)
        edge = margin / self.gsd
        return edge <= x < self.size[0] - edge and edge <= y < self.size[1] - edge

    def record(
        self, category: str, u: float, v: float, *, length: float, width: float, angle: float = 0.0
    ) -> bool:
        """Note an object by its oriented size in metres; False if the frame hides most of it."""
        c, s = np.cos(angle), np.sin(angle)
        corners = [
            self.to_pixel(u + c * a - s * b, v + s * a + c * b)
            for a in (-length / 2, length / 2)
            for b in (-width / 2, width / 2)
        ]
        xs, ys = zip(*corners, strict=True)
        left, right = max(min(xs), 0.0), min(max(xs), float(self.size[0]))
        top, bottom = max(min(ys), 0.0), min(max(ys), float(self.size[1]))
        whole = (max(xs) - min(xs)) * (max(ys) - min(ys))
        if (
            left >= right
            or top >= bottom
            or (right - left) * (bottom - top) < LEAST_VISIBLE * whole
        ):
            return False
        bbox = tuple(round(n, 1) for n in (left, top, right - left, bottom - top))
        self.objects.append(DrawnObject(category, bbox))  # type: ignore[arg-type]
        return True

    def count(self, category: str) -> int:
        """Number of objects of a category noted so far."""
        return sum(o.category == category for o in self.objects)

    def raise_land(self, relief: Array) -> None:
        """Add relief (H, W) in metres to the bare ground, before anything is put on it."""
        self.terrain += relief
        self.height += relief

    def land_at(self, u: float, v: float) -> float:
        """Height of the bare ground in metres under a scene point (nearest pixel)."""
        right, down = self.to_ground(u, v)
        rows, columns = self.terrain.shape
        row = int(np.clip(down / self.pixel + rows / 2, 0, rows - 1))
        column = int(np.clip(right / self.pixel + columns / 2, 0, columns - 1))
        return float(self.terrain[row, column])

    def block(self, mask: Array) -> None:
        """Keep later plants and houses off the places where the mask is above one half."""
        self.blocked |= mask > 0.5

    def free(self, u: float, v: float, radius: float = 0.0) -> bool:
        """Whether a disc around a scene point is on the sheet and touches nothing blocked."""
        right, down = self.to_ground(u, v)
        rows, columns = self.height.shape
        turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        xs = np.append(right, right + radius * np.cos(turns)) / self.pixel + columns / 2
        ys = np.append(down, down + radius * np.sin(turns)) / self.pixel + rows / 2
        inside = (xs >= 0) & (xs < columns) & (ys >= 0) & (ys < rows)
        if not inside[0]:
            return False
        hit = self.blocked[ys[inside].astype(int), xs[inside].astype(int)]
        return not hit.any()


def _turn(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def sample_grid(grid: Array, x: Array, y: Array) -> Array:
    """Bilinear look-up of a grid (n, m) that repeats, at float positions."""
    n, m = grid.shape
    x0, y0 = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    fx, fy = x - x0, y - y0
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    left, right, top, bottom = x0 % m, (x0 + 1) % m, y0 % n, (y0 + 1) % n
    upper = grid[top, left] * (1 - fx) + grid[top, right] * fx
    lower = grid[bottom, left] * (1 - fx) + grid[bottom, right] * fx
    return upper * (1 - fy) + lower * fy
