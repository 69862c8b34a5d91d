"""Built-up land: dense and sparse housing, storage tanks, solar farm."""

import numpy as np

from drawn_scenes import ground, shapes
from drawn_scenes.canvas import Canvas
from drawn_scenes.captions import Facts, counted, pick
from drawn_scenes.roads import carriageway, traffic
from drawn_scenes.structures import block, house, pool, tank
from drawn_scenes.vegetation import bush, scatter_trees, tree_row
from drawn_scenes.vehicles import car


def dense_residential(canvas: Canvas) -> Facts:
    """Streets of closely built houses with small gardens and parked cars."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach * 1.15
    roof = ("red", "brown", "grey", "red", "dark")[rng.integers(5)]
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.5))
    yard = np.clip(0.5 + canvas.noise(7.0, 2), 0, 1) * 0.6
    canvas.paint(yard, ground.concrete(canvas, 2.5))
    pitch = float(rng.uniform(42, 50))
    first = float(rng.uniform(-0.5, 0.5)) * pitch
    streets = [first + k * pitch for k in range(-3, 4)]
    for v in streets:
        walk = shapes.box(canvas.x, canvas.y - v, 2 * reach, 6.2)
        canvas.paint(canvas.cover(walk), ground.concrete(canvas, 2.0) * 1.05)
    for v in streets:
        curve = [(-1.5 * reach, v), (1.5 * reach, v)]
        carriageway(canvas, shapes.follow(canvas.x, canvas.y, curve), lanes=2)
    if rng.random() < 0.6:
        u = float(rng.uniform(-0.4, 0.4)) * reach
        curve = [(u, -1.5 * reach), (u, 1.5 * reach)]
        carriageway(canvas, shapes.follow(canvas.x, canvas.y, curve), lanes=2)
        facts["crossing"] = "an intersection"
    for v in streets:
        for sign in (-1, 1):
            _house_row(canvas, v + sign * (pitch / 4 + 2.5), sign, roof)
        _parked_cars(canvas, v)
    scatter_trees(canvas, 160, radius=(1.2, 2.6), clearance=0.8)
    counted(facts, "houses", canvas.count("house"), "house")
    counted(facts, "cars", canvas.count("car"), "car")
    if canvas.count("swimming pool"):
        counted(facts, "pools", canvas.count("swimming pool"), "swimming pool")
    facts["roof"] = roof
    return facts


def _parked_cars(canvas: Canvas, v: float) -> None:
    """Cars at the kerbs of a street along ``v``."""
    rng = canvas.rng
    for u in np.arange(-canvas.reach, canvas.reach, 6.5) * 1.15:
        if rng.random() < 0.4:
            car(canvas, float(u), v + 2.7 * float(rng.choice([-1, 1])), 0.0)


def _house_row(canvas: Canvas, v: float, sign: int, roof: str) -> None:
    """Houses along a street at ``v``, their gardens on the side ``sign``."""
    rng = canvas.rng
    u = -canvas.reach * 1.15 + float(rng.uniform(0, 6))
    while u < canvas.reach * 1.15:
        length, width = float(rng.uniform(10, 13.5)), float(rng.uniform(8, 10.5))
        if canvas.free(u, v, 5.0):
            kind = roof if rng.random() < 0.75 else ("brown", "grey", "white")[rng.integers(3)]
            drive = shapes.box(canvas.x - u - length * 0.36, canvas.y - v + sign * 7.5, 1.5, 4.0)
            canvas.paint(canvas.cover(drive), (0.70, 0.68, 0.64))
            turn = 0.0 if rng.random() < 0.7 else np.pi / 2
            house(
                canvas,
                (u, v, turn + float(rng.normal(0, 0.02))),
                length=length,
                width=width,
                roof=kind,
            )
            outline = shapes.box(canvas.x - u, canvas.y - v, length / 2 + 0.8, width / 2 + 0.8)
            canvas.block(canvas.cover(outline))
            if rng.random() < 0.13:
                pool(
                    canvas,
                    u + float(rng.uniform(-2, 2)),
                    v + sign * (width / 2 + 3.4),
                    0.0,
                    length=6.0,
                )
            if rng.random() < 0.45:
                car(canvas, u + length * 0.36, v - sign * 8.0, np.pi / 2)
        u += length + float(rng.uniform(1.4, 3.6))


def sparse_residential(canvas: Canvas) -> Facts:
    """A few large houses among lawns and trees, with drives and perhaps a pool."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    canvas.paint(
        np.ones_like(canvas.height),
        ground.grass(canvas) if rng.random() < 0.7 else ground.scrub(canvas),
    )
    v_road = canvas.span[1] * float(rng.uniform(0.45, 0.75))
    knots = [
        (u * reach, v_road + float(rng.normal(0, 0.05)) * reach) for u in (-1.4, -0.5, 0.4, 1.4)
    ]
    curve = shapes.smooth_curve(knots, 6)
    roof = ("grey", "brown", "red", "white")[rng.integers(4)]
    wanted = int(rng.integers(1, 4))
    span = canvas.span[0]
    for k in range(wanted):
        u = (k + 0.5) / wanted * 2 * span - span + float(rng.normal(0, 0.06)) * span
        v = -canvas.span[1] * float(rng.uniform(0.0, 0.45))
        _homestead(canvas, u, v, v_road, roof)
    carriageway(canvas, shapes.follow(canvas.x, canvas.y, curve), lanes=2)
    traffic(canvas, curve, lanes=2, gap=60)
    scatter_trees(canvas, int(rng.integers(40, 110)), radius=(1.8, 4.2))
    for _ in range(40):
        u, v = rng.uniform(-reach, reach, 2)
        if canvas.free(u, v, 1.0):
            bush(canvas, u, v, radius=float(rng.uniform(0.5, 1.1)))
    counted(facts, "houses", canvas.count("house"), "house")
    if canvas.count("swimming pool"):
        counted(facts, "pools", canvas.count("swimming pool"), "swimming pool")
    facts["roof"] = roof
    return facts


