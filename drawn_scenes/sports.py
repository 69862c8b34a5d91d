"""Places to play: tennis courts, baseball diamond, running track, golf course."""

import numpy as np

from drawn_scenes import ground, shapes
from drawn_scenes.canvas import Array, Canvas
from drawn_scenes.captions import Facts, counted, pick
from drawn_scenes.ground import WHITE_PAINT
from drawn_scenes.structures import block
from drawn_scenes.vegetation import scatter_trees, tree_row, wood
from drawn_scenes.vehicles import car

COURTS = {
    "green": ((0.33, 0.47, 0.37), (0.26, 0.37, 0.29)),
    "blue": ((0.27, 0.39, 0.55), (0.30, 0.43, 0.34)),
    "red": ((0.62, 0.38, 0.29), (0.55, 0.33, 0.26)),
    "red and green": ((0.34, 0.47, 0.36), (0.58, 0.34, 0.28)),
}


def tennis_courts(canvas: Canvas) -> Facts:
    """One to eight courts in a row inside a fence, among lawns, trees and parked cars."""
    rng = canvas.rng
    facts: Facts = {}
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.35))
    colour = list(COURTS)[rng.integers(len(COURTS))]
    play, surround = (ground.tint(canvas, c, 0.02) for c in COURTS[colour])
    across, rows = int(rng.integers(1, 5)), int(rng.choice([1, 1, 2]))
    pitch_u, pitch_v = 17.5, 36.5
    half_u, half_v = across * pitch_u / 2, rows * pitch_v / 2
    walk = shapes.box(canvas.x, canvas.y, half_u + 3.4, half_v + 3.4)
    canvas.paint(canvas.cover(walk), ground.concrete(canvas, 2.0))
    pad = shapes.box(canvas.x, canvas.y, half_u + 0.6, half_v + 0.6)
    hard = ground.textured(canvas, surround, coarse=0.03, fine=0.02, scale=9.0)
    canvas.paint(canvas.cover(pad), hard)
    for i in range(across):
        for j in range(rows):
            u, v = (i - (across - 1) / 2) * pitch_u, (j - (rows - 1) / 2) * pitch_v
            _court(canvas, u, v, play)
    fence = canvas.cover(np.abs(pad) - 0.18)
    posts = 0.45 + 0.3 * (np.mod(canvas.x + canvas.y, 3.0) < 0.4)
    canvas.paint(fence * posts, (0.24, 0.27, 0.25), 2.2)
    canvas.block(canvas.cover(walk - 0.8))
    _court_surroundings(canvas, half_u, half_v, facts)
    scatter_trees(canvas, int(rng.integers(25, 90)), radius=(1.6, 3.8))
    counted(facts, "courts", canvas.count("tennis court"), "tennis court")
    facts["colour"] = colour
    return facts


def _court(canvas: Canvas, u: float, v: float, play: Array) -> None:
    """Draw one court of 23.77 by 10.97 metres, long side along the second axis."""
    patch = canvas.patch(u, v, np.pi / 2, radius=16)
    if patch is None:
        return
    half_length, half_width, singles, service = 11.885, 5.485, 4.115, 6.40
    court = shapes.box(patch.x, patch.y, half_length, half_width)
    tone = 1 + 0.02 * patch.grain
    patch.paint(patch.cover(court), play * tone[..., None])
    ax, ay = np.abs(patch.x), np.abs(patch.y)
    lines = [
        np.abs(court),
        np.maximum(np.abs(ay - singles), ax - half_length),
        np.maximum(np.abs(ax - service), ay - singles),
        np.maximum(ay, ax - service),
    ]
    patch.paint(patch.cover(shapes.union(*lines) - 0.10) * 0.92, WHITE_PAINT)
    net = np.maximum(ax - 0.12, ay - half_width - 0.9)
    patch.paint(patch.cover(net) * 0.8, (0.22, 0.23, 0.24), patch.height + 1.0)
    canvas.record(
        "tennis court", u, v, length=2 * half_length, width=2 * half_width, angle=np.pi / 2
    )


def _court_surroundings(canvas: Canvas, half_u: float, half_v: float, facts: Facts) -> None:
    rng = canvas.rng
    if rng.random() < 0.5:
        v = half_v + 11
        lot = shapes.box(canvas.x, canvas.y - v, canvas.reach * 1.4, 6.5)
        canvas.paint(canvas.cover(lot), ground.asphalt(canvas))
        canvas.block(canvas.cover(lot))
        for u in np.arange(-canvas.reach, canvas.reach, 2.8):
            if rng.random() < 0.5:
                car(canvas, float(u), v + 3, np.pi / 2)
        counted(facts, "cars", canvas.count("car"), "car")
    if rng.random() < 0.5:
        u = -half_u - 14
        block(canvas, (u, 0, np.pi / 2), length=float(rng.uniform(14, 24)), width=10, tall=5)
        canvas.block(canvas.cover(shapes.box(canvas.x - u, canvas.y, 6.5, 13)))
        counted(facts, "buildings", canvas.count("building"), "building")
    facts["around"] = pick(rng, "trees and lawns", "grass and trees", "green trees")


