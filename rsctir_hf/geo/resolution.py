"""Ground sample distances: what a model has seen, and at which one a raster is cut into tiles.

A tile shows a model what it learned only if a pixel of it is about as large on the ground as in
the training pictures.
"""

from typing import Any

from rsctir_hf.errors import QueryError

GsdRange = tuple[float, float]  # metres a pixel, the finest first

#: What the training sets show, as their publishers state it; the names are those that
#: ``training_images`` of a model's config uses.
TRAINING_SETS: dict[str, GsdRange] = {
    "UCM-Captions": (0.3, 0.3),
    "RSICD": (0.5, 8.0),
    "RSITMD": (0.5, 8.0),
    "Sydney-Captions": (0.5, 0.5),
    "drawn scenes": (0.24, 5.0),
}
_TOLERANCE = 1.1  # a pixel a tenth larger or smaller than any seen is no reason to warn


def training_gsd(config: Any) -> GsdRange | None:  # noqa: ANN401 - any model's config
    """Return the finest and coarsest metres a pixel that a model was trained on, if known.

    ``config.training_gsd`` says so itself; else the real sets named in ``config.training_images``
    do, drawn ones only where there is no other. Models of others have neither: None.
    """
    stated = getattr(config, "training_gsd", None)
    if stated:
        return float(stated[0]), float(stated[-1])
    said = getattr(config, "training_images", "") or ""
    named = [name for name in TRAINING_SETS if name in said]
    ranges = [TRAINING_SETS[name] for name in named if name != "drawn scenes" or len(named) == 1]
    if not ranges:
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def working_gsd(gsd: float, trained: GsdRange | None) -> float:
    """Return at how many metres a pixel tiles are made: the raster's own, within ``trained``."""
    return gsd if trained is None else min(max(gsd, trained[0]), trained[1])


def check_gsd(gsd: float | None) -> None:
    """Raise ``QueryError`` unless ``gsd`` is None or a believable number of metres a pixel."""
    if gsd is not None and not 0 < gsd < 1e6:
        raise QueryError(f"The ground sample distance is {gsd}; expected metres a pixel above 0.")


def gsd_warning(gsd: float, trained: GsdRange | None) -> str | None:
    """Say what to expect of a raster of ``gsd`` metres a pixel that the model has not seen."""
    if trained is None:
        return None
    low, high = trained
    seen = f"{low:g} m" if low == high else f"{low:g} to {high:g} m"
    if gsd > high * _TOLERANCE:
        return (
            f"A pixel of this raster is {gsd:.3g} m wide; the model was trained on {seen}. What it "
            "knows is too small to be seen here: scores may look confident and mean nothing."
        )
    if gsd < low / _TOLERANCE:
        return (
            f"A pixel of this raster is {gsd:.3g} m wide; the model was trained on {seen}. It is "
            f"read at {low:g} m a pixel."
        )
    return None
