"""Changes to training pictures, each a pure function of (seed, epoch, row).

An overhead picture has no preferred way up, so the 8 symmetries of the square (four turns, each
also mirrored) keep its meaning. They need no interpolation. Captions that say "left" or "above"
are rare in the benchmarks and are left as they are.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from rsctir_hf.files.pictures import SYMMETRIES, turned

# Aspect ratios of a random crop, as in torchvision's RandomResizedCrop.
_CROP_RATIO = (3 / 4, 4 / 3)
# Keeps the random streams of the rows apart from that of the order (see data/sampler.py).
_STREAM = 2


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training picture.

    Attributes:
        symmetries: draw one of the 8 symmetries of the square.
        crop_scale: least and greatest share of the picture's area that a random crop keeps, for
            example (0.6, 1.0); ``None`` does not crop. The processor resizes the crop.
        colour_jitter: brightness, contrast and saturation are each multiplied by a factor drawn
            from 1 - x .. 1 + x; 0 leaves colours alone.
    """

    symmetries: bool = True
    crop_scale: tuple[float, float] | None = None
    colour_jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_scale is not None:
            low, high = self.crop_scale
            if not 0.0 < low <= high <= 1.0:
                raise ValueError(
                    f"crop_scale is ({low}, {high}); expected 0 < least <= greatest <= 1."
                )
        if not 0.0 <= self.colour_jitter < 1.0:
            raise ValueError(f"colour_jitter is {self.colour_jitter}; expected 0 <= x < 1.")

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return a changed copy of an RGB picture."""
        if self.crop_scale is not None:
            picture = picture.crop(_random_box(picture.size, self.crop_scale, rng))
        if self.symmetries:
            picture = turned(picture, SYMMETRIES[rng.integers(len(SYMMETRIES))])
        if self.colour_jitter:
            for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                factor = 1.0 + self.colour_jitter * rng.uniform(-1.0, 1.0)
                picture = enhancer(picture).enhance(factor)
        return picture


def row_generator(seed: int, *, epoch: int, row: int) -> np.random.Generator:
    """Return the random numbers of one row in one epoch, the same in every process."""
    return np.random.default_rng([seed, epoch, _STREAM, row])


def _random_box(
    size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a crop box (left, top, right, bottom) in pixels."""
    width, height = size
    area = width * height * rng.uniform(*scale)
    ratio = np.exp(rng.uniform(*np.log(_CROP_RATIO)))
    crop_width = int(np.clip(round(np.sqrt(area * ratio)), 1, width))
    crop_height = int(np.clip(round(np.sqrt(area / ratio)), 1, height))
    left = int(rng.integers(width - crop_width + 1))
    top = int(rng.integers(height - crop_height + 1))
    return left, top, left + crop_width, top + crop_height