def _homestead(canvas: Canvas, u: float, v: float, v_road: float, roof: str) -> None:
    rng = canvas.rng
    length, width = float(rng.uniform(17, 23)), float(rng.uniform(11, 14))
    turn = float(rng.normal(0, 0.25))
    bend = float(rng.uniform(-8, 8))
    drive = shapes.smooth_curve(
        [(u + 4, v), (u + 4 + bend, (v + v_road) / 2), (u + bend, v_road)], 8
    )
    track = shapes.follow(canvas.x, canvas.y, drive)
    canvas.paint(canvas.cover(track.distance - 1.9), ground.textured(
        canvas, (0.66, 0.63, 0.57), coarse=0.05, fine=0.04, scale=4.0))  # fmt: skip
    canvas.block(canvas.cover(track.distance - 2.4))
    terrace = shapes.box(canvas.x - u, canvas.y - v, length / 2 + 3, width / 2 + 3.5, 2.0)
    canvas.paint(canvas.cover(terrace), ground.concrete(canvas, 2.0))
    house(canvas, (u, v, turn), length=length, width=width, roof=roof)
    if rng.random() < 0.5:
        v_pool = v - width / 2 - 8
        pool(canvas, u + float(rng.uniform(-4, 4)), v_pool, turn, length=9.0)
        canvas.block(canvas.cover(np.hypot(canvas.x - u, canvas.y - v_pool) - 7))
    if rng.random() < 0.5:
        house(
            canvas,
            (u + length * 0.8 + 6, v + 4, turn + np.pi / 2),
            length=8,
            width=6.5,
            roof=roof,
            name="shed",
        )
        canvas.block(canvas.cover(np.hypot(canvas.x - u - length * 0.8 - 6, canvas.y - v - 4) - 6))
    way = shapes.curve_length(drive)
    if rng.random() < 0.7:
        (cu, cv), heading = shapes.point_along(drive, way * float(rng.uniform(0.5, 0.68)))
        car(canvas, cu, cv, heading)
    canvas.block(canvas.cover(terrace))


