"""Hits and collections as files for download, without the folders of this server."""

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from gradio import processing_utils
from gradio.utils import get_upload_folder
from torch import Tensor

from rsctir_hf.collection.collected import Collection
from rsctir_hf.collection.features import Feature, TakenHome, key_of
from rsctir_hf.collection.take_home import FORMATS, choose_format, take_home
from rsctir_hf.errors import QueryError, StorageError
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.server.limits import MOST_COLLECTED, has_room
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.vector_index.contract import SearchFilter

_SUFFIXES = {"geoparquet": ".parquet", "geojson": ".geojson"}
_READS_PICTURES = ("zip", "html")
_UNFIT = re.compile(r"[^\w-]+")


def feature_of(hit: Hit, *, words: str) -> Feature:
    """Return a hit as a collection keeps it."""
    return TakenHome.of_hits([hit], text=words or None).features[0]


def check_collected(collection: Collection, more: int = 1) -> None:
    """Raise ``QueryError`` where a collection of a visitor would have too many pictures."""
    if len(collection) + more > MOST_COLLECTED:
        raise QueryError(
            f"A collection here has at most {MOST_COLLECTED:,} pictures. Export it and begin "
            "another, or use rsctir collection."
        )


def export_collection(
    collection: Collection, form: str, *, retriever: Retriever, gallery: Gallery
) -> tuple[str, list[str]]:
    """Write a collection into the cache, which serves it and deletes it after a day.

    Args:
        collection: of pictures.
        form: one of ``FORMATS``; a STAC folder comes as a ZIP.
        retriever: has the vectors of those that are in its gallery.
        gallery: whose folder is left out.

    Returns:
        The file, and what to tell of it.

    Raises:
        QueryError: nothing is collected, or no such format, or none for these pictures.
        StorageError: it would not fit.
    """
    if not len(collection):
        raise QueryError("Nothing is collected. Tick a picture first, with its + or the key c.")
    form = choose_format(Path(), form)
    if not has_room():
        raise StorageError("The app has no room for files now. Try again later.")
    about = {"made_by": {"model": Path(retriever.encoder.id or "").name}, "folder": gallery.root}
    taken = collection.taken_home(vectors=_vectors(collection, retriever), **about)
    gone = len(taken.gone)
    notes = [f"{gone} of {len(taken)} pictures are gone from the gallery."] if gone else []
    if form not in _READS_PICTURES:
        taken = replace(taken, features=taken.written, folder="")
    if FORMATS[form].on_map and taken.without_place:
        notes.append(f"{taken.without_place} of {len(taken)} pictures have no place on earth.")
    with tempfile.TemporaryDirectory() as folder:
        name = _UNFIT.sub("_", collection.name).strip("_") or "collection"
        file = Path(folder, name + _SUFFIXES.get(form, "" if form == "stac" else f".{form}"))
        take_home(taken, file, form)
        if form == "stac":
            file = Path(shutil.make_archive(str(file), "zip", file))
        return processing_utils.save_file_to_cache(str(file), get_upload_folder()), notes


def _vectors(collection: Collection, retriever: Retriever) -> Tensor | None:
    """Return the vectors (n, D) of n pictures; None where one is not in the gallery."""
    paths = [key_of(feature) for feature in collection.features]
    found = retriever.engine.entries_of(retriever.engine.ids(SearchFilter({"path": paths})))
    ids = {entry.metadata["path"]: entry.id for entry in found}
    if not ids.keys() >= set(paths):
        return None
    return retriever.engine.vectors_of([ids[path] for path in paths])
