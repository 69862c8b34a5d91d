"""Roads and what they lead to: bridge, roundabout, overpass, parking lot."""

import numpy as np

from drawn_scenes import ground, shapes
from drawn_scenes.canvas import Array, Canvas
from drawn_scenes.captions import Facts, counted, pick
from drawn_scenes.ground import WHITE_PAINT, YELLOW_PAINT
from drawn_scenes.structures import block
from drawn_scenes.vegetation import scatter_trees, tree
from drawn_scenes.vehicles import boat, car, lorry, wake

LANE = 3.5


def carriageway(
    canvas: Canvas, track: shapes.Track, *, lanes: int, level: Array | float | None = None
) -> Array:
    """Pave a road along a track with edge lines and dashed lane lines.

    Args:
        canvas: the sheet.
        track: where every pixel lies with respect to the centre line.
        lanes: number of lanes altogether; an even number gets a yellow centre line.
        level: height of the deck in metres, None on the ground.

    Returns:
        Coverage (H, W) of the pavement.
    """
    half = lanes * LANE / 2 + 0.8
    paved = canvas.cover(track.distance - half)
    surface = ground.asphalt(canvas)
    wear = 1 - 0.06 * np.cos(2 * np.pi * track.side / (LANE / 2))
    canvas.paint(paved, surface * wear[..., None], level)
    canvas.paint(canvas.cover(np.abs(track.distance - half + 0.7) - 0.11) * 0.85, WHITE_PAINT)
    dashes = np.mod(track.along, 9.0) < 3.6
    for lane in range(1, lanes):
        side = (lane - lanes / 2) * LANE
        middle = lanes % 2 == 0 and lane == lanes // 2
        line = canvas.cover(np.abs(track.side - side) - 0.12)
        if middle and lanes > 1:
            canvas.paint(line * 0.85, YELLOW_PAINT)
        else:
            canvas.paint(line * dashes * 0.85, WHITE_PAINT)
    canvas.block(canvas.cover(track.distance - half - 0.5))
    return paved


def traffic(canvas: Canvas, curve: list[shapes.Point], *, lanes: int, gap: float) -> None:
    """Put cars and a few lorries on a road, keeping right, ``gap`` metres apart on average."""
    rng = canvas.rng
    length = shapes.curve_length(curve)
    for lane in range(lanes):
        side = (lane - (lanes - 1) / 2) * LANE
        at = float(rng.uniform(0, gap))
        while at < length:
            (u, v), heading = shapes.point_along(curve, at, side + float(rng.normal(0, 0.15)))
            heading += 0.0 if side > 0 else np.pi
            (lorry if rng.random() < 0.14 else car)(canvas, u, v, heading)
            at += 14.0 + float(rng.exponential(gap))


def _straight(reach: float, offset: float = 0.0) -> list[shapes.Point]:
    return [(-1.5 * reach, offset), (1.5 * reach, offset)]


