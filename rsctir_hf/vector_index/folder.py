"""An index in a folder: ``index.json``, the shards that hold its vectors, and a folder of entries.

The shards may be those of the embeddings that were made in the same folder, so that each vector is
kept once. ``index.json`` is written last and in one step and names the others, so a process that is
killed while saving leaves the older index whole. Nothing is forced to the disk: after a power cut
it may be damaged and is to be built anew. One process writes at a time, behind a lock; whoever
loaded an index, changed it and finds on saving that another process has saved meanwhile is refused,
so nothing is lost.
"""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rsctir_hf.errors import FolderBusyError, IndexMismatchError, RsctirError, StorageError
from rsctir_hf.files.atomic import only_writer, parse_json, write_atomically
from rsctir_hf.vector_index.shards import (
    own_shards,
    remove_unnamed_shards,
    write_vectors,
)

INDEX_FILE = "index.json"
FORMAT = 3
_PATIENCE = 60.0  # seconds to wait for another process that saves
_OWN_KEYS = ("engine", "entries", "shards", "format")
_NOT_WRITTEN = (OSError, RuntimeError)  # a full disk in our own words, and in faiss's
# Any other name could lead out of the index folder, and an older one is deleted.
_ENTRIES_NAME = re.compile(r"entries-[0-9a-f]{8}")


@dataclass(frozen=True)
class SavedIndex:
    """What ``index.json`` says.

    Attributes:
        engine: ``exact`` or ``hnsw``.
        record: what is noted about the index as a whole.
        data: folder of the entries; its name is another after every save.
        shards: names of those that hold the vectors, in order.
    """

    engine: str
    record: dict[str, Any]
    data: Path
    shards: tuple[str, ...]


def read_folder(folder: Path) -> SavedIndex:
    """Read what ``write_folder`` wrote.

    Raises:
        IndexMismatchError: no index there, a damaged one, or one this version cannot read.
    """
    path = folder / INDEX_FILE
    try:
        fields = dict(parse_json(path.read_text(encoding="utf-8")))
        version, engine, name = fields["format"], str(fields["engine"]), str(fields["entries"])
        shards = own_shards(fields["shards"])
    except OSError as error:
        raise IndexMismatchError(
            f"{folder} holds no index ({INDEX_FILE} cannot be read). Make one with: "
            f"rsctir index --model MODEL --images FOLDER --index {folder}"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise IndexMismatchError(f"{path} is damaged ({error}). Build the index anew.") from error
    if version != FORMAT:
        raise IndexMismatchError(
            f"{path} has format {version}; this version reads {FORMAT}. Update rsctir_hf where it "
            f"is newer; an older one is made again by: rsctir index --model MODEL --images FOLDER "
            f"--index {folder} --rebuild"
        )
    if not _ENTRIES_NAME.fullmatch(name):
        raise IndexMismatchError(
            f"{path} is damaged: it names its entries {name!r}; expected a folder such as "
            "entries-0123abcd beside it. Build the index anew."
        )
    record = {key: value for key, value in fields.items() if key not in _OWN_KEYS}
    return SavedIndex(engine, record, folder / name, tuple(shards))


def write_folder(
    folder: Path,
    *,
    engine: str,
    record: Mapping[str, Any],
    vectors: Tensor,
    write: Callable[[Path], None],
    loaded: Path | None = None,
) -> Path:
    """Write an index below ``folder``, replacing what an earlier call wrote there.

    Args:
        folder: made where it is missing.
        engine: ``exact`` or ``hnsw``.
        record: what is noted about the index as a whole.
        vectors: (n, D), a row each; those that shards there hold already are not written again.
        write: writes the entries into the folder it is given.
        loaded: ``SavedIndex.data`` of what was loaded, where this index came from a folder.

    Returns:
        The folder of the entries.

    Raises:
        FolderBusyError: another process saves there for longer than a minute, or has saved there
            since ``loaded`` was.
        StorageError: no space or no permission; what was saved there before is whole.
    """
    with only_writer(folder, patience=_PATIENCE):
        older = _saved_there(folder)
        came_from_here = loaded is not None and loaded.parent.resolve() == folder.resolve()
        if loaded and came_from_here and older and older.data.name != loaded.name:
            raise FolderBusyError(
                f"Another process has saved an index in {folder} since this one was loaded; saving "
                "now would lose its changes. Load the index again and repeat yours, or save "
                "elsewhere."
            )
        data = folder / f"entries-{uuid.uuid4().hex[:8]}"
        try:
            data.mkdir()
            shards = write_vectors(folder, vectors)
            write(data)
            named = {"engine": engine, "entries": data.name, "shards": shards, "format": FORMAT}
            text = json.dumps({**record, **named}, indent=1, ensure_ascii=False)
            write_atomically(folder / INDEX_FILE, text, durable=False)
        except BaseException as error:
            shutil.rmtree(data, ignore_errors=True)
            if isinstance(error, _NOT_WRITTEN) and not isinstance(error, RsctirError):
                raise StorageError(
                    f"No index can be written in {folder} ({error}). Make room there, or choose a "
                    "folder that you may write to; what was saved there before is whole."
                ) from error
            raise
        _remove_others(folder, data, former=older.shards if older else ())
    return data


def _saved_there(folder: Path) -> SavedIndex | None:
    """Return what the index that lies there says, if it can be read."""
    try:
        return read_folder(folder)
    except IndexMismatchError:
        return None


def _remove_others(folder: Path, data: Path, *, former: Sequence[str]) -> None:
    """Remove older entries and vectors, those of a writer that was killed among them."""
    for other in folder.iterdir():
        if other != data and other.is_dir() and _ENTRIES_NAME.fullmatch(other.name):
            shutil.rmtree(other, ignore_errors=True)
    remove_unnamed_shards(folder, former)
