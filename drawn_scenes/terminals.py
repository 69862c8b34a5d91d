"""Places of departure: airport apron, harbour, railway yard."""

import numpy as np

from drawn_scenes import ground, shapes
from drawn_scenes.canvas import Array, Canvas
from drawn_scenes.captions import Facts, counted, pick
from drawn_scenes.ground import WHITE_PAINT, YELLOW_PAINT
from drawn_scenes.structures import block
from drawn_scenes.vegetation import scatter_trees
from drawn_scenes.vehicles import boat, car, lorry, plane, wagon


def airport(canvas: Canvas) -> Facts:
    """Aircraft on an apron beside a terminal, or on a taxiway beside grass."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    canvas.paint(np.ones_like(canvas.height), ground.concrete(canvas, 7.5))
    rubber = np.clip(canvas.streaks(30.0, 2.2) - 1.0, 0, 1)
    canvas.stain(rubber * 0.5, 0.8)
    length = float(rng.uniform(30, 42))
    if rng.random() < 0.6:
        _gates(canvas, length, facts)
    else:
        _taxiway(canvas, length, facts)
    for _ in range(int(rng.integers(3, 9))):
        u, v = rng.uniform(-reach, reach, 2)
        if canvas.free(u, v, 4.0):
            (car if rng.random() < 0.7 else lorry)(canvas, u, v, float(rng.choice([0, np.pi / 2])))
    counted(facts, "planes", canvas.count("plane"), "plane")
    return facts


def _guide_line(canvas: Canvas, distance: Array) -> None:
    canvas.paint(canvas.cover(distance - 0.6) * 0.25, (0.3, 0.3, 0.3))
    canvas.paint(canvas.cover(distance - 0.22) * 0.9, YELLOW_PAINT)


def _gates(canvas: Canvas, length: float, facts: Facts) -> None:
    """A terminal along one side, aircraft nose-in with jet bridges."""
    rng = canvas.rng
    reach = canvas.reach
    wall = -canvas.span[1] * float(rng.uniform(0.62, 0.8))
    nose = wall + 11
    taxi = nose + length + 17
    _guide_line(canvas, np.abs(canvas.y - taxi))
    depth = 44.0
    block(canvas, (0, wall - depth / 2, 0), length=3 * reach, width=depth, tall=11, name="terminal")
    spacing = length * float(rng.uniform(1.04, 1.18))
    first = float(rng.uniform(-0.3, 0.3)) * spacing
    for k in range(-3, 4):
        u = first + k * spacing
        _guide_line(canvas, shapes.capsule(canvas.x, canvas.y, (u, nose), (u, taxi), 0.0))
        bridge = shapes.capsule(
            canvas.x, canvas.y, (u + 9, wall - 1), (u + 3.2, nose + length * 0.14), 1.6
        )
        canvas.paint(canvas.cover(bridge), (0.72, 0.73, 0.74), 6.0)
        canvas.block(canvas.cover(bridge - 3))
        if k == 0 or rng.random() < 0.82:
            plane(
                canvas,
                u,
                nose + length / 2,
                -np.pi / 2,
                length=length * float(rng.uniform(0.93, 1.03)),
            )
            canvas.block(
                canvas.cover(shapes.box(canvas.x - u, canvas.y - nose - length / 2, 20, 20))
            )
    canvas.block(canvas.cover(canvas.y - wall - 2))
    facts["terminal"] = pick(rng, "the terminal building", "a long terminal")


def _taxiway(canvas: Canvas, length: float, facts: Facts) -> None:
    """Open apron with parked aircraft and a grass strip with a runway beyond."""
    rng = canvas.rng
    grassy = canvas.y - canvas.span[1] * float(rng.uniform(0.4, 0.7))
    canvas.paint(
        canvas.cover(-grassy + 0.15 * canvas.noise(9.0, 4), soft=0.5), ground.grass(canvas, 0.5)
    )
    canvas.block(canvas.cover(-grassy))
    runway = np.abs(grassy - 32) - 12
    canvas.paint(canvas.cover(runway), ground.asphalt(canvas, 0.36))
    canvas.paint(canvas.cover(np.abs(runway + 1.5) - 0.4), WHITE_PAINT)
    dashes = np.mod(canvas.x, 24.0) < 13
    canvas.paint(canvas.cover(np.abs(grassy - 32) - 0.45) * dashes, WHITE_PAINT)
    facts["runway"] = "a runway"
    spacing = length * 1.14
    tilt = float(rng.choice([-np.pi / 2, -np.pi / 2, -2.1]))
    row = float(np.median(canvas.y[grassy > 0].min(initial=0.0))) - length * 0.75
    first = float(rng.uniform(-0.5, 0.5)) * spacing
    for k in range(-3, 4):
        u = first + k * spacing
        _guide_line(
            canvas, shapes.capsule(canvas.x, canvas.y, (u, row), (u, row - length * 1.1), 0.0)
        )
        if k == 0 or rng.random() < 0.75:
            plane(canvas, u, row, tilt, length=length * float(rng.uniform(0.85, 1.0)))
            canvas.block(canvas.cover(np.hypot(canvas.x - u, canvas.y - row) - length * 0.55))
    _guide_line(canvas, np.abs(canvas.y - row + length * 1.1))


def harbor(canvas: Canvas) -> Facts:
    """Floating piers with finger berths full of boats, at a quay."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    canvas.paint(np.ones_like(canvas.height), ground.water(canvas))
    canvas.height -= 1.0
    length = float(rng.uniform(8, 13))
    beam = length * 0.40
    gap = 2 * length + float(rng.uniform(9, 15))
    quay = canvas.span[0] * float(rng.uniform(0.4, 0.95))
    first = float(rng.uniform(-0.5, 0.5)) * gap
    share = float(rng.uniform(0.65, 0.97))
    piers = 0
    for k in range(-4, 5):
        v = first + k * gap
        if abs(v) > reach * 1.2:
            continue
        piers += _pier(canvas, v, quay, length=length, beam=beam, share=share)
    if canvas.count("boat") and quay < canvas.span[0] * 0.8:
        _quay(canvas, quay, facts)
    counted(facts, "boats", canvas.count("boat"), "boat")
    counted(facts, "piers", piers, "pier")
    facts["order"] = pick(rng, "neatly", "in rows", "side by side")
    return facts