def bridge(canvas: Canvas) -> Facts:
    """A road bridge over a river, with piers, shadow and traffic."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas))
    half = reach * float(rng.uniform(0.3, 0.5))
    skew = float(rng.uniform(-0.25, 0.25))
    across = canvas.x + skew * canvas.y + 0.05 * reach * canvas.noise(reach, 3)
    bank = np.abs(across) - half
    canvas.paint(canvas.cover(bank - 3.0 + 1.5 * canvas.noise(8.0), soft=3.0), ground.soil(canvas))
    canvas.paint(canvas.cover(bank, soft=0.8), ground.water(canvas))
    canvas.height += np.clip(bank / 4, -2.0, 0)
    canvas.block(canvas.cover(bank - 1.0))
    lanes = int(rng.choice([2, 4, 4, 6]))
    curve = _straight(reach)
    track = shapes.follow(canvas.x, canvas.y, curve)
    deck = 7.0 * np.clip(1 - (np.abs(canvas.x) - half - 6) / 25, 0, 1)
    width = lanes * LANE / 2 + 2.2
    canvas.paint(canvas.cover(track.distance - width), ground.concrete(canvas) * 0.95, deck)
    carriageway(canvas, track, lanes=lanes)
    rail = canvas.cover(np.abs(track.distance - width + 0.3) - 0.25)
    canvas.paint(rail, (0.74, 0.73, 0.70), deck + 1.2)
    canvas.block(canvas.cover(track.distance - width - 2))
    scatter_trees(canvas, 90, radius=(1.8, 3.8))
    traffic(canvas, curve, lanes=lanes, gap=float(rng.uniform(12, 50)))
    canvas.record("bridge", 0, 0, length=2 * half, width=2 * width)
    if rng.random() < 0.5:
        v = float(rng.choice([-1, 1]) * rng.uniform(0.3, 0.5)) * reach
        u, heading = float(rng.uniform(-0.4, 0.4)) * half, float(rng.choice([-1, 1])) * np.pi / 2
        wake(canvas, u, v, heading, length=10.0)
        if boat(canvas, u, v, heading, length=10.0):
            facts["boat"] = "a boat"
    counted(facts, "cars", canvas.count("car") + canvas.count("lorry"), "vehicle")
    facts["width"] = {2: "narrow", 4: "straight", 6: "wide"}[lanes]
    return facts


def roundabout(canvas: Canvas) -> Facts:
    """A ring road with three to five arms around a green island."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.3))
    island = float(rng.uniform(10, 15))
    lanes = 2
    ring = island + lanes * LANE / 2 + 1.0
    arms = int(rng.integers(3, 6))
    turns = np.arange(arms) * 2 * np.pi / arms + rng.normal(0, 0.12, arms)
    curves = [
        [(0.0, 0.0), (1.6 * reach * float(np.cos(t)), 1.6 * reach * float(np.sin(t)))]
        for t in turns
    ]
    tracks = [shapes.follow(canvas.x, canvas.y, curve) for curve in curves]
    distance = np.hypot(canvas.x, canvas.y)
    roads = shapes.union(*(t.distance for t in tracks))
    pavement = shapes.union(roads - LANE - 3.2, distance - ring - LANE - 3.2)
    canvas.paint(canvas.cover(pavement), ground.concrete(canvas, 3.0) * 1.03)
    for track in tracks:
        carriageway(canvas, track, lanes=2)
    circle = shapes.Track(distance - ring, np.arctan2(canvas.y, canvas.x) * ring)
    flare = canvas.cover(distance - ring - LANE - 2.2 + np.clip(roads - 5, 0, 2), soft=1.0)
    canvas.paint(flare, ground.asphalt(canvas))
    carriageway(canvas, circle, lanes=2)
    canvas.paint(canvas.cover(np.abs(circle.side) - 0.4), ground.asphalt(canvas, 0.45))
    kerb = canvas.cover(distance - island)
    canvas.paint(kerb, (0.74, 0.72, 0.68), 0.3)
    canvas.paint(canvas.cover(distance - island + 0.8), ground.grass(canvas, 0.15))
    _island_garden(canvas, island, facts)
    canvas.block(canvas.cover(pavement))
    _corner_buildings(canvas, turns, ring, facts)
    scatter_trees(canvas, 60, radius=(1.6, 3.2))
    for curve in curves:
        _queue(canvas, curve, ring + LANE + 7)
    for t in rng.uniform(0, 2 * np.pi, rng.integers(1, 4)):
        r = ring + float(rng.choice([-1, 1])) * LANE / 2
        car(canvas, r * float(np.cos(t)), r * float(np.sin(t)), float(t) - np.pi / 2)
    canvas.record("roundabout", 0, 0, length=2 * ring + 2 * LANE, width=2 * ring + 2 * LANE)
    counted(facts, "arms", arms, "road")
    counted(facts, "cars", canvas.count("car"), "car")
    return facts


def _queue(canvas: Canvas, curve: list[shapes.Point], start: float) -> None:
    """Cars on both lanes of an arm that begins at the ring."""
    rng = canvas.rng
    at = start
    while at < shapes.curve_length(curve):
        side = float(rng.choice([-1, 1])) * LANE / 2
        (u, v), heading = shapes.point_along(curve, at, side)
        car(canvas, u, v, heading + (0.0 if side > 0 else np.pi))
        at += 9.0 + float(rng.exponential(16))


