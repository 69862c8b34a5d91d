"""A named collection: hits that somebody ticked, with notes, in one small file.

The file is JSON and keeps every action, so that each can be undone and done again. Pictures are
known by their path, or the address of their tile, so that a collection outlives the index they were
found in.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rsctir_hf.collection.features import Feature, TakenHome, key_of
from rsctir_hf.errors import DataLayoutError, FolderBusyError, QueryError
from rsctir_hf.files.atomic import parse_json, storage_error, write_atomically

_MARK = "rsctir_collection"
_VERSION = 1
_ADD, _REMOVE, _NOTE = "add", "remove", "note"
PATIENCE = 10.0  # seconds to wait for another process that changes the same file


@dataclass
class Collection:
    """Pictures with notes, and how it came to them.

    Attributes:
        name: of the collection.
        log: the actions, oldest first: what was done, when, and with which pictures.
        done: how many of these count; the rest were undone.
    """

    name: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0

    @classmethod
    def load(cls, file: str | Path) -> "Collection":
        """Read a collection.

        Raises:
            DataLayoutError: there is none, or it is damaged.
        """
        path = Path(file)
        try:
            said = parse_json(path.read_bytes())
            if said[_MARK] != _VERSION:
                raise ValueError(f"its version is {said[_MARK]!r}, expected {_VERSION}")
            read = cls(str(said["name"]), said["log"], said["done"])
            if not isinstance(read.done, int) or not 0 <= read.done <= len(read.log):
                raise ValueError(f"{read.done!r} of {len(read.log)} actions are done")
            read._states(len(read.log))  # all can be done again
        except FileNotFoundError as error:
            raise DataLayoutError(
                f"There is no collection {path}. 'rsctir search --collect {path}' begins one."
            ) from error
        except OSError as error:
            raise DataLayoutError(f"{path} cannot be read ({error.strerror}).") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataLayoutError(
                f"{path} is no collection, or is damaged ({error!r}). Take it from a copy, or name "
                "another file; nothing was changed."
            ) from error
        return read

    def save(self, file: str | Path) -> None:
        """Write it; the file appears whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        said = {_MARK: _VERSION, "name": self.name, "done": self.done, "log": self.log}
        write_atomically(Path(file), json.dumps(said, ensure_ascii=True, indent=1))

    @property
    def features(self) -> list[Feature]:
        """Its pictures as they were found, in the order they came, with ``note`` and ``added``."""
        return list(self._states(self.done).values())

    def __len__(self) -> int:
        return len(self._states(self.done))

    def taken_home(self, **about: Any) -> TakenHome:  # noqa: ANN401
        """Return it for ``take_home``; ``about`` are other attributes of ``TakenHome``."""
        return TakenHome(self.features, title=self.name, **about)

    @property
    def gone(self) -> list[str]:
        """The paths of pictures whose file is not there any more."""
        return self.taken_home().gone

    def add(self, features: Sequence[Feature], *, link: str = "") -> int:
        """Add pictures, each with what it was found by; return how many are new.

        One that is there already stays where it is, with its note, and takes the newer score.

        Args:
            features: of GeoJSON, such as ``TakenHome.features``.
            link: asks again what found them.

        Raises:
            QueryError: a picture was handed in from memory and has no file.
        """
        if not all(map(key_of, features)):
            raise QueryError(
                "A picture that was handed in from memory has no path to keep. Index files."
            )
        before = len(self)
        more = {"link": link} if link else {}
        given = [{**each, "properties": {**each["properties"], **more}} for each in features]
        self._do({"do": _ADD, "features": given})
        return len(self) - before

    def remove(self, *pictures: str) -> None:
        """Leave pictures out, by path or file name; raises ``QueryError`` where one is unknown."""
        self._do({"do": _REMOVE, "keys": [self._key(each) for each in pictures]})

    def note(self, picture: str, text: str) -> None:
        """Write a note on a picture in place of the older one; empty takes it away.

        Raises:
            QueryError: there is no such picture.
        """
        self._do({"do": _NOTE, "keys": [self._key(picture)], "note": text})

    def merge(self, other: "Collection") -> int:
        """Add the pictures of another one, with their notes; return how many are new.

        Of a picture that both have a note on, both notes stay.
        """
        own = self._states(self.done)
        given = []
        for feature in other.features:
            notes = [feature["properties"].get("note")]
            if key_of(feature) in own:
                notes.insert(0, own[key_of(feature)]["properties"].get("note"))
            lines = [line for note in notes for line in str(note or "").splitlines()]
            note = "\n".join(dict.fromkeys(lines))
            given.append({**feature, "properties": {**feature["properties"], "note": note}})
        return self.add(given)

    def undo(self) -> str:
        """Take the last action back; return which it was.

        Raises:
            QueryError: there is none.
        """
        if not self.done:
            raise QueryError(f"There is nothing to undo in the collection {self.name!r}.")
        self.done -= 1
        return _in_words(self.log[self.done])

    def redo(self) -> str:
        """Do again what was undone last; return which action it was.

        Raises:
            QueryError: nothing was undone since the last action.
        """
        if self.done == len(self.log):
            raise QueryError(f"There is nothing to do again in the collection {self.name!r}.")
        self.done += 1
        return _in_words(self.log[self.done - 1])

    def _do(self, action: dict[str, Any]) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self.log = [*self.log[: self.done], {"at": now, **action}]
        self.done += 1

    def _states(self, actions: int) -> dict[str, Feature]:
        """Return by key the pictures after so many actions."""
        found: dict[str, Feature] = {}
        for action in self.log[:actions]:
            _ACTIONS[action["do"]](found, action)
        return found

    def _key(self, picture: str) -> str:
        found = self._states(self.done)
        if picture in found:
            return picture
        named = [
            key for key, feature in found.items() if feature["properties"].get("file") == picture
        ]
        if len(named) == 1:
            return named[0]
        if named:
            raise QueryError(f"{len(named)} pictures are named {picture!r}. Give the whole path.")
        raise QueryError(
            f"The collection {self.name!r} has no picture {picture!r}. 'rsctir collection list' "
            "shows what it has."
        )