def _pier(
    canvas: Canvas, v: float, quay: float, *, length: float, beam: float, share: float
) -> bool:
    """Draw one jetty at ``v`` with berths on both sides; True if it is in the picture."""
    rng = canvas.rng
    reach = canvas.reach * 1.15
    start = -float(rng.uniform(0.55, 1.3)) * canvas.span[0]
    planks = 0.93 + 0.07 * np.sign(np.sin(2 * np.pi * canvas.x / 1.2))
    wood = np.asarray((0.66, 0.61, 0.54)) * (planks + 0.04 * canvas.grain)[..., None]
    jetty = shapes.box(canvas.x - (start + quay) / 2, canvas.y - v, (quay - start) / 2, 1.2)
    canvas.paint(canvas.cover(jetty), wood, 0.1)
    for u in np.arange(start + beam / 2, min(quay, reach) - beam / 2, beam):
        for sign in (-1, 1):
            finger = canvas.patch(u + beam / 2, v + sign * length * 0.42, radius=length * 0.6)
            if finger is not None and int((u - start) / beam) % 2:
                shape = shapes.box(finger.x, finger.y, 0.35, length * 0.42)
                finger.paint(finger.cover(shape), (0.68, 0.64, 0.57), 0.0)
            if rng.random() < share:
                size = length * float(rng.uniform(0.72, 1.0))
                heading = sign * np.pi / 2 + (np.pi if rng.random() < 0.25 else 0.0)
                boat(canvas, u, v + sign * (1.6 + size / 2), heading, length=size)
    return any(canvas.sees(u, v) for u in np.linspace(start, quay, 20))