def _island_garden(canvas: Canvas, island: float, facts: Facts) -> None:
    rng = canvas.rng
    distance = np.hypot(canvas.x, canvas.y)
    style = rng.integers(3)
    if style == 0:
        for t in np.linspace(0, 2 * np.pi, 9)[:-1]:
            r = island * 0.62
            tree(
                canvas,
                r * float(np.cos(t)),
                r * float(np.sin(t)),
                radius=float(rng.uniform(1.6, 2.4)),
            )
        facts["island"] = "a ring of trees"
    elif style == 1:
        bed = canvas.cover(np.abs(distance - island * 0.55) - 1.2)
        canvas.paint(
            bed, ground.textured(canvas, (0.55, 0.28, 0.28), coarse=0.2, fine=0.1, scale=2)
        )
        canvas.paint(canvas.cover(distance - island * 0.28), (0.70, 0.67, 0.62), 0.5)
        canvas.paint(canvas.cover(distance - island * 0.2), ground.water(canvas, (0.2, 0.4, 0.46)))
        facts["island"] = "a fountain and flower beds"
    else:
        for _ in range(14):
            r, t = island * 0.75 * np.sqrt(rng.random()), rng.uniform(0, 6.3)
            tree(
                canvas,
                float(r * np.cos(t)),
                float(r * np.sin(t)),
                radius=float(rng.uniform(1.4, 3.0)),
            )
        facts["island"] = "a clump of trees"


def _corner_buildings(canvas: Canvas, turns: Array, ring: float, facts: Facts) -> None:
    rng = canvas.rng
    if rng.random() < 0.45:
        return
    ordered = np.sort(np.mod(turns, 2 * np.pi))
    for a, b in zip(ordered, [*ordered[1:], ordered[0] + 2 * np.pi], strict=True):
        t, r = (a + b) / 2, ring + float(rng.uniform(21, 27))
        u, v = r * float(np.cos(t)), r * float(np.sin(t))
        if canvas.free(u, v, 9.0):
            length, width = rng.uniform(13, 20), rng.uniform(10, 13)
            block(
                canvas,
                (u, v, t + np.pi / 2),
                length=length,
                width=width,
                tall=float(rng.uniform(5, 11)),
            )
            canvas.block(canvas.cover(np.hypot(canvas.x - u, canvas.y - v) - length * 0.6))
    counted(facts, "buildings", canvas.count("building"), "building")