def storage_tanks(canvas: Canvas) -> Facts:
    """Cylindrical tanks inside earth bunds, joined by pipes and service roads."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach * 1.1
    bare = rng.random() < 0.6
    canvas.paint(
        np.ones_like(canvas.height),
        ground.soil(canvas, (0.62, 0.56, 0.47)) if bare else ground.grass(canvas, 0.6),
    )
    radius = float(rng.uniform(7.0, 16.5))
    pitch = 2 * radius + float(rng.uniform(11, 17))
    first = rng.uniform(-0.5, 0.5, 2) * pitch
    road = np.minimum(np.abs(np.mod(canvas.y - first[1], 2 * pitch) - pitch / 2), 1e6)
    canvas.paint(canvas.cover(road - 2.6), ground.asphalt(canvas, 0.5))
    tall = float(rng.uniform(8, 13))
    steps = range(-int(reach / pitch) - 2, int(reach / pitch) + 3)
    for i in steps:
        for j in steps:
            u, v = first[0] + i * pitch, first[1] + j * pitch
            if rng.random() < 0.93 and abs(u) < reach * 1.2 and abs(v) < reach * 1.2:
                _tank_in_bund(
                    canvas, u, v, pitch, radius * float(rng.choice([1.0, 1.0, 0.72])), tall
                )
    if rng.random() < 0.6:
        scatter_trees(canvas, 40, radius=(1.5, 3.0))
    counted(facts, "tanks", canvas.count("storage tank"), "storage tank")
    facts["ground"] = "bare ground" if bare else "grass"
    facts["size"] = "large" if radius > 13 else "small"
    return facts


def _tank_in_bund(
    canvas: Canvas, u: float, v: float, pitch: float, radius: float, tall: float
) -> None:
    patch = canvas.patch(u, v, radius=pitch * 0.75)
    if patch is None:
        return
    bund = np.abs(shapes.box(patch.x, patch.y, pitch / 2 - 3.4, pitch / 2 - 3.4, 2.0))
    ridge = np.clip(1 - bund / 1.4, 0, 1)
    patch.height += 1.2 * ridge
    patch.paint(ridge * 0.5, (0.66, 0.60, 0.50))
    apron = patch.cover(np.hypot(patch.x, patch.y) - radius - 1.6)
    patch.paint(apron, (0.60, 0.58, 0.54))
    pipe = shapes.capsule(patch.x, patch.y, (0.0, 0.0), (0.0, pitch * 0.5), 0.35)
    patch.paint(patch.cover(pipe), (0.76, 0.76, 0.74), 0.8)
    tank(canvas, u, v, radius=radius, tall=tall)
    canvas.block(canvas.cover(shapes.box(canvas.x - u, canvas.y - v, pitch * 0.45, pitch * 0.45)))


def solar_farm(canvas: Canvas) -> Facts:
    """Long rows of dark blue panels tilted the same way, with tracks and an inverter hut."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach * 1.2
    dry = rng.random() < 0.5
    canvas.paint(
        np.ones_like(canvas.height),
        ground.soil(canvas, (0.64, 0.56, 0.44)) if dry else ground.grass(canvas, 0.4),
    )
    pitch, depth = float(rng.uniform(6.0, 9.0)), float(rng.uniform(3.4, 4.6))
    run = float(rng.uniform(26, 48))
    lane = np.mod(canvas.x, run + 5.0)
    row = np.mod(canvas.y, pitch)
    field = shapes.box(
        canvas.x - rng.uniform(-0.2, 0.2) * reach, canvas.y, 1.5 * reach, 1.5 * reach
    )
    if rng.random() < 0.6:
        slant = float(rng.uniform(-0.3, 0.3))
        field = canvas.y - canvas.span[1] * float(rng.uniform(0.3, 0.7)) + slant * canvas.x
        facts["beside"] = "bare ground" if dry else "a meadow"
    track = canvas.cover(np.abs(lane - run - 2.5) - 1.3, soft=0.8) * canvas.cover(field)
    canvas.paint(track * 0.7, (0.68, 0.62, 0.52))
    cell_row = np.floor(canvas.y / pitch) * pitch + pitch / 2
    inside = canvas.cover(
        np.maximum(np.abs(lane - run / 2) - run / 2, np.abs(row - pitch / 2) - depth / 2)
    )
    inside = inside * (field + (cell_row - canvas.y) < -3)
    blue = ground.tint(canvas, (0.13, 0.165, 0.26), 0.015)
    module = (np.mod(lane, 1.7) < 0.16) | (np.abs(row - pitch / 2) < 0.1)
    sheen = canvas.noise(40.0, 2) * 0.08 + canvas.streaks(12.0, 2.0) * 0.05
    panel = ground.mix(blue * (1 + sheen)[..., None], (0.52, 0.56, 0.62), 0.75 * module)
    tilt = 0.9 + 0.30 * (row - pitch / 2)
    canvas.paint(inside, panel, np.maximum(tilt, 0.2))
    canvas.block(canvas.cover(field - 2))
    if field.max() > 5 and "beside" in facts:
        fence = canvas.cover(np.abs(field - 2.5) - 0.15)
        canvas.paint(fence * 0.5, (0.5, 0.5, 0.48), 1.5)
        v = canvas.span[1] * 0.5
        tree_row(canvas, (-reach, v + 24), (reach, v + 24), radius=2.6)
        scatter_trees(canvas, 30, radius=(1.6, 3.2))
    hut_u = (np.floor(rng.uniform(-1, 1)) + 1) * (run + 5.0) - 2.5
    block(
        canvas,
        (hut_u, float(rng.uniform(-0.4, 0.2)) * canvas.span[1], np.pi / 2),
        length=7,
        width=3,
        tall=3,
    )
    visible = inside.mean()
    facts["rows"] = pick(rng, "many rows", "long rows", "parallel rows")
    facts["amount"] = "most" if visible > 0.35 else "part"
    canvas.record(
        "solar panels", 0, -0.1 * reach, length=1.2 * canvas.span[0], width=canvas.span[1]
    )
    return facts
