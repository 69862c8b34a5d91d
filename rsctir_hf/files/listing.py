"""The files of a folder: which there are, and a cheap way to tell that one has changed."""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.names import as_text

logger = logging.getLogger(__name__)

#: A file that changed less than this many seconds ago may change again without a trace in its
#: times: FAT counts in steps of two seconds.
SETTLED_AFTER = 2.5
_NAMED = 3  # of those that were passed over, in a message
_OUT, _FOLDERS, _NOWHERE = "links that lead out of it", "links to folders", "links to nothing"
_CLOSED, _NO_FILES = "folders that may not be read", "pipes, sockets or devices"
_REMEDIES = {
    _OUT: "copy what they lead to into it, or give the folder where that is",
    _FOLDERS: "give those folders themselves, or copy them into it",
    _NOWHERE: "mend or remove them",
    _CLOSED: "ask for the right to read them",
    _NO_FILES: "only files are read",
}


def list_files(folder: str | Path, suffixes: Collection[str], *, what: str) -> list[Path]:
    """List the files of a kind below a folder, in the order of their names.

    Links that lead out of the folder are passed over: who may write into a gallery could otherwise
    have any picture of this machine shown in it. Links to folders are not entered, for what lies
    inside is listed where it lies. Whatever is passed over so has a line in the log.

    Args:
        folder: searched with its subfolders; names that start with a dot are passed over.
        suffixes: of the files, in small letters; they count in either case.
        what: the files are, for messages.

    Raises:
        DataLayoutError: ``folder`` does not exist, is a file, or may not be read.
    """
    root = Path(folder)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise DataLayoutError(f"{as_text(root)} {problem}. Expected a folder of {what}.")
    found, passed_over = list[Path](), defaultdict[str, list[str]](list)
    for path in _files_below(root, passed_over):
        if path.suffix.lower() not in suffixes:
            continue
        if reason := _why_not(path, root):
            passed_over[reason].append(str(path))
        else:
            found.append(path)
    for reason, paths in passed_over.items():
        _tell(root, reason, [as_text(os.path.relpath(path, root)) for path in paths])
    return sorted(found)


def _files_below(root: Path, passed_over: dict[str, list[str]]) -> Iterator[Path]:
    """Yield what is no folder below one, noting the folders that are passed over."""

    def closed(error: OSError) -> None:
        if Path(error.filename) == root:
            raise DataLayoutError(f"{root} may not be read ({error.strerror}).") from error
        passed_over[_CLOSED].append(error.filename)

    for place, folders, files in os.walk(root, onerror=closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        linked = [path for name in folders if os.path.islink(path := os.path.join(place, name))]
        passed_over[_FOLDERS] += linked
        yield from (Path(place, name) for name in files if not name.startswith("."))


def _why_not(path: Path, root: Path) -> str | None:
    """Return why a file of a folder is passed over, if it is."""
    if path.is_file():
        return None if not path.is_symlink() or lies_inside(path, root) else _OUT
    return _NOWHERE if path.is_symlink() else _NO_FILES


def _tell(root: Path, reason: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        shown = ", ".join(sorted(names)[:_NAMED]) + more
        logger.warning(
            "%s: %d %s passed over (%s); %s.",
            as_text(root), len(names), reason, shown, _REMEDIES[reason],
        )  # fmt: skip


def lies_inside(path: Path, folder: Path) -> bool:
    """Tell whether a file lies in a folder, wherever ``..`` and links in its path lead.

    The pictures of a snapshot in the Hub client's cache are links into the folder ``blobs`` beside
    ``snapshots``; they count as inside.
    """
    home, there = folder.resolve(), path.resolve()
    blobs = [each.parent / "blobs" for each in home.parents if each.name == "snapshots"]
    return any(there.is_relative_to(each) for each in (home, *blobs))


def state_of(file: str | Path) -> tuple[int, int, int] | None:
    """Return size, time of change and time of the last change of a file's entry, in nanoseconds.

    The latter is there because a copy may be given the times of another file. None: it is gone.
    """
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def stamp_of(files: Iterable[str | Path]) -> str:
    """Return what changes whenever the content of one of these files may have, at no cost.

    Empty where there is none, or where one is gone or has only just changed (``SETTLED_AFTER``).
    """
    states = [state_of(file) for file in sorted(map(str, files))]
    latest = time.time_ns() - SETTLED_AFTER * 1e9
    if not all(state and max(state[1:]) <= latest for state in states):
        return ""
    return " ".join("-".join(map(str, state)) for state in states if state)
