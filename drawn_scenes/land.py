"""Natural and farmed land: forest, beach, river, terraced fields, circular fields."""

import numpy as np

from drawn_scenes import ground, shapes
from drawn_scenes.canvas import Array, Canvas
from drawn_scenes.captions import Facts, counted, pick
from drawn_scenes.vegetation import bush, scatter_trees, wood
from drawn_scenes.vehicles import boat, wake

CROPS = {
    "green": (0.33, 0.41, 0.24),
    "dark green": (0.24, 0.32, 0.19),
    "yellow": (0.66, 0.59, 0.37),
    "brown": (0.52, 0.42, 0.31),
    "pale": (0.66, 0.60, 0.48),
}


def forest(canvas: Canvas) -> Facts:
    """Closed canopy, sometimes with a clearing or a track through it."""
    rng = canvas.rng
    facts: Facts = {}
    kind = ("broadleaved", "conifer", "mixed")[rng.integers(3)]
    facts["kind"] = {"broadleaved": "broadleaved", "conifer": "coniferous", "mixed": "mixed"}[kind]
    canvas.raise_land(3.0 * canvas.noise(canvas.reach, 2))
    canvas.paint(
        np.ones_like(canvas.height), ground.mix(ground.grass(canvas, 0.2), (0.2, 0.2, 0.14), 0.6)
    )
    density = np.ones_like(canvas.height)
    feature = rng.random()
    if feature < 0.35:
        curve = _crossing(canvas, bend=0.25)
        track = shapes.follow(canvas.x, canvas.y, curve)
        path = canvas.cover(track.distance - 2.4 + 0.4 * canvas.noise(4.0), soft=0.6)
        canvas.paint(path, ground.soil(canvas, (0.60, 0.52, 0.41)))
        canvas.block(canvas.cover(track.distance - 3.6))
        facts["path"] = pick(rng, "a narrow dirt road", "a winding dirt track", "a small path")
    elif feature < 0.65:
        clearing = canvas.noise(canvas.reach * 0.9, 3) - 1.0
        canvas.paint(canvas.cover(-clearing * 12, soft=3.0), ground.grass(canvas, 0.45))
        density = np.where(clearing > 0, -1, density)
        if (density < 0).mean() > 0.04:
            facts["clearing"] = pick(rng, "a grassy clearing", "some open grassland")
    wood(canvas, density, spacing=float(rng.uniform(3.6, 5.6)), kind=kind)
    facts["density"] = pick(rng, "dense", "thick", "lush")
    return facts