@contextmanager
def changing(file: str | Path, *, patience: float = PATIENCE) -> Iterator[Collection]:
    """Yield the collection of a file, or a new one, and write it at the end.

    Others that change the same file here wait until then. After an error the file is as it was.

    Raises:
        DataLayoutError: the file is damaged.
        FolderBusyError: another process changes it for longer than ``patience`` seconds.
        StorageError: it cannot be written.
    """
    path = Path(file)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise FolderBusyError(
            f"Another process has been changing {path} for {patience:g} seconds. Try again."
        ) from error
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        collection = Collection.load(path) if path.exists() else Collection(path.stem)
        yield collection
        collection.save(path)
    finally:
        lock.release()


def _add(found: dict[str, Feature], action: dict[str, Any]) -> None:
    for feature in action["features"]:
        key = key_of(feature)
        older = found[key]["properties"] if key in found else {"added": action["at"]}
        note = feature["properties"].get("note") or older.get("note") or ""
        kept = {"note": note, "added": older["added"]}
        found[key] = {**feature, "properties": {**feature["properties"], **kept}}
        feature["geometry"]  # must be there


def _remove(found: dict[str, Feature], action: dict[str, Any]) -> None:
    for key in action["keys"]:
        found.pop(key, None)


def _note(found: dict[str, Feature], action: dict[str, Any]) -> None:
    for key in action["keys"]:
        if key in found:
            said = {**found[key]["properties"], "note": str(action["note"])}
            found[key] = {**found[key], "properties": said}


_ACTIONS: dict[str, Callable[[dict[str, Feature], dict[str, Any]], None]] = {
    _ADD: _add,
    _REMOVE: _remove,
    _NOTE: _note,
}


def _in_words(action: dict[str, Any]) -> str:
    count = len(action.get("features") or action.get("keys") or ())
    return f"{action['do']} {count} pictures" if count != 1 else f"{action['do']} 1 picture"