def overpass(canvas: Canvas) -> Facts:
    """Two roads that cross on different levels, with ramps in some pictures."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.55))
    lower_lanes, upper_lanes = int(rng.choice([4, 6, 6])), int(rng.choice([2, 4, 4]))
    cross = float(rng.uniform(1.1, np.pi - 1.1))
    direction = float(np.cos(cross)), float(np.sin(cross))
    lower = _straight(reach)
    upper = [(-1.5 * reach * direction[0], -1.5 * reach * direction[1]),
             (1.5 * reach * direction[0], 1.5 * reach * direction[1])]  # fmt: skip
    if rng.random() < 0.6:
        for sign in (-1, 1):
            ramp = _ramp(reach, direction, sign)
            carriageway(canvas, shapes.follow(canvas.x, canvas.y, ramp), lanes=1)
        facts["ramps"] = pick(rng, "curved ramps", "two ramps")
    bottom = shapes.follow(canvas.x, canvas.y, lower)
    carriageway(canvas, bottom, lanes=lower_lanes)
    median = canvas.cover(bottom.distance - 0.8)
    canvas.paint(median, (0.68, 0.67, 0.63), 0.9)
    traffic(canvas, lower, lanes=lower_lanes, gap=float(rng.uniform(15, 45)))
    top = shapes.follow(canvas.x, canvas.y, upper)
    width = upper_lanes * LANE / 2 + 1.8
    deck = 6.5 * np.clip(1.25 - bottom.distance / (0.8 * reach), 0, 1)
    abutment = np.clip((bottom.distance - lower_lanes * LANE / 2 - 3) / 8, 0, 1)
    canvas.height += 0.9 * deck * abutment * np.clip(1 - (top.distance - width) / 12, 0, 1)
    canvas.paint(canvas.cover(top.distance - width), ground.concrete(canvas), deck)
    carriageway(canvas, top, lanes=upper_lanes, level=deck)
    rail = canvas.cover(np.abs(top.distance - width + 0.25) - 0.25)
    canvas.paint(rail, (0.78, 0.77, 0.74), deck + 1.1)
    canvas.block(canvas.cover(top.distance - width - 4))
    scatter_trees(canvas, int(rng.integers(20, 70)), radius=(1.8, 3.6))
    traffic(canvas, upper, lanes=upper_lanes, gap=float(rng.uniform(18, 50)))
    canvas.record("overpass", 0, 0, length=lower_lanes * LANE + 8, width=2 * width, angle=cross)
    counted(facts, "cars", canvas.count("car") + canvas.count("lorry"), "vehicle")
    facts["crossing"] = pick(rng, "crosses over", "passes over")
    return facts


def _ramp(reach: float, direction: tuple[float, float], sign: int) -> list[shapes.Point]:
    """Curve from the lower road to the upper one through one quadrant."""
    far = 1.25 * reach
    corner = (sign * 0.16 * reach + 0.1 * direction[0] * reach * sign, sign * 0.2 * reach)
    end = (sign * far * direction[0] + sign * 6, sign * far * direction[1])
    return shapes.smooth_curve(
        [(sign * far, sign * 13.0), (sign * 0.6 * reach, sign * 19.0), corner, end], 9
    )


def parking_lot(canvas: Canvas) -> Facts:
    """Rows of marked bays, from half empty to full, with trees on the islands."""
    rng = canvas.rng
    facts: Facts = {}
    canvas.paint(np.ones_like(canvas.height), ground.asphalt(canvas))
    bay, depth, aisle = 2.6, 5.2, 6.4
    pitch = 2 * depth + aisle
    share = float(rng.choice([0.3, 0.6, 0.85, 0.95]))
    edge = canvas.span[1] * float(rng.uniform(0.55, 0.8)) if rng.random() < 0.6 else 1e6
    reach = canvas.reach * 1.1
    v0 = float(rng.uniform(0, pitch))
    island_every = int(rng.integers(9, 14)) * bay
    row = np.mod(canvas.y - v0 + pitch / 2, pitch) - pitch / 2
    inside = canvas.y < edge
    line = (
        canvas.cover(np.abs(np.mod(canvas.x, bay) - bay / 2) - 0.10)
        * (np.abs(row) < depth)
        * inside
    )
    spine = canvas.cover(np.abs(row) - 0.10) * inside
    canvas.paint(np.maximum(line, spine) * 0.8, WHITE_PAINT)
    strip = np.abs(np.mod(canvas.x, island_every) - island_every / 2) - 1.3
    islands = canvas.cover(np.maximum(strip, np.abs(row) - depth)) * inside
    planted = rng.random() < 0.7
    if planted:
        canvas.paint(islands, ground.grass(canvas, 0.4), 0.15)
    if edge < 1e5:
        verge = canvas.cover(edge + 1.0 - canvas.y)
        canvas.paint(verge, ground.grass(canvas, 0.3))
    for k in range(int(-reach / pitch) - 2, int(reach / pitch) + 2):
        v = k * pitch + v0
        _park_row(canvas, v, share, edge, island_every if planted else 1e9)
    for u in np.arange(-reach, reach, 11):
        if edge < 1e5 and canvas.sees(u, edge + 6, -4):
            tree(canvas, u + float(rng.normal(0, 1)), edge + 6, radius=float(rng.uniform(2.2, 3.6)))
            facts["trees"] = pick(rng, "a row of trees", "some green trees")
    counted(facts, "cars", canvas.count("car"), "car")
    facts["fill"] = {0.3: "half empty", 0.6: "partly filled", 0.85: "busy", 0.95: "full"}[share]
    return facts


def _park_row(canvas: Canvas, v: float, share: float, edge: float, island_every: float) -> None:
    """Cars nose to nose in two rows of bays around a line at ``v``; trees on the islands."""
    rng = canvas.rng
    reach = canvas.reach * 1.1
    for u in np.arange(int(-reach / 2.6), int(reach / 2.6)) * 2.6:
        near = abs(np.mod(u, island_every) - island_every / 2)
        for sign in (-1, 1):
            if v + sign * 5.2 > edge or near < 2.4 or rng.random() > share:
                continue
            side = v + sign * 2.7 + float(rng.normal(0, 0.15))
            heading = np.pi / 2 * float(rng.choice([-1, 1])) + float(rng.normal(0, 0.02))
            car(canvas, u + float(rng.normal(0, 0.1)), side, heading)
        if near < 1.3 and v + 5.2 < edge and rng.random() < 0.8:
            tree(canvas, u, v + float(rng.choice([-2.6, 2.6])), radius=float(rng.uniform(1.3, 2.1)))