def baseball_diamond(canvas: Canvas) -> Facts:
    """A skinned infield with foul lines and a mown outfield; home plate at the origin."""
    rng = canvas.rng
    facts: Facts = {}
    home = -canvas.span[1] * 0.42
    x, y = canvas.x, canvas.y - home  # the field opens towards +y
    corner = 27.4 / np.sqrt(2)
    fence = float(rng.uniform(72, 95))
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.55))
    distance = np.hypot(x, y)
    fair = np.maximum(np.abs(x) - np.abs(y), -y)
    mown = 1 + 0.035 * np.sign(np.sin(2 * np.pi * (x + y) / 11.0))
    outfield = shapes.union(np.maximum(fair - 9.0, distance - fence), distance - 18.0)
    canvas.paint(canvas.cover(outfield, soft=0.6), ground.grass(canvas, 0.12) * mown[..., None])
    dirt = ground.soil(canvas, (0.66, 0.47, 0.34) if rng.random() < 0.6 else (0.62, 0.50, 0.38))
    canvas.paint(canvas.cover(np.maximum(outfield, -distance + fence - 4), soft=0.6), dirt)
    ragged = 0.4 * canvas.noise(4.0, 2)
    arc = np.hypot(x, y - 18.4) - 29.0 + ragged
    skin = np.maximum(arc, fair - 3.0)
    canvas.paint(canvas.cover(skin, soft=0.4), dirt)
    canvas.paint(canvas.cover(distance - 7.9 + ragged, soft=0.4), dirt)
    turf = np.abs(x) + np.abs(y - corner) - (corner - 3.0)
    if rng.random() < 0.75:
        canvas.paint(
            canvas.cover(turf / np.sqrt(2), soft=0.4), ground.grass(canvas, 0.1) * mown[..., None]
        )
        facts["infield"] = "a grass infield"
    mound = np.hypot(x, y - 18.4) - 2.8
    canvas.paint(canvas.cover(mound, soft=0.3), dirt * 1.03)
    _bases(canvas, x, y, corner, fence)
    canvas.block(canvas.cover(outfield - 2))
    canvas.record("baseball diamond", 0, home + 22, length=54, width=54)
    _stands(canvas, home, facts)
    scatter_trees(canvas, int(rng.integers(40, 110)), radius=(2.0, 4.2))
    facts["soil"] = pick(rng, "brown", "reddish brown")
    return facts


def _bases(canvas: Canvas, x: Array, y: Array, corner: float, fence: float) -> None:
    foul = np.maximum(np.abs(np.abs(x) - y) / np.sqrt(2) - 0.14, np.hypot(x, y) - fence)
    canvas.paint(canvas.cover(foul) * (y > 0) * 0.9, WHITE_PAINT)
    for u, v in ((0.0, 0.0), (corner, corner), (-corner, corner), (0.0, 2 * corner)):
        canvas.paint(canvas.cover(shapes.box(x - u, y - v, 0.5, 0.5)), (0.93, 0.93, 0.92))


def _stands(canvas: Canvas, home: float, facts: Facts) -> None:
    """Backstop fence, dugouts and sometimes a stand behind home plate."""
    rng = canvas.rng
    distance = np.hypot(canvas.x, canvas.y - home)
    backstop = np.maximum(np.abs(distance - 18.2) - 0.25, canvas.y - home + 6)
    canvas.paint(canvas.cover(backstop) * 0.7, (0.4, 0.4, 0.4), 4.0)
    for sign in (-1, 1):
        block(
            canvas,
            (sign * 21.0, home + 6.0, sign * np.pi / 4),
            length=11,
            width=3,
            tall=2.6,
            name="dugout",
        )
    if rng.random() < 0.5:
        tier = np.maximum(np.abs(distance - 24) - 4.5, canvas.y - home + 8)
        steps = np.floor((distance - 19.5) / 0.9)
        shade = 0.95 + 0.06 * np.mod(steps, 2)
        colour = ground.tint(canvas, (0.66, 0.67, 0.69), 0.02) * shade[..., None]
        canvas.paint(canvas.cover(tier), colour, 0.6 + 0.45 * steps)
        canvas.block(canvas.cover(tier - 2))
        facts["stand"] = pick(rng, "a small stand", "a curved grandstand")
    canvas.block(canvas.cover(distance - 19))


