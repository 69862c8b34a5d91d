"""The formats that hits are taken home in, and how one is chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rsctir_hf.collection.contact_sheet import write_contact_sheet
from rsctir_hf.collection.features import TakenHome
from rsctir_hf.collection.picture_archive import write_zip
from rsctir_hf.collection.stac_items import write_stac
from rsctir_hf.collection.table_files import write_csv, write_geoparquet, write_json
from rsctir_hf.errors import QueryError
from rsctir_hf.scene import write_geojson


@dataclass(frozen=True)
class Format:
    """One way to write hits.

    Attributes:
        suffixes: what a file of it may end with, in small letters; none of a folder.
        write: writes hits to a path, whole or not at all.
        on_map: whether a picture's place is what it is about.
    """

    suffixes: tuple[str, ...]
    write: Callable[[TakenHome, Path], None]
    on_map: bool = False


def _write_geojson(taken: TakenHome, path: Path) -> None:
    link = {"link": taken.link} if taken.link else {}
    whole = {"type": "FeatureCollection", "features": taken.written, **taken.more, **link}
    write_geojson(path, whole)


#: By name. Where a suffix is that of several, the first is meant.
FORMATS = {
    "geojson": Format((".geojson", ".json", ""), _write_geojson, on_map=True),
    "csv": Format((".csv",), write_csv),
    "geoparquet": Format((".parquet", ".geoparquet"), write_geoparquet, on_map=True),
    "html": Format((".html", ".htm"), write_contact_sheet),
    "zip": Format((".zip",), write_zip),
    "json": Format((".json",), write_json),
    "stac": Format((), write_stac, on_map=True),
}


def choose_format(path: Path, name: str | None = None) -> str:
    """Return the format of a file: the one that is named, or that of its suffix.

    Raises:
        QueryError: no such format or suffix, or they contradict each other.
    """
    suffix = path.suffix.lower()
    meant = [each for each, form in FORMATS.items() if suffix in form.suffixes]
    if name is not None and name not in FORMATS:
        raise QueryError(f"The format is {name!r}; expected one of {', '.join(FORMATS)}.")
    if name is None and not meant:
        known = ", ".join(end for form in FORMATS.values() for end in form.suffixes if end)
        raise QueryError(
            f"{path} ends with {suffix!r}, which is no format of hits; expected {known}. Or name "
            f"the format: --format {'|'.join(FORMATS)}."
        )
    if name is not None and meant and name not in meant and suffix:
        raise QueryError(
            f"The format is {name} and {path} ends with {suffix!r}, which is {meant[0]}. Leave "
            "--format out, or give the file another name."
        )
    return name or meant[0]


def take_home(taken: TakenHome, path: str | Path, form: str | None = None) -> list[str]:
    """Write hits or a collection to a file, or, as STAC, to a new folder.

    Args:
        taken: what is written.
        path: of the file; it appears whole or not at all.
        form: one of ``FORMATS``; by default that of the path's suffix.

    Returns:
        What to tell the user: pictures that are gone, and those without a place in a format that
        is about places.

    Raises:
        QueryError: see ``choose_format``; or a format that cannot be written of these pictures.
        OutputExistsError: the folder is in use.
        StorageError: it cannot be written, or would not fit.
    """
    target = Path(path)
    chosen = FORMATS[choose_format(target, form)]
    chosen.write(taken, target)
    notes = []
    gone, nowhere = taken.gone, taken.without_place
    if gone:
        few = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        notes.append(f"{len(gone)} of {len(taken)} pictures are gone: {few}.")
    if chosen.on_map and nowhere:
        notes.append(
            f"{nowhere} of {len(taken)} pictures have no place on earth: their geometry is null."
        )
    return notes
