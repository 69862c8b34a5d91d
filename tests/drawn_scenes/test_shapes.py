"""Plane geometry and light: distances, curves and shadows against values worked out by hand."""

import math

import numpy as np
import pytest

from drawn_scenes import shapes
from drawn_scenes.canvas import Canvas
from drawn_scenes.light import Light, _shadow


def small_canvas(angle: float = 0.0) -> Canvas:
    return Canvas(np.random.default_rng(0), width=32, height_px=32, gsd=0.5, angle=angle)


def test_distances_are_negative_inside_and_zero_on_the_edge():
    x, y = np.array([0.0, 2.0, 5.0]), np.zeros(3)
    assert shapes.box(x, y, 2, 1) == pytest.approx([-1, 0, 3])
    assert shapes.disc(x, y, 2) == pytest.approx([-2, 0, 3])
    assert shapes.capsule(x, y, (-1, 0), (1, 0), 1) == pytest.approx([-1, 0, 3])


def test_a_convex_polygon_does_not_care_about_the_order_of_its_corners():
    square = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    x, y = np.array([0.0, 1.0, 3.0]), np.zeros(3)
    assert shapes.convex(x, y, square) == pytest.approx([-1, 0, 2])
    assert shapes.convex(x, y, square[::-1]) == pytest.approx([-1, 0, 2])


def test_following_a_line_gives_side_and_distance_travelled():
    track = shapes.follow(np.array([1.0, 4.0]), np.array([2.0, -3.0]), [(0.0, 0.0), (10.0, 0.0)])
    assert track.side == pytest.approx([2, -3])
    assert track.along == pytest.approx([1, 4])


def test_a_point_along_a_corner_turns_with_it():
    corner = [(0.0, 0.0), (3.0, 0.0), (3.0, 4.0)]
    assert shapes.curve_length(corner) == pytest.approx(7)
    point, heading = shapes.point_along(corner, 5.0)
    assert point == pytest.approx((3, 2))
    assert heading == pytest.approx(math.pi / 2)


def test_a_smooth_curve_passes_through_its_knots():
    knots = [(0.0, 0.0), (2.0, 1.0), (4.0, -1.0)]
    curve = shapes.smooth_curve(knots, 4)
    assert all(any(np.hypot(u - a, v - b) < 1e-9 for u, v in curve) for a, b in knots)


def test_scene_and_picture_coordinates_are_inverse():
    canvas = small_canvas(angle=0.7)
    right, down = canvas.to_ground(3.0, -2.0)
    assert canvas.from_picture(right, down) == pytest.approx((3, -2))
    # 0.5 m a pixel, centre at pixel 16
    assert small_canvas().to_pixel(2.0, -4.0) == pytest.approx((20, 8))


def test_an_object_mostly_outside_the_frame_is_not_recorded():
    canvas = small_canvas()  # 16 by 16 metres
    assert canvas.record("tank", 0, 0, length=4, width=2)
    assert not canvas.record("tank", 8.5, 0, length=4, width=2)
    assert [o.bbox for o in canvas.objects] == [(12.0, 14.0, 8.0, 4.0)]


def test_a_wall_throws_a_shadow_as_long_as_its_height_under_a_sun_at_45_degrees():
    canvas = small_canvas()
    canvas.height[:, 40:42] = 2.0  # 2 m high, working pixels of 0.25 m -> shadow of 8 pixels
    sun = Light(
        azimuth=0.0, elevation=math.pi / 4, haze=0, gain=(1, 1, 1), exposure=1, blur=0, noise=0,
        saturation=1,
    )  # fmt: skip
    row = _shadow(canvas, sun)[36]  # the sun stands to the right, so the shadow falls left
    shaded = np.flatnonzero(row > 0.4)
    assert 40 - shaded.min() == pytest.approx(8, abs=1)
    assert shaded.max() < 40
