"""Large scenes of which it is known what stands where, put together from pictures in a grid.

Pixels are real (UCM-Captions) or drawn by our own code; the place on the map is made up. Written
to a folder of the caller's choice, meant to be a temporary one: no picture of the development
data belongs into the repository.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawn_scenes import draw_scene
from rsctir_hf.geo.map_output import write_geotiff
from rsctir_hf.geo.placement import Place

CELL = 256  # pixels a side of a picture
GSD = 0.3  # metres a pixel, as in UCM
CRS = "EPSG:32611"
ORIGIN = (480_000.0, 3_760_000.0)  # metres east and north of the upper left corner
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """Something of which it is known where in the scene it lies.

    Attributes:
        kind: its class.
        box: left, top, right, bottom in pixels of the scene.
    """

    kind: str
    box: Box


@dataclass(frozen=True)
class Mosaic:
    """A scene on disk and what is in it."""

    path: Path
    size: tuple[int, int]
    things: tuple[Thing, ...]


def photo_mosaic(
    path: Path, pictures: Sequence[tuple[Image.Image, str]], *, side: int, seed: int
) -> Mosaic:
    """Lay pictures of known class on a square scene, in random order; the rest is nodata.

    Args:
        path: of the new GeoTIFF.
        pictures: with the class of each; one that is not 256 px a side is brought to it.
        side: of the scene in pixels.
        seed: of the order.

    Raises:
        ValueError: the scene has too few cells.
    """
    across = side // CELL
    if len(pictures) > across**2:
        raise ValueError(f"{len(pictures)} pictures do not fit into {across} x {across} cells.")
    canvas = np.zeros((side, side, 3), np.uint8)
    cells = np.random.default_rng(seed).permutation(across**2)[: len(pictures)]
    things = []
    for cell, (picture, kind) in zip(cells.tolist(), pictures, strict=True):
        left, top = cell % across * CELL, cell // across * CELL
        # 0 means nodata; a black pixel of a picture becomes the darkest that is not.
        pixels = np.maximum(np.asarray(picture.convert("RGB").resize((CELL, CELL))), 1)
        canvas[top : top + CELL, left : left + CELL] = pixels
        things.append(Thing(kind, (left, top, left + CELL, top + CELL)))
    return _written(path, canvas, things)


def drawn_mosaic(
    path: Path, categories: Sequence[str], *, across: int, first_seed: int, each: int
) -> Mosaic:
    """Draw ``each`` scenes of every category and lay them side by side, ``across`` a row.

    The scenes keep their pixels, though each was drawn at a resolution of its own.
    """
    jobs = [(name, first_seed + number) for number in range(each) for name in categories]
    rows = -(-len(jobs) // across)
    canvas = np.zeros((rows * CELL, across * CELL, 3), np.uint8)
    things = []
    for place, job in enumerate(jobs):
        left, top = place % across * CELL, place // across * CELL
        scene = draw_scene(*job)
        pixels = np.asarray(scene.image)[:CELL, :CELL]
        canvas[top : top + CELL, left : left + CELL] = np.maximum(pixels, 1)
        for found in scene.objects:
            x, y, width, height = found.bbox
            if x + width / 2 < CELL:  # some scenes are wider than a cell
                things.append(
                    Thing(found.category, (left + x, top + y, left + x + width, top + y + height))
                )
    return _written(path, canvas, things)


def repeated_mosaic(path: Path, files: Sequence[Path], *, side: int, seed: int) -> Mosaic:
    """Fill a square scene with pictures in random order, over and over, to the last pixel."""
    cells = -(-side // CELL)
    order = np.random.default_rng(seed).integers(len(files), size=(cells, cells))
    shown = [np.asarray(Image.open(file).convert("RGB"))[:CELL, :CELL] for file in files]
    canvas = np.concatenate(
        [np.concatenate([shown[cell] for cell in row], axis=1) for row in order]
    )
    return _written(path, canvas[:side, :side], ())


def _written(path: Path, canvas: NDArray[np.uint8], things: Sequence[Thing]) -> Mosaic:
    height, width, _ = canvas.shape
    transform = (GSD, 0.0, ORIGIN[0], 0.0, -GSD, ORIGIN[1])
    write_geotiff(path, np.moveaxis(canvas, 2, 0), place=Place(transform, CRS), nodata=0)
    return Mosaic(path, (width, height), tuple(things))
