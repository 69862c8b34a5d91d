"""Open what an earlier run kept: an index, or a folder of embeddings as an index in memory."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsctir_hf.embedding.provenance import own_regions, read_provenance
from rsctir_hf.embedding.store import finished_record, iterate_embeddings
from rsctir_hf.errors import ModelLoadError
from rsctir_hf.files.names import path_of
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.regions.proposer import RegionProposer
from rsctir_hf.search.annotations import read_annotations
from rsctir_hf.search.gallery import PictureGallery
from rsctir_hf.vector_index.contract import VectorIndex
from rsctir_hf.vector_index.folder import INDEX_FILE
from rsctir_hf.vector_index.opening import open_index, server_of
from rsctir_hf.vector_index.shards import EMBEDDINGS_FILE


def keeps_vectors(place: str | Path) -> bool:
    """Tell whether a place looks like one that ``open_stored`` opens."""
    if server_of(place) is not None:
        return True
    return any((Path(place).expanduser() / name).exists() for name in (INDEX_FILE, EMBEDDINGS_FILE))


def open_stored(place: str | Path) -> VectorIndex:
    """Open an index that ``rsctir index`` or ``rsctir embed`` wrote.

    Of embeddings alone the pictures are known by their paths, with what a ``metadata.jsonl`` beside
    them says now; rows of a data set have no paths.

    Raises:
        IndexMismatchError: there is none, it is damaged, or of another version.
        DataLayoutError: likewise of embeddings.
        MissingDependencyError, IndexUnavailableError: a package, or the server, is absent.
    """
    if server_of(place) is not None:
        return open_index(place, must_exist=True)
    folder = Path(place).expanduser()
    only_embedded = (folder / EMBEDDINGS_FILE).exists() and not (folder / INDEX_FILE).exists()
    return _index_over(folder) if only_embedded else open_index(folder, must_exist=True)


def stored_regions(
    index: VectorIndex,
    regions: str | None = None,
    *,
    threshold: float | None = None,
    **how: Any,  # noqa: ANN401 - of ``choose_regions``
) -> str | RegionProposer:
    """Return the regions that made an index, or those that are named, from where they lie now.

    Raises:
        IndexMismatchError: the index says nothing of what made it.
        ModelLoadError: the detector cannot be loaded; says how to name where it lies now.
        RegionsError, UnsupportedError: see ``choose_regions``.
    """
    made_with = read_provenance(index.record, index.place)
    found_by, named = made_with.detector, regions
    if named is None:
        named = found_by.source if found_by else own_regions(made_with, index.place)
    try:
        return choose_regions(named, threshold, like=found_by, **how)
    except ModelLoadError as error:
        if regions is not None:
            raise
        raise ModelLoadError(
            f"{error} The index in {index.place} was made with this detector; if it lies elsewhere "
            "now, name its folder: --regions."
        ) from error


def _index_over(folder: Path) -> VectorIndex:
    record = finished_record(folder)
    gallery = PictureGallery(open_index("exact"))
    root = Path(path_of(record.root))
    for rows, vectors in iterate_embeddings(folder):
        ids = rows["id"].to_pylist()
        if root.is_absolute():
            paths = [root / path_of(each) for each in ids]
            gallery.add(vectors, paths, read_annotations(root, paths))
        else:
            gallery.index.add(vectors, metadata=[{"id": each} for each in ids])
    gallery.index.record = {**gallery.record, **asdict(record.made_by)}
    gallery.index.place = str(folder)
    return gallery.index