def beach(canvas: Canvas) -> Facts:
    """A shore with wet sand, breaking waves and plants behind."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    shore = canvas.y + 0.06 * reach * canvas.noise(reach * 1.2, 2) + 0.5 * canvas.noise(9.0, 3)
    shore += float(rng.uniform(-0.25, 0.2)) * reach
    canvas.paint(np.ones_like(canvas.height), ground.sand(canvas))
    wet = canvas.cover(-(shore + 6.0 + 1.2 * canvas.noise(14.0, 2)), soft=3.0)
    canvas.stain(wet, 0.76)
    _sea(canvas, shore)
    inland = -shore - float(rng.uniform(0.35, 0.6)) * reach
    canvas.height += 0.3 * canvas.noise(7.0, 3) * np.clip((-8 - shore) / 10, 0, 1)
    if rng.random() < 0.75:
        green = canvas.cover(-inland + 3.0 * canvas.noise(12.0, 4), soft=4.0)
        canvas.paint(green * 0.9, ground.grass(canvas, 0.5))
        density = inland - 4.0 + 6.0 * canvas.noise(20.0, 3)
        trees = wood(canvas, density, spacing=4.6)
        if trees > 6:
            facts["plants"] = pick(rng, "green trees", "some trees", "dense green plants")
    else:
        for _ in range(220):
            u, v = rng.uniform(-reach, reach, 2)
            if -v > 0.45 * reach:
                bush(canvas, u, v, radius=float(rng.uniform(0.5, 1.3)))
    parasols = _parasols(canvas, shore) if rng.random() < 0.5 else 0
    if parasols:
        counted(facts, "parasols", parasols, "parasol")
    facts["sand"] = pick(rng, "yellow", "pale", "golden")
    return facts


def _sea(canvas: Canvas, shore: Array) -> None:
    """Shallow to deep water with lines of foam roughly parallel to the shore."""
    rng = canvas.rng
    turquoise = rng.random() < 0.6
    shallow = (0.36, 0.56, 0.55) if turquoise else (0.36, 0.43, 0.40)
    deep = (0.10, 0.29, 0.37) if turquoise else (0.17, 0.26, 0.29)
    depth = np.clip(shore / (0.9 * canvas.reach), 0, 1) ** 0.6
    colour = ground.mix(shallow, deep, depth + 0.06 * canvas.noise(20.0, 3))
    wave = canvas.streaks(16.0, 2.4) * 0.045 + canvas.streaks(4.0, 1.1) * 0.03
    sea = colour * (1 + wave)[..., None]
    canvas.paint(canvas.cover(-shore, soft=2.2), sea)
    crest = np.zeros_like(shore)
    for at in np.cumsum(rng.uniform(4.0, 9.0, rng.integers(2, 5))) - 4.5:
        line = shore - at + 1.6 * canvas.noise(26.0, 3)
        width = 0.7 + 0.5 * canvas.streaks(14.0, 14.0)
        trail = np.clip(1 + (line - width) / 3.0, 0, 1) * (line < width) * 0.5
        crest = np.maximum(crest, canvas.cover(np.abs(line) - width, soft=0.6) + trail)
    lace = np.clip(0.62 + 0.55 * canvas.noise(2.4, 4), 0, 1)
    swash = np.clip(1 - np.abs(shore - 0.6) / 1.6, 0, 1) * np.clip(canvas.noise(5.0, 4), 0, 1)
    foam = np.clip(crest * lace + 0.7 * swash, 0, 0.95) * (shore > -1.5)
    canvas.paint(foam, (0.90, 0.92, 0.91))


def _parasols(canvas: Canvas, shore: Array) -> int:
    rng = canvas.rng
    colours = ((0.80, 0.25, 0.2), (0.88, 0.86, 0.8), (0.2, 0.4, 0.62), (0.86, 0.66, 0.22))
    dry = (shore < -9) & (shore > -20) & ~canvas.blocked
    for _ in range(int(rng.integers(6, 22))):
        row = np.argwhere(dry)[rng.integers(dry.sum())] if dry.any() else None
        if row is None:
            break
        u, v = float(canvas.x[tuple(row)]), float(canvas.y[tuple(row)])
        patch = canvas.patch(u, v, radius=2.2)
        if patch is None:
            continue
        distance = shapes.disc(patch.x, patch.y, 1.4)
        slices = 0.86 + 0.14 * np.sign(np.sin(4 * np.arctan2(patch.y, patch.x)))
        colour = np.asarray(colours[rng.integers(4)]) * slices[..., None]
        patch.paint(patch.cover(distance), colour, patch.height + 2.2 - 0.2 * (distance + 1.4))
        canvas.record("parasol", u, v, length=2.8, width=2.8)
    return canvas.count("parasol")


def river(canvas: Canvas) -> Facts:
    """A winding river between wooded or grassy banks."""
    rng = canvas.rng
    facts: Facts = {}
    canvas.paint(np.ones_like(canvas.height), ground.grass(canvas))
    if rng.random() < 0.5:
        field = CROPS[("green", "yellow", "brown")[rng.integers(3)]]
        rows = ground.ploughed(canvas, field, angle=float(rng.uniform(0, 3)), spacing=3.0)
        canvas.paint(canvas.cover(-canvas.y - 0.1 * canvas.reach, soft=2), rows)
        facts["fields"] = "farmland"
    curve = _crossing(canvas, bend=0.42)
    track = shapes.follow(canvas.x, canvas.y, curve)
    half = canvas.reach * float(rng.uniform(0.12, 0.2))
    bank = track.distance - half * (1 + 0.12 * canvas.noise(canvas.reach * 0.7, 3))
    canvas.paint(canvas.cover(bank - 2.5 + 2.0 * canvas.noise(9.0), soft=3.0), ground.soil(canvas))
    canvas.height += np.clip(bank / 3, -1.5, 0)
    stream = ground.water(canvas)
    shallow = np.clip(1 + bank / (0.5 * half), 0, 1) * 0.35
    canvas.paint(canvas.cover(bank, soft=0.8), ground.mix(stream, (0.44, 0.42, 0.33), shallow))
    canvas.block(canvas.cover(bank - 1.5))
    facts["colour"] = "dark" if float(stream.mean()) < 0.22 else "green"
    facts["shape"] = pick(rng, "winding", "curved", "meandering")
    if rng.random() < 0.75:
        strip = float(rng.uniform(0.1, 0.5)) * canvas.reach
        wood(canvas, strip - bank + 0.2 * canvas.reach * canvas.noise(30.0, 3), spacing=6.0)
        facts["banks"] = pick(rng, "dense trees", "green trees", "a strip of wood")
    else:
        scatter_trees(canvas, 40, radius=(1.8, 4.0))
        facts["banks"] = "grass and a few trees"
    if rng.random() < 0.4:
        (u, v), heading = shapes.point_along(curve, shapes.curve_length(curve) * 0.5, half * 0.2)
        wake(canvas, u, v, heading, length=9.0)
        if boat(canvas, u, v, heading, length=9.0):
            facts["boat"] = "a boat"
    return facts


def terraced_fields(canvas: Canvas) -> Facts:
    """Hillside steps: contour bands of one height each, with walls and narrow crops."""
    rng = canvas.rng
    facts: Facts = {}
    reach = canvas.reach
    hill = canvas.noise(reach * 1.1, 3) * reach * 0.17 + canvas.y * float(rng.uniform(0.25, 0.5))
    step = reach * float(rng.uniform(0.055, 0.085))
    level = np.floor(hill / step)
    within = hill / step - level
    canvas.raise_land((level + np.clip((within - 0.88) / 0.12, 0, 1)) * step * 0.34)
    flooded = rng.random() < 0.35
    names = (
        ("green", "dark green", "yellow", "green")
        if not flooded
        else ("green", "pale", "dark green")
    )
    base = rng.integers(0, 997)
    choice = (level.astype(int) * 7 + base) % len(names)
    colour = np.take(np.asarray([CROPS[name] for name in names], dtype=np.float32), choice, axis=0)
    shade = 1 + 0.08 * np.sin(level * 12.9 + base)
    rows = 1 + 0.05 * np.sin(2 * np.pi * within * 5)
    field = ground.textured(canvas, colour, coarse=0.09, fine=0.06, scale=14.0)
    canvas.paint(np.ones_like(hill), field * (shade * rows)[..., None])
    if flooded:
        pond = (np.sin(level * 5.3 + base) > -0.2) & (within > 0.1) & (within < 0.86)
        mirror = ground.water(canvas, (0.42, 0.49, 0.52))
        canvas.paint(0.85 * pond, mirror)
        facts["water"] = pick(rng, "flooded with water", "filled with water")
    edge = np.clip((within - 0.84) / 0.04, 0, 1)
    canvas.paint(edge * 0.75, ground.mix(ground.soil(canvas), CROPS["dark green"], 0.35))
    _terrace_extras(canvas, facts)
    facts["main"] = "green"
    return facts


def _terrace_extras(canvas: Canvas, facts: Facts) -> None:
    rng = canvas.rng
    if rng.random() < 0.55:
        curve = _crossing(canvas, bend=0.3)
        track = shapes.follow(canvas.x, canvas.y, curve)
        canvas.paint(canvas.cover(track.distance - 1.9, soft=0.8), (0.68, 0.62, 0.52))
        canvas.block(canvas.cover(track.distance - 3.0))
        facts["path"] = pick(rng, "a narrow road", "a winding path")
    if rng.random() < 0.6:
        density = canvas.noise(canvas.reach * 0.7, 3) - 1.4
        if wood(canvas, density, spacing=5.5) > 8:
            facts["trees"] = pick(rng, "some trees", "clumps of trees")


def circular_fields(canvas: Canvas) -> Facts:
    """Centre-pivot irrigation: big discs of crops on dry ground, with wheel tracks and sectors."""
    rng = canvas.rng
    facts: Facts = {}
    dry = ground.mix(
        (0.66, 0.57, 0.45), (0.56, 0.49, 0.39), 0.5 + 0.4 * canvas.noise(canvas.reach, 5)
    )
    canvas.paint(
        np.ones_like(canvas.height), ground.textured(canvas, dry, coarse=0.05, fine=0.04, scale=80)
    )
    pitch = canvas.reach * float(rng.uniform(0.42, 1.05))
    radius = pitch * float(rng.uniform(0.44, 0.485))
    grid = np.minimum(*(np.abs(np.mod(a, pitch) - pitch / 2) for a in (canvas.x, canvas.y)))
    canvas.paint(canvas.cover(grid - 5.0) * 0.8, (0.74, 0.68, 0.58))
    names: list[str] = []
    for i in range(-4, 5):
        for j in range(-4, 5):
            u, v = i * pitch, j * pitch
            if rng.random() < 0.92 and (name := _pivot(canvas, u, v, radius)):
                names.append(name)
    # growth differs within a field, and the grain of the plain shows through
    canvas.albedo *= 1 + 0.05 * canvas.noise(0.5 * pitch, 5)[..., None]
    canvas.albedo *= 1 + 0.03 * canvas.streaks(12 * canvas.gsd, 2.5 * canvas.gsd)[..., None]
    counted(facts, "circles", canvas.count("circular field"), "circular field")
    kinds = [name for name in ("green", "yellow", "brown") if any(name in n for n in names)]
    if kinds:
        facts["colours"] = " and ".join([", ".join(kinds[:-1]), kinds[-1]] if kinds[1:] else kinds)
    return facts


def _pivot(canvas: Canvas, u: float, v: float, radius: float) -> str | None:
    """Draw one irrigated disc; return the name of its crop if it is in the picture."""
    rng = canvas.rng
    patch = canvas.patch(u, v, radius=radius * 1.05)
    if patch is None:
        return None
    name = ("green", "dark green", "green", "yellow", "brown", "pale")[rng.integers(6)]
    distance = np.hypot(patch.x, patch.y)
    turn = np.arctan2(patch.y, patch.x)
    colour = ground.tint(canvas, CROPS[name], 0.02)
    tone = 1 + 0.055 * patch.grain
    wobble = 2 * np.pi * distance / (radius / 7.5)
    rings = 1 - rng.uniform(0.02, 0.07) * np.clip(np.cos(wobble) - 0.72, 0, 1) / 0.28
    field = colour * (tone * rings)[..., None]
    arm = float(rng.uniform(-np.pi, np.pi))
    lag = np.mod(turn - arm, 2 * np.pi) / (2 * np.pi)
    field = field * (1.10 - 0.2 * lag)[..., None]  # freshly watered soil behind the arm is darker
    if rng.random() < 0.45:
        other = ground.tint(canvas, CROPS[("brown", "green", "pale")[rng.integers(3)]], 0.02)
        share = float(rng.uniform(0.2, 0.5))
        field = np.where((lag < share)[..., None], other * (tone * rings)[..., None], field)
    patch.paint(patch.cover(distance - radius, soft=4.0), field)
    line = shapes.capsule(
        patch.x, patch.y, (0.0, 0.0), (radius * np.cos(arm), radius * np.sin(arm)), canvas.gsd * 0.4
    )
    patch.paint(patch.cover(line) * 0.8, (0.84, 0.84, 0.82))
    seen = canvas.record("circular field", u, v, length=2 * radius, width=2 * radius)
    return name if seen else None


def _crossing(canvas: Canvas, *, bend: float) -> list[shapes.Point]:
    """Draw a random smooth curve right across the sheet, along its first axis."""
    rng, reach = canvas.rng, canvas.reach
    knots = [
        (float(u) * reach, float(rng.normal(0, bend * 0.55)) * reach)
        for u in np.linspace(-1.4, 1.4, 6)
    ]
    return shapes.smooth_curve(knots, 6)
