"""Scenes drawn by our own code, and the caption bank: a gallery without any licence question."""

from rsctir_hf.drawn.bank import read_caption_bank
from rsctir_hf.drawn.canvas import DrawnObject
from rsctir_hf.drawn.gallery import (
    CATEGORIES,
    DrawnScene,
    GeoTransform,
    draw_scene,
    sample_folder,
)

__all__ = [
    "CATEGORIES",
    "DrawnObject",
    "DrawnScene",
    "GeoTransform",
    "draw_scene",
    "read_caption_bank",
    "sample_folder",
]
