"""A folder of embeddings: who made it, who may write to it, and which of its shards count.

``embeddings.json`` is replaced in one step at the end of a run and names the shards that hold every
picture once. Shards it does not name come from a run that was cut short: the next run of the same
model takes them up and ends with a new ``embeddings.json``; until then the old one holds. An index
may lie over the same shards (``vector_index.folder``).
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
from torch import Tensor

from rsctir_hf.embedding.provenance import Provenance, read_provenance
from rsctir_hf.errors import DataLayoutError, IndexMismatchError
from rsctir_hf.files.atomic import UNFINISHED, only_writer, parse_json, write_atomically
from rsctir_hf.files.names import path_of
from rsctir_hf.vector_index.shards import (
    EMBEDDINGS_FILE,
    SHARD_ROWS,
    SHARDS_FOLDER,
    SUFFIX,
    ShardWriter,
    named_shards,
    next_number,
    own_shards,
    read_shard,
    readable_shards,
    unit_vectors_of,
    vectors_of,
)

FORMAT = 1
_REMEDY = "Run the command that made it again, with --rebuild."


@dataclass(frozen=True)
class StoreRecord:
    """What ``embeddings.json`` says.

    Attributes:
        made_by: what made all embeddings here.
        root: folder that the ids are paths in, as text (``files.names``), or the data set that
            they are rows of.
        rows: how many pictures there are; None until a run has ended.
        shards: names of the shards that hold them, in order.
        since: number of the first shard that counts; earlier ones are of another model, and an
            index may still lie over them.
        format: version of this layout.
    """

    made_by: Provenance
    root: str
    rows: int | None = None
    shards: tuple[str, ...] = ()
    since: int = 0
    format: int = FORMAT


@dataclass
class StoredRows:
    """What the shards of a folder hold, without the embeddings.

    Attributes:
        latest: stamp and content hash of each id's latest row.
        places: file and row of an embedding of each content.
    """

    latest: dict[str, tuple[str, str]] = field(default_factory=dict)
    places: dict[str, tuple[Path, int]] = field(default_factory=dict)


class EmbeddingStore:
    """A folder of embeddings that is written to.

    Args:
        folder: made if missing.
        made_by: what makes the embeddings to come.
        root: see ``StoreRecord``.
        shard_rows: rows of a full shard.
    """

    def __init__(
        self, folder: Path, made_by: Provenance, *, root: str = "", shard_rows: int = SHARD_ROWS
    ) -> None:
        self.folder, self.shards = folder, folder / SHARDS_FOLDER
        self.made_by, self._root, self._shard_rows = made_by, root, shard_rows
        self._last_read: tuple[Path, Tensor] | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing; held by the system, so it ends with the process.

        Raises:
            FolderBusyError: another process holds it; names that process.
            StorageError: the folder cannot be written to.
            IndexMismatchError: the folder holds embeddings made otherwise, or something else.
        """
        with only_writer(self.folder):
            self.shards.mkdir(exist_ok=True)
            self._claim()
            yield

    def writer(self, rank: int = 0) -> ShardWriter:
        """Return a writer of further rows."""
        first = read_record(self.folder).since
        return ShardWriter(self.shards, rank=rank, shard_rows=self._shard_rows, first=first)

    def known(self) -> StoredRows:
        """Read what is there, of ended runs and of those that were cut short.

        The embeddings are read too: a shard in which they are damaged must count as missing.
        """
        known = StoredRows()
        for path, rows in self._readable():
            described = rows.select(["id", "content_hash", "stamp"])
            cells = zip(*described.to_pydict().values(), strict=True)
            for row, (each, content, stamp) in enumerate(cells):
                known.latest[each] = stamp, content
                known.places[content] = path, row
        return known

    def vector_at(self, place: tuple[Path, int]) -> Tensor:
        """Read one embedding (D,); neighbours in a shard cost one reading."""
        path, row = place
        if self._last_read is None or self._last_read[0] != path:
            self._last_read = path, vectors_of(read_shard(path, ("embedding",)))
        return self._last_read[1][row]

    def latest(self, wanted: set[str]) -> Iterator[pa.Table]:
        """Yield the latest row of each of these ids, shard by shard."""
        for path, rows in self._latest_rows(wanted).items():
            yield read_shard(path).take(sorted(rows))

    def finish(self, wanted: set[str]) -> StoreRecord:
        """Keep each wanted picture's latest row, in full shards, and drop everything else.

        Whatever interrupts this, either the older record holds or the new one, and no row is lost.

        Args:
            wanted: ids.

        Raises:
            StorageError: the new shards cannot be written.
        """
        latest = self._latest_rows(wanted)
        found = read_record(self.folder)
        recorded = found.shards
        rows = sum(map(len, latest.values()))
        shards = recorded if self._is_final(recorded, rows) else self._rewrite(recorded, latest)
        record = StoreRecord(self.made_by, self._root, rows, tuple(shards), found.since)
        write_record(self.folder, record)
        kept = {*shards, *self._shards_of_others()}
        for path in self.shards.glob(f"*{SUFFIX}"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
        return record

    def _readable(self, *columns: str) -> Iterator[tuple[Path, pa.Table]]:
        """Yield the sound shards of this model, oldest first, with all or some columns."""
        since = read_record(self.folder).since
        return readable_shards(self.shards, columns or None, first=since)

    def _shards_of_others(self) -> set[str]:
        """Return the shards that an index over this folder still lies on."""
        named = named_shards(self.folder)
        named.pop(EMBEDDINGS_FILE, None)
        return {name for names in named.values() for name in names}

    def _is_final(self, recorded: Sequence[str], rows: int) -> bool:
        """Tell whether the shards on record hold just the rows that count."""
        found = {path.name: len(held) for path, held in self._readable("content_hash")}
        counted = set(found) - (self._shards_of_others() - set(recorded))
        return counted == set(recorded) and sum(found[name] for name in counted) == rows

    def _rewrite(self, recorded: Sequence[str], latest: Mapping[Path, Sequence[int]]) -> list[str]:
        """Write the rows that count into full shards, in order; return the names of all shards."""
        names, waiting, writer = list[str](), list[pa.Table](), self.writer()
        first = [self.shards / name for name in recorded]
        by_age = sorted(set(self.shards.glob(f"*{SUFFIX}")) - set(first))
        for path in [*first, *by_age]:
            if path not in latest:
                continue
            rows = read_shard(path)
            whole = len(rows) == len(latest[path])
            if whole and len(rows) >= self._shard_rows and not waiting:
                names.append(path.name)
                continue
            waiting.append(rows if whole else rows.take(sorted(latest[path])))
            if sum(map(len, waiting)) >= self._shard_rows:
                names.append(writer.write(_joined(waiting)).name)
                waiting = []
        if waiting:
            names.append(writer.write(_joined(waiting)).name)
        return names

    def _claim(self) -> None:
        """Check what made the folder's embeddings, and clear what a crash left."""
        try:
            found = read_record(self.folder)
        except DataLayoutError:
            if {path.name for path in self.shards.iterdir()} - self._shards_of_others():
                raise
            write_record(self.folder, StoreRecord(self.made_by, self._root))
            return
        if not found.made_by.makes_the_same(self.made_by):
            raise IndexMismatchError(
                f"{self.folder} holds embeddings of {found.made_by}; this run would add those of "
                f"{self.made_by}. Run the same command with --rebuild to embed all again, or choose"
                " another folder, or the model and options that made it."
            )
        # Pictures that moved are known by their content; other pictures would be dropped.
        if found.root not in ("", self._root) and Path(path_of(found.root)).exists():
            raise IndexMismatchError(
                f"{self.folder} holds embeddings of the pictures in {found.root}; this run is "
                f"about {self._root or 'pictures without a folder'}. Choose another folder."
            )
        crashed = self.folder.glob(f"*.json.*{UNFINISHED}")
        for left in (*self.shards.glob(f"*{UNFINISHED}"), *crashed):
            left.unlink(missing_ok=True)

    def _latest_rows(self, wanted: set[str]) -> dict[Path, list[int]]:
        """Return by shard the rows that count: the latest of each wanted id."""
        latest: dict[str, tuple[Path, int]] = {}
        for path, rows in self._readable("id"):
            for row, each in enumerate(rows["id"].to_pylist()):
                if each in wanted:
                    latest[each] = path, row
        found: dict[Path, list[int]] = {}
        for path, row in latest.values():
            found.setdefault(path, []).append(row)
        return found


def start_rebuild(folder: Path, made_by: Provenance) -> None:
    """Make room in a folder for the embeddings of another model, preprocessing or format.

    The next run embeds every picture again. What an index there lies over stays until that index
    is saved anew. Embeddings that ``made_by`` has made already, or begun, are left to go on with.

    Args:
        folder: made if missing.
        made_by: what makes the embeddings to come.

    Raises:
        FolderBusyError, StorageError: see ``only_writer``.
    """
    with only_writer(folder):
        with contextlib.suppress(DataLayoutError, IndexMismatchError):
            if read_record(folder).made_by.makes_the_same(made_by):
                return
        write_record(folder, StoreRecord(made_by, "", since=next_number(folder / SHARDS_FOLDER)))


def iterate_embeddings(folder: str | Path) -> Iterator[tuple[pa.Table, Tensor]]:
    """Yield the rows of each shard and their vectors (n, D) as unit vectors, one shard at a time.

    Raises:
        DataLayoutError: no embeddings there, or none whose run has come to an end.
        IndexMismatchError: a shard is missing or damaged.
    """
    record = finished_record(Path(folder))
    for name in record.shards:
        rows = read_shard(Path(folder) / SHARDS_FOLDER / name)
        yield rows, unit_vectors_of(rows)


def finished_record(folder: Path) -> StoreRecord:
    """Read ``embeddings.json``; raise ``DataLayoutError`` where no run has come to an end."""
    record = read_record(folder)
    if record.rows is None:
        raise DataLayoutError(
            f"The run that fills {folder} has not come to its end. Run the same command again: it "
            "goes on where it was cut short."
        )
    return record


def read_record(folder: Path) -> StoreRecord:
    """Read ``embeddings.json``, of a run that has ended or not.

    Raises:
        DataLayoutError: there is none, it is damaged, or of another version.
    """
    path = folder / EMBEDDINGS_FILE
    try:
        fields = parse_json(path.read_text(encoding="utf-8"))
        made_by = read_provenance(fields.pop("made_by"), folder)
        record = StoreRecord(made_by, **{**fields, "shards": tuple(own_shards(fields["shards"]))})
        if not isinstance(record.root, str) or not isinstance(record.rows, int | None):
            raise TypeError(f"root {record.root!r} or rows {record.rows!r} is of another kind")
        if not isinstance(record.since, int):
            raise TypeError(f"since {record.since!r} is no number")
    except FileNotFoundError as error:
        raise DataLayoutError(
            f"{folder} holds no embeddings ({EMBEDDINGS_FILE} is missing). Make some with: "
            f"rsctir embed --model MODEL --images FOLDER --output {folder}"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataLayoutError(f"{path} cannot be read ({error}). {_REMEDY}") from error
    if record.format != FORMAT:
        raise DataLayoutError(
            f"{path} has format {record.format}; this version reads {FORMAT}. {_REMEDY}"
        )
    return record


def write_record(folder: Path, record: StoreRecord) -> None:
    """Replace ``embeddings.json`` in one step, as ``write_atomically`` does."""
    text = json.dumps(asdict(record), indent=1, ensure_ascii=False)
    write_atomically(folder / EMBEDDINGS_FILE, text)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default")
