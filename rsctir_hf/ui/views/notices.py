"""What the page says by itself, each with what to do next; errors say it in their own words."""

from rsctir_hf.ui.views.cards import notice

NO_WORDS = notice(
    "hint",
    "Nothing was typed",
    "Say in a few words what the pictures should show, or take one of the examples.",
)
NO_TICKS = notice(
    "hint", "Nothing is ticked", "Tick what the pictures should show, or should not show."
)
GIVE_PICTURE = notice(
    "info",
    "Give a picture",
    "The sentences that fit it best and the pictures most like it appear here.",
)
PLACED = notice(
    "info",
    "This file says where on the Earth it lies",
    "Here it is looked at as one picture. To find places within it, open it in Scene.",
)
GIVE_PICTURE_FOR_REGIONS = notice(
    "info",
    "Give a picture",
    "The regions the model looks at and the ties between them are drawn over it.",
)
OPEN_SCENE = notice(
    "info",
    "Open a scene and say what you look for",
    "A GeoTIFF of your own, or the drawn sample scene. The places that fit best are marked on it "
    "and on a map.",
)
NO_SCENE = notice("warning", "No scene is open", "Give a file or take the drawn sample scene.")
ONE_WINDOW = notice(
    "info",
    "Nothing to show",
    "This picture fits one window of the model, which sees the whole of it as it is.",
)
NOTHING_TO_SHOW = notice(
    "warning",
    "Nothing to show",
    "No picture can be searched here. Choose another scene type, or give pictures of your own.",
)


def part_searched(done: int, total: int) -> str:
    """Say that a search saw a part of the gallery only."""
    text = f"{done} of {total} pictures were ready. Search again for all of them."
    return notice("info", "A part of the gallery was searched", text)
