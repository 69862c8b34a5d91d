"""The drawn gallery: scene types, drawing one scene, where the committed pictures lie."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from drawn_scenes import built, land, roads, sports, terminals
from drawn_scenes.canvas import Canvas, DrawnObject
from drawn_scenes.captions import Facts, describe
from drawn_scenes.light import draw_light, render
from rsctir_hf.errors import QueryError

SCENES_PER_CATEGORY = 10
PICTURE_SIZE = 256
WIDE_SIZE = 320  # every fifth scene of a category is wider than high
UTM_ZONES = (32632, 32633, 32618, 32650, 32734, 32719)  # EPSG codes; the places are made up


@dataclass(frozen=True)
class SceneType:
    """How a type of scene is drawn.

    Attributes:
        draw: paints the canvas and returns the facts its captions may speak of.
        gsd: least and largest ground sampling distance in metres per pixel.
    """

    draw: Callable[[Canvas], Facts]
    gsd: tuple[float, float]


SCENE_TYPES: dict[str, SceneType] = {
    "airport": SceneType(terminals.airport, (0.36, 0.5)),
    "baseball_diamond": SceneType(sports.baseball_diamond, (0.32, 0.42)),
    "beach": SceneType(land.beach, (0.28, 0.42)),
    "bridge": SceneType(roads.bridge, (0.32, 0.48)),
    "circular_fields": SceneType(land.circular_fields, (3.0, 5.0)),
    "dense_residential": SceneType(built.dense_residential, (0.29, 0.36)),
    "forest": SceneType(land.forest, (0.28, 0.40)),
    "golf_course": SceneType(sports.golf_course, (0.42, 0.55)),
    "harbor": SceneType(terminals.harbor, (0.28, 0.36)),
    "overpass": SceneType(roads.overpass, (0.3, 0.42)),
    "parking_lot": SceneType(roads.parking_lot, (0.24, 0.32)),
    "railway_yard": SceneType(terminals.railway_yard, (0.28, 0.38)),
    "river": SceneType(land.river, (0.5, 0.8)),
    "roundabout": SceneType(roads.roundabout, (0.28, 0.36)),
    "running_track": SceneType(sports.running_track, (0.62, 0.8)),
    "solar_farm": SceneType(built.solar_farm, (0.28, 0.4)),
    "sparse_residential": SceneType(built.sparse_residential, (0.28, 0.36)),
    "storage_tanks": SceneType(built.storage_tanks, (0.34, 0.46)),
    "tennis_courts": SceneType(sports.tennis_courts, (0.28, 0.36)),
    "terraced_fields": SceneType(land.terraced_fields, (0.5, 0.8)),
}
CATEGORIES = tuple(SCENE_TYPES)


@dataclass(frozen=True)
class GeoTransform:
    """Where a picture would lie on the ground.

    Attributes:
        coefficients: GDAL's six numbers: left edge, pixel width, 0, top edge, 0, -pixel height (m).
        crs: EPSG code of the coordinate system.
    """

    coefficients: tuple[float, float, float, float, float, float]
    crs: int


@dataclass(frozen=True)
class DrawnScene:
    """One finished scene.

    Attributes:
        image: RGB picture.
        captions: five sentences that are true of it.
        objects: what stands in it, with boxes in pixels.
        geotransform: a made-up but plausible place.
        category: its scene type.
    """

    image: Image.Image
    captions: tuple[str, ...]
    objects: tuple[DrawnObject, ...]
    geotransform: GeoTransform
    category: str


def draw_scene(category: str, seed: int) -> DrawnScene:
    """Draw a scene; the same category and seed give the same scene.

    Args:
        category: one of ``CATEGORIES``.
        seed: which of the endless scenes of that type.

    Returns:
        The picture with its captions, boxes and place.

    Raises:
        QueryError: if the category is unknown.
    """
    if category not in SCENE_TYPES:
        known = ", ".join(CATEGORIES)
        raise QueryError(f"No scene type {category!r}. Choose one of: {known}.")
    rng = np.random.default_rng([zlib.crc32(category.encode()), seed])
    scene_type = SCENE_TYPES[category]
    width = WIDE_SIZE if seed % 5 == 4 else PICTURE_SIZE
    gsd = round(float(rng.uniform(*scene_type.gsd)), 3)
    light = draw_light(rng)
    angle = float(rng.uniform(0, 2 * np.pi))
    canvas = Canvas(rng, width=width, height_px=PICTURE_SIZE, gsd=gsd, angle=angle)
    facts = scene_type.draw(canvas)
    captions = describe(category, facts, rng)
    place = _place(rng, gsd)
    return DrawnScene(render(canvas, light), captions, tuple(canvas.objects), place, category)


def _place(rng: np.random.Generator, gsd: float) -> GeoTransform:
    crs = int(UTM_ZONES[rng.integers(len(UTM_ZONES))])
    south = crs // 100 == 327
    east = round(float(rng.uniform(300_000, 700_000)), 1)
    north = round(float(rng.uniform(6_000_000, 7_000_000) if south else rng.uniform(4e6, 5.5e6)), 1)
    return GeoTransform((east, gsd, 0.0, north, 0.0, -gsd), crs)
