"""Polygons as RFC 7946 wants them."""

from itertools import pairwise

from rsctir_hf.geo.geojson import bounding_box, polygon

CLOCKWISE = [(9, 45), (10, 45), (10, 44), (9, 44)]


def doubled_area(ring):
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring))


def test_the_outer_ring_is_closed_and_anticlockwise_whichever_way_it_came():
    for corners in (CLOCKWISE, CLOCKWISE[::-1]):
        geometry = polygon(corners)
        (ring,) = geometry["coordinates"]
        assert geometry["type"] == "Polygon"
        assert ring[0] == ring[-1]
        assert len(ring) == 5
        assert doubled_area(ring) == 2


def test_a_box_over_the_antimeridian_is_cut_in_two():
    geometry = polygon([(179, 1), (179, 0), (-179, 0), (-179, 1)])
    assert geometry["type"] == "MultiPolygon"
    west, east = (part[0] for part in geometry["coordinates"])
    assert {x for x, _ in west} == {179, 180}
    assert {x for x, _ in east} == {-180, -179}
    assert doubled_area(west) == doubled_area(east) == 2


def test_a_box_that_ends_at_the_antimeridian_stays_one():
    for edge in (180, -180):
        geometry = polygon([(179, 1), (179, 0), (edge, 0), (edge, 1)])
        assert geometry["type"] == "Polygon"
        assert {x for x, _ in geometry["coordinates"][0]} == {179, 180}
    assert bounding_box([(179, 1), (179, 0), (-180, 0), (-180, 1)]) == (179, 0, 180, 1)


def test_a_bounding_box_over_the_antimeridian_has_its_west_above_its_east():
    assert bounding_box([(179, 1), (179, 0), (-179, 0), (-179, 1)]) == (179, 0, -179, 1)
    assert bounding_box(CLOCKWISE) == (9, 44, 10, 45)