def _quay(canvas: Canvas, quay: float, facts: Facts) -> None:
    rng = canvas.rng
    land = canvas.cover(quay - canvas.x)
    canvas.paint(land, ground.concrete(canvas), 0.8)
    canvas.paint(canvas.cover(np.abs(canvas.x - quay - 0.5) - 0.5), (0.74, 0.72, 0.68), 1.0)
    if rng.random() < 0.6:
        canvas.paint(canvas.cover(quay + 12 - canvas.x), ground.grass(canvas), 0.8)
        canvas.block(canvas.cover(canvas.x - quay - 13))
        scatter_trees(canvas, 40, radius=(1.8, 3.2))
        facts["shore"] = "trees on the bank"
    for v in np.arange(-canvas.reach, canvas.reach, 2.8):
        if rng.random() < 0.4:
            car(canvas, quay + 7, float(v), 0.0)
    facts["quay"] = pick(rng, "the quay", "a concrete quay")


def railway_yard(canvas: Canvas) -> Facts:
    """Parallel tracks on ballast with rows of wagons and a platform or shed."""
    rng = canvas.rng
    facts: Facts = {}
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas, 0.7))
    pitch = 4.7
    tracks = int(rng.integers(5, 12))
    middle = (tracks - 1) / 2 * pitch
    bed = np.abs(canvas.y) - middle - 3.2 - 0.5 * canvas.noise(8.0)
    gravel = ground.mix((0.52, 0.47, 0.42), (0.43, 0.37, 0.33), 0.5 + 0.4 * canvas.noise(12.0, 4))
    rust = np.clip(canvas.streaks(60.0, 1.5), 0, 1) * 0.15
    ballast = ground.textured(
        canvas, ground.mix(gravel, (0.40, 0.30, 0.24), rust), coarse=0.05, fine=0.09, scale=2
    )
    canvas.paint(canvas.cover(bed, soft=1.0), ballast)
    canvas.block(canvas.cover(bed - 1))
    for k in range(tracks):
        v = k * pitch - middle
        _rails(canvas, v)
    if tracks > 6:  # a crossover between two tracks
        _rails(canvas, -middle + pitch, slope=pitch / 45.0)
    kinds = ("open", "covered", "tanker")
    busy = 0
    for k in range(tracks):
        v = k * pitch - middle
        if rng.random() < 0.62:
            busy += _train(canvas, v, kinds[rng.integers(3)])
    if rng.random() < 0.6:
        side = float(rng.choice([-1, 1]))
        v = side * (middle + 3.5 + 9)
        block(
            canvas,
            (float(rng.uniform(-20, 20)), v, 0),
            length=float(rng.uniform(40, 80)),
            width=13,
            tall=7,
        )
        canvas.block(canvas.cover(np.abs(canvas.y - v) - 8))
        counted(facts, "buildings", canvas.count("building"), "building")
    scatter_trees(canvas, 60, radius=(1.5, 3.2))
    counted(facts, "tracks", tracks, "railway track")
    counted(facts, "wagons", canvas.count("wagon"), "wagon")
    counted(facts, "trains", busy, "train")
    if canvas.count("wagon") > 3:
        facts["freight"] = pick(rng, "freight wagons", "goods wagons")
    return facts


def _rails(canvas: Canvas, v: float, slope: float = 0.0) -> None:
    side = canvas.y - v
    if slope:
        side = side - np.clip(canvas.x * slope + 2.35, 0, 4.7)
    ties = (np.mod(canvas.x, 0.7) < 0.3) * canvas.cover(np.abs(side) - 1.25)
    canvas.paint(ties * 0.55, (0.42, 0.38, 0.34))
    canvas.paint(canvas.cover(np.abs(np.abs(side) - 0.75) - 0.10) * 0.85, (0.60, 0.54, 0.50), 0.25)


def _train(canvas: Canvas, v: float, kind: str) -> bool:
    """Couple wagons on one track; True if any is in the picture."""
    rng = canvas.rng
    start = float(rng.uniform(-1.3, 0.3)) * canvas.reach
    seen = False
    for k in range(int(rng.integers(3, 12))):
        seen |= wagon(canvas, start + 14.0 * k, v, 0.0, kind=kind)
    return seen
