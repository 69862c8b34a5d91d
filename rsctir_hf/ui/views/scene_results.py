"""From the answer of a scene to what is shown: notices, cards, a table."""

from typing import Any

from rsctir_hf.files.bands import in_words
from rsctir_hf.files.data_uris import encode_picture
from rsctir_hf.scene import SceneAnswer, SceneHit
from rsctir_hf.ui.server.open_scenes import OpenScene
from rsctir_hf.ui.views.cards import (
    MADE_UP,
    Card,
    card_grid,
    detail,
    doubts,
    escape,
    heading,
    hint,
    is_weak,
    note,
    notice,
)
from rsctir_hf.ui.views.thumbnails import CARD_SIDE, DETAIL_SIDE

MAP_COLUMNS = ("#", "score", "longitude", "latitude")
PIXEL_COLUMNS = ("#", "score", "column", "row")
_DIGITS = 6  # of a degree: a tenth of a metre
_TIED = "\N{NO-BREAK SPACE}"
_DOUBTS = doubts("scene", "places")


def opened_message(scene: OpenScene) -> str:
    """Say what was opened and what to keep in mind."""
    width, height = scene.raster.size
    gsd = scene.raster.gsd
    facts = [f"{width:,} x {height:,} pixels"]
    facts += [f"{(gsd[0] * gsd[1]) ** 0.5:.2g} m a pixel"] if gsd else []
    facts += ["drawn by this project's own code, at a made-up place"] if scene.drawn else []
    name = "The drawn sample scene" if scene.drawn else scene.raster.name
    said = f"{'; '.join(facts)}. {in_words(scene.raster.bands)}."
    return notice("info", f"{name} is open", said) + _warnings(scene.raster.notes)


def answer_message(scene: OpenScene, about_query: str | None) -> str:
    """Say how the scene was searched, and what to keep in mind."""
    answer = scene.answer
    if answer is None:
        return ""
    said = hint(about_query) + _DOUBTS.get(answer.confidence, "")
    left_out = f", {answer.skipped:,} without data left out" if answer.skipped else ""
    summary = f"{len(answer.windows):,} tiles searched{left_out}."
    return said + _warnings(answer.warnings) + note(summary)


def hit_cards(scene: OpenScene) -> str:
    """Show the hits as a grid of cards; ``RasterError`` where the file is gone or damaged."""
    if scene.answer is None or scene.index is None:
        return ""
    cards = [
        Card(
            title=place_in_words(hit),
            subtitle="",
            picture=encode_picture(scene.index.picture_of(hit.window), CARD_SIDE),
            score=hit.score,
            rank=hit.rank,
            weak=is_weak(hit.level),
        )
        for hit in scene.answer.hits
    ]
    asked = scene.answer.text or "a picture"
    return heading("Places that fit best") + card_grid(cards, label=f"Places for {asked}")


def hit_detail(scene: OpenScene, hit: SceneHit) -> str:
    """Show one hit large, with what is known of it; raises as ``hit_cards`` does."""
    if scene.index is None:
        return ""
    left, top, right, bottom = hit.window.box
    facts = [("Similarity", f"{hit.score:.3f} (cosine)")]
    if hit.centre is not None:
        facts.append(("Centre", place_in_words(hit) + (MADE_UP if scene.drawn else "")))
    facts.append(("Pixels", f"columns {left} to {right}, rows {top} to {bottom}"))
    if scene.index.plan.gsd:
        side = scene.index.plan.gsd * scene.index.plan.tile
        facts.append(("Covers", f"about {side:.0f} x {side:.0f} m"))
    if hit.merged > 1:
        facts.append(("Stands for", f"{hit.merged} overlapping tiles"))
    picture = encode_picture(scene.index.picture_of(hit.window, scale=2), DETAIL_SIDE)
    return detail(picture, f"Hit {hit.rank}", facts, copied=place_in_words(hit))


def hit_table(answer: SceneAnswer) -> dict[str, Any]:
    """Return headers and rows: longitude and latitude, or pixels where there is no map."""
    placed = all(hit.centre is not None for hit in answer.hits)
    rows = []
    for hit in answer.hits:
        x, y = hit.centre if placed and hit.centre is not None else hit.window.centre
        digits = _DIGITS if placed else 1
        rows.append([hit.rank, round(hit.score, 3), f"{x:.{digits}f}", f"{y:.{digits}f}"])
    return {"headers": list(MAP_COLUMNS if placed else PIXEL_COLUMNS), "data": rows}


def place_in_words(hit: SceneHit) -> str:
    """Write the middle of a hit in degrees, or in pixels where there is no map."""
    if hit.centre is None:
        column, row = hit.window.centre
        return f"column {column:.0f}, row {row:.0f}"
    longitude, latitude = hit.centre
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.5f}°{_TIED}{north}, {abs(longitude):.5f}°{_TIED}{east}"


def saved_queries(queries: tuple[str, ...]) -> str:
    """Show the queries a visitor keeps as buttons; ``data-item`` is the position."""
    if not queries:
        return ""
    buttons = "".join(
        f'<button type="button" class="rs-saved" data-item="{item}">{escape(query)}</button>'
        for item, query in enumerate(queries)
    )
    label = "Saved queries, a click asks again"
    return f'<div class="rs-saveds" role="group" aria-label="{label}">{buttons}</div>'


def _warnings(texts: tuple[str, ...]) -> str:
    return "".join(notice("warning", "Keep in mind", text) for text in texts)