def running_track(canvas: Canvas) -> Facts:
    """An oval track of six to eight lanes around a football pitch."""
    rng = canvas.rng
    facts: Facts = {}
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.5))
    lanes = int(rng.choice([6, 8, 8]))
    straight, inner = 42.2, 36.5
    oval = shapes.box(canvas.x, canvas.y, straight + inner, inner, inner)
    width = lanes * 1.22
    red = rng.random() < 0.75
    rubber = ground.textured(
        canvas, ground.tint(canvas, (0.63, 0.33, 0.26) if red else (0.30, 0.42, 0.55), 0.02),
        coarse=0.03, fine=0.02, scale=20.0,
    )  # fmt: skip
    canvas.paint(canvas.cover(oval - width - 2.2), ground.concrete(canvas, 3.0))
    canvas.paint(canvas.cover(oval - width), rubber)
    lines = np.abs(np.mod(oval + 0.61, 1.22) - 0.61) - 0.09
    canvas.paint(
        canvas.cover(np.maximum(lines, np.abs(oval - width / 2) - width / 2 - 0.1)) * 0.6,
        WHITE_PAINT,
    )
    canvas.paint(canvas.cover(oval), rubber * 0.97)
    _pitch(canvas, oval)
    canvas.block(canvas.cover(oval - width - 3))
    canvas.record(
        "running track", 0, 0, length=2 * (straight + inner + width), width=2 * (inner + width)
    )
    if rng.random() < 0.7:
        _grandstand(canvas, float(rng.choice([-1, 1])) * (inner + width + 11), facts)
    if rng.random() < 0.5:
        v = -(inner + width + 16)
        tree_row(canvas, (-canvas.reach, v), (canvas.reach, v), radius=3.2)
    scatter_trees(canvas, int(rng.integers(40, 120)), radius=(2.0, 4.0))
    facts["colour"] = "red" if red else "blue"
    counted(facts, "lanes", lanes, "lane")
    return facts


def _pitch(canvas: Canvas, oval: Array) -> None:
    """Mown football pitch of 105 by 66 metres with white lines and two goals."""
    half_length, half_width = 50.0, 32.5
    x, y = canvas.x, canvas.y
    stripes = 1 + 0.045 * np.sign(np.sin(2 * np.pi * x / 11.0))
    green = ground.grass(canvas, float(canvas.rng.uniform(0.0, 0.3))) * stripes[..., None]
    turf = np.maximum(shapes.box(x, y, half_length + 3, half_width + 2.5), oval + 1.0)
    canvas.paint(canvas.cover(turf), green)
    ax, ay = np.abs(x), np.abs(y)
    lines = shapes.union(
        np.abs(shapes.box(x, y, half_length, half_width)),
        np.maximum(ax, ay - half_width),
        np.abs(np.hypot(x, y) - 9.15),
        np.abs(shapes.box(ax - half_length, y, 16.5, 20.0)) + 9 * (ax > half_length),
        np.abs(shapes.box(ax - half_length, y, 5.5, 9.2)) + 9 * (ax > half_length),
    )
    inside = np.maximum(lines, turf + 1.0)
    canvas.paint(canvas.cover(inside - 0.22) * 0.8, WHITE_PAINT)


def _grandstand(canvas: Canvas, v: float, facts: Facts) -> None:
    rng = canvas.rng
    length = float(rng.uniform(50, 95))
    stand = shapes.box(canvas.x, canvas.y - v, length / 2, 8.0)
    steps = np.floor((np.abs(canvas.y) - abs(v) + 8.0) / 1.0)
    seats = ground.tint(
        canvas, ((0.30, 0.40, 0.58), (0.68, 0.67, 0.64), (0.60, 0.34, 0.28))[rng.integers(3)], 0.02
    )
    aisle = 1 + 0.25 * (np.mod(canvas.x, 12.0) < 1.0)
    canvas.paint(
        canvas.cover(stand),
        seats * ((0.95 + 0.06 * np.mod(steps, 2)) * aisle)[..., None],
        1 + 0.5 * steps,
    )
    if rng.random() < 0.6:
        back = shapes.box(canvas.x, canvas.y - v - np.sign(v) * 4.5, length / 2 + 1, 4.5)
        canvas.paint(canvas.cover(back), ground.tint(canvas, (0.80, 0.80, 0.79), 0.02), 13.0)
    canvas.block(canvas.cover(stand - 3))
    canvas.record("grandstand", 0, v, length=length, width=16)
    facts["stand"] = pick(rng, "a grandstand", "a long stand")


