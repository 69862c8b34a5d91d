"""The drawing program: scenes drawn by our own code, a gallery without any licence question.

It stands beside the package, in a clone only: it makes ``rsctir_hf/sample`` and scenes to train on.
"""

from drawn_scenes.canvas import DrawnObject
from drawn_scenes.gallery import CATEGORIES, DrawnScene, GeoTransform, draw_scene

__all__ = ["CATEGORIES", "DrawnObject", "DrawnScene", "GeoTransform", "draw_scene"]
