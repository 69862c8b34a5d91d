"""Sentences about a drawn scene, true to what was drawn.

A drawing function returns facts (slot -> words); a template is used only if every slot it asks for
is known. Counts come with their verb and plural: ``counted`` fills ``{cars}``, ``{cars_are}``.
"""

import string

import numpy as np

Facts = dict[str, str]

CAPTIONS_PER_SCENE = 5
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SLOTS = string.Formatter()


def pick(rng: np.random.Generator, *options: str) -> str:
    """Choose one wording at random."""
    return options[int(rng.integers(len(options)))]


def counted(facts: Facts, slot: str, number: int, noun: str) -> None:
    """Fill ``slot`` with "two cars" and ``slot_are`` with "are"; nothing if the number is zero."""
    if number < 1:
        return
    if number == 1:
        words = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    elif number < len(NUMBER_WORDS):
        words = f"{NUMBER_WORDS[number]} {noun}s"
    else:
        words = f"many {noun}s"
    facts[slot] = words
    facts[f"{slot}_are"] = "is" if number == 1 else "are"


TEMPLATES: dict[str, tuple[str, ...]] = {
    "airport": (
        "There {planes_are} {planes} parked at the airport.",
        "{planes} {planes_are} parked on the concrete apron.",
        "It is an airport with {planes} on the ground.",
        "{planes} {planes_are} parked next to {terminal}.",
        "{planes} {planes_are} standing on the apron near {runway}.",
        "An airport apron with {planes} and yellow guide lines.",
        "At the airport {planes} {planes_are} parked beside {terminal}.",
        "{planes} can be seen on the grey tarmac of an airport.",
        "White aircraft on a concrete apron.",
    ),
    "harbor": (
        "There {boats_are} {boats} moored in the harbor.",
        "{boats} {boats_are} moored {order} at the piers.",
        "It is a harbor with {boats} in dark water.",
        "{boats} {boats_are} docked beside {piers} in a marina.",
        "A harbor with {piers} and {boats}.",
        "White boats lie at the wooden piers next to {quay}.",
        "{boats} {boats_are} parked in the harbor, with {shore}.",
        "White boats are docked {order} in a harbor.",
    ),
    "storage_tanks": (
        "There {tanks_are} {tanks} on {ground}.",
        "{tanks} {tanks_are} arranged in rows on {ground}.",
        "Some {size} round storage tanks stand close to each other.",
        "A tank farm with {size} cylindrical tanks on {ground}.",
        "{tanks} {tanks_are} joined by pipes.",
        "It is an oil depot with {tanks}.",
        "White circular tanks cast shadows on {ground}.",
        "Round storage tanks are surrounded by low earth banks.",
    ),
    "tennis_courts": (
        "There {courts_are} {courts} surrounded by {around}.",
        "{courts} with a {colour} surface and white lines.",
        "{courts} {courts_are} next to {buildings}.",
        "{courts} {courts_are} beside a parking area with {cars}.",
        "It is a sports ground with {courts}.",
        "A {colour} tennis ground with white lines, surrounded by {around}.",
        "{courts} {courts_are} inside a fence.",
        "Tennis is played on a {colour} surface between {around}.",
    ),
    "baseball_diamond": (
        "There is a baseball diamond with {soil} soil and green grass.",
        "It is a baseball field with {infield}.",
        "A baseball diamond with {stand} behind home plate.",
        "A baseball field is surrounded by trees.",
        "The baseball diamond has a {soil} infield and white foul lines.",
        "A baseball field with a mown outfield next to some trees.",
        "White lines mark a baseball field with {soil} soil.",
        "A sector shaped baseball field lies on green grass.",
    ),
    "bridge": (
        "There is a {width} bridge over the river.",
        "A {width} bridge crosses a river with {cars} on it.",
        "{cars} {cars_are} on the bridge over the water.",
        "A bridge joins the two green banks of a river.",
        "{boat} is sailing on the river near a bridge.",
        "A road bridge spans the dark water between two banks.",
        "A {width} bridge with some trees on both sides of the river.",
        "It is a bridge across a wide river.",
    ),
    "roundabout": (
        "There is a roundabout where {arms} meet.",
        "A roundabout with {island} in the middle.",
        "{cars} {cars_are} driving around the roundabout.",
        "A circular road junction with {arms} and {cars}.",
        "{buildings} {buildings_are} next to a roundabout.",
        "It is a traffic circle with {island} on a green island.",
        "{arms} lead to a round intersection with a green centre.",
        "A round green island is surrounded by a ring road.",
    ),
    "terraced_fields": (
        "There are terraced fields on a hillside.",
        "{main} terraces follow the contours of the hill.",
        "It is terraced farmland with {trees}.",
        "Curved terraces {water} on a slope.",
        "{path} leads through the terraced fields.",
        "Stepped {main} fields of irregular shape on a mountain slope.",
        "Narrow curved fields are arranged like stairs.",
        "Green terraces lie next to each other in curved bands.",
        "Terraced fields with {main} crops.",
    ),
    "circular_fields": (
        "There {circles_are} {circles} on dry land.",
        "{circles} with {colours} crops in a dry area.",
        "Center pivot irrigation makes round fields on bare ground.",
        "It is farmland with {circles}.",
        "Round fields are arranged in neat rows on dry ground.",
        "Straight roads run between the round fields.",
        "{colours} circular farmland beside bare land.",
        "Circular irrigated farmland in a dry plain.",
    ),
    "dense_residential": (
        "There are lots of houses with {roof} roofs in the dense residential area.",
        "{houses} {houses_are} arranged close to each other along the streets.",
        "A dense residential area with {houses} and {cars}.",
        "Houses with {roof} roofs stand in rows beside the road.",
        "{cars} {cars_are} parked along the streets of a dense residential area.",
        "{pools} can be seen between the houses of a residential area.",
        "Closely built houses with small gardens near {crossing}.",
        "It is a densely built residential area with straight streets.",
        "A residential quarter with {houses} and some green trees.",
    ),
    "sparse_residential": (
        "There {houses_are} {houses} in the sparse residential area.",
        "{houses} with {roof} roofs surrounded by trees.",
        "A sparse residential area with {houses} beside a road.",
        "{houses} {houses_are} standing among lawns and trees.",
        "{houses} with {pools} and a drive.",
        "A large house with a {roof} roof beside a road.",
        "It is a sparse residential area with scattered plants.",
        "A drive leads from the road to a house with a {roof} roof.",
    ),
    "forest": (
        "There is a {density} forest.",
        "It is a {density} {kind} forest with many trees.",
        "Many green trees are crowded together in a {density} forest.",
        "A forest with {path} through it.",
        "{path} runs between the trees of a {kind} forest.",
        "A {kind} forest with {clearing}.",
        "The ground is covered by {density} green trees.",
        "{density} trees cast shadows on each other in the forest.",
        "A piece of {kind} woodland seen from above.",
    ),
    "beach": (
        "There is a {sand} beach beside the sea.",
        "White waves roll onto a {sand} beach.",
        "{plants} grow behind the {sand} beach.",
        "{parasols} {parasols_are} standing on the {sand} beach.",
        "It is a beach with {sand} sand and white foam.",
        "The sea washes a {sand} sand beach.",
        "A {sand} beach lies between the water and {plants}.",
        "Waves slap a {sand} sand beach again and again.",
    ),
    "parking_lot": (
        "There {cars_are} {cars} in the marked bays of a parking lot.",
        "It is a {fill} parking lot with {cars}.",
        "{cars} {cars_are} parked neatly in rows.",
        "A {fill} parking lot with white lines on grey asphalt.",
        "A parking lot with {cars} beside {trees}.",
        "Cars of many colours are parked in a {fill} parking lot.",
        "The {fill} parking lot has rows of marked bays.",
        "{trees} can be seen at the edge of a {fill} parking lot.",
    ),
    "overpass": (
        "There is an overpass with {cars} on the roads.",
        "One road {crossing} another road.",
        "An overpass {crossing} a freeway with {cars}.",
        "{cars} {cars_are} on the freeway and on the overpass.",
        "A freeway under an overpass with {ramps} beside it.",
        "It is a viaduct over a road with several lanes.",
        "Two roads cross on different levels with grass on the sides.",
        "A road bridge {crossing} a wide freeway with some plants beside it.",
    ),
    "golf_course": (
        "There is a part of a golf course with green turf and {bunkers}.",
        "A golf course with {bunkers} and {trees}.",
        "{bunkers} {bunkers_are} near the putting green of a golf course.",
        "It is a golf course with a smooth green and {trees}.",
        "A golf course with {pond} beside the fairway.",
        "A striped fairway leads to the green between {trees}.",
        "A golf course with well tended turf and {trees}.",
        "A golf course with green turf and {sand}.",
    ),
    "river": (
        "There is a {shape} river with {banks} on its banks.",
        "A {shape} river with {colour} water.",
        "{colour} water flows in a {shape} river.",
        "It is a river with {banks} along both sides.",
        "A {shape} river runs past {fields}.",
        "{boat} is sailing on a {shape} river.",
        "A river winds through a green landscape.",
        "Both banks of the {shape} river are covered with plants.",
        "A wide river beside grass and trees.",
    ),
    "railway_yard": (
        "There {tracks_are} {tracks} side by side.",
        "{wagons} {wagons_are} standing on the tracks of a railway yard.",
        "It is a railway yard with {tracks}.",
        "{trains} {trains_are} on parallel railway tracks.",
        "{buildings} {buildings_are} beside the railway tracks.",
        "A railway yard with {wagons} and {tracks}.",
        "Some {freight} stand in long lines on the rails.",
        "Parallel railway tracks on a bed of gravel.",
        "A railway with {tracks} and some grass on both sides.",
    ),
    "running_track": (
        "There is a {colour} running track around a football field.",
        "A playground with a {colour} track and a green football field.",
        "A football field with white lines inside a {colour} oval track.",
        "A sports ground with {stand} beside the {colour} running track.",
        "It is a stadium with {stand} and a {colour} track.",
        "The {colour} track with {lanes} surrounds green turf.",
        "A {colour} oval running track is surrounded by trees.",
        "A playground with a football field next to some green trees.",
    ),
    "solar_farm": (
        "There are {rows} of solar panels.",
        "It is a solar farm with {rows} of dark blue panels.",
        "{rows} of solar panels are arranged in the same direction.",
        "A solar power station beside {beside}.",
        "Solar panels cover {amount} of the ground.",
        "Dark blue solar panels stand in parallel lines.",
        "A field of solar panels with a small building.",
        "Photovoltaic panels are lined up with narrow tracks between them.",
    ),
}


def describe(category: str, facts: Facts, rng: np.random.Generator) -> tuple[str, ...]:
    """Write five different true sentences about a scene.

    Args:
        category: key of ``TEMPLATES``.
        facts: slot -> words, from the drawing function.
        rng: chooses the templates and their order.

    Returns:
        ``CAPTIONS_PER_SCENE`` sentences.
    """
    usable = [t for t in TEMPLATES[category] if _slots(t) <= facts.keys()]
    order = rng.permutation(len(usable))[:CAPTIONS_PER_SCENE]
    return tuple(_sentence(usable[i].format(**facts)) for i in order)


def _slots(template: str) -> set[str]:
    return {name for _, name, _, _ in _SLOTS.parse(template) if name}


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