def golf_course(canvas: Canvas) -> Facts:
    """Fairways with mowing stripes, a putting green, sand bunkers, trees and perhaps a pond."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.62))
    canvas.raise_land(1.6 * canvas.noise(reach * 0.5, 2))
    knots = [(u * reach, float(rng.normal(0, 0.17)) * reach) for u in (-1.4, -0.8, -0.25, 0.28)]
    curve = shapes.smooth_curve(knots, 8)
    fairway = (
        shapes.follow(canvas.x, canvas.y, curve).distance
        - 0.19 * reach
        + 2.5 * canvas.noise(25.0, 2)
    )
    stripes = 1 + 0.04 * np.sign(np.sin(2 * np.pi * canvas.x / 9.0))
    canvas.paint(
        canvas.cover(fairway, soft=1.5), ground.grass(canvas, 0.05) * stripes[..., None] * 1.03
    )
    gu, gv = curve[-1]
    size = float(rng.uniform(10, 14))
    x, y = canvas.x - gu, canvas.y - gv
    wobble = 1.6 * canvas.noise(18.0, 2)
    green = shapes.ellipse(x, y, size * 1.25, size) + wobble
    canvas.paint(canvas.cover(green - 2.5, soft=1.0), (0.36, 0.47, 0.25))
    canvas.paint(
        canvas.cover(green, soft=0.5),
        ground.textured(canvas, (0.45, 0.57, 0.33), coarse=0.02, fine=0.02, scale=6),
    )
    canvas.block(canvas.cover(shapes.union(fairway - 3, green - 4)))
    canvas.record("putting green", gu, gv, length=2.5 * size, width=2 * size)
    if rng.random() < 0.4:
        _pond(canvas, fairway, green, facts)
    for _ in range(int(rng.integers(3, 7))):
        _bunker(canvas, gu, gv, size)
    counted(facts, "bunkers", canvas.count("bunker"), "bunker")
    if "bunkers" in facts:
        facts["sand"] = pick(rng, "white sand", "pale sand")
    density = np.minimum(fairway, green) - 8 + 14 * canvas.noise(reach * 0.4, 3) - 0.12 * reach
    wood(canvas, density, spacing=7.0, kind="mixed")
    scatter_trees(canvas, 50, radius=(2.0, 4.0))
    facts["trees"] = pick(rng, "trees", "groups of trees", "dense trees")
    return facts


def _bunker(canvas: Canvas, gu: float, gv: float, size: float) -> None:
    rng = canvas.rng
    t, r = float(rng.uniform(0, 2 * np.pi)), size * float(rng.uniform(1.65, 2.1))
    u, v = gu + 1.2 * r * float(np.cos(t)), gv + r * float(np.sin(t))
    length = float(rng.uniform(4, 7))
    patch = canvas.patch(u, v, t + np.pi / 2, radius=2.2 * length)
    if patch is None:
        return
    turn = np.arctan2(patch.y, patch.x)
    lobes = 0.8 * np.sin(3 * turn + rng.uniform(0, 6)) + 0.5 * np.sin(5 * turn + rng.uniform(0, 6))
    shape = shapes.ellipse(patch.x, patch.y, length * 1.4, length * 0.8) + lobes
    patch.paint(patch.cover(shape - 1.0, soft=0.8), (0.35, 0.42, 0.24))
    sand = np.asarray((0.86, 0.81, 0.69)) * (1 + 0.03 * patch.grain)[..., None]
    patch.paint(patch.cover(shape, soft=0.4), sand, patch.height + np.clip(shape / 2, -0.8, 0))
    canvas.block(canvas.cover(np.hypot(canvas.x - u, canvas.y - v) - length * 1.6))
    canvas.record("bunker", u, v, length=2.8 * length, width=1.6 * length, angle=t + np.pi / 2)


def _pond(canvas: Canvas, fairway: Array, green: Array, facts: Facts) -> None:
    rng = canvas.rng
    u, v = (float(n) for n in rng.uniform(-0.5, 0.5, 2) * canvas.reach)
    v = v + (0.3 if v > 0 else -0.3) * canvas.reach
    size = float(rng.uniform(0.16, 0.26)) * canvas.reach
    shape = shapes.ellipse(canvas.x - u, canvas.y - v, size * 1.4, size * 0.8) + 4 * canvas.noise(
        30.0, 2
    )
    shape = np.maximum(shape, -np.minimum(fairway, green) + 6)
    canvas.paint(canvas.cover(shape - 1.2, soft=1.0), ground.soil(canvas))
    canvas.paint(
        canvas.cover(shape, soft=0.6), ground.water(canvas, (0.22, 0.31, 0.30)), canvas.height - 0.6
    )
    canvas.block(canvas.cover(shape - 2))
    if (shape < 0).mean() > 0.02:
        facts["pond"] = "a pond"
