"""Files and folders that appear whole or not at all, whenever the process is stopped.

And the lock of a folder that one process at a time may write to.
"""

import errno
import glob
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rsctir_hf.errors import FolderBusyError, OutputExistsError, RsctirError, StorageError

logger = logging.getLogger(__name__)

#: What the name of an unfinished file ends with, or holds; readers pass over such names.
UNFINISHED = ".part"
#: Seconds after which an unfinished file counts as left by a process that was killed.
STALE = 600
#: Lies in a folder that one process at a time writes to; while one does, so does the other.
LOCK_FILE, HOLDER_FILE = ".lock", ".lock.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DEVICES = (Path("/dev"), Path("/dev/fd"))


def write_atomically(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write a file as ``replacing`` does.

    Args:
        path: of the file.
        content: all of it; text is written as UTF-8.
        durable: wait until the disk has it, so that the machine may stop as well.

    Raises:
        StorageError: it cannot be written; nothing of it is left.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        file.write(data)
        if durable and unfinished != path:  # no device: those have no disk to wait for
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield the name of a file to write beside ``path``, and put it in its place at the end.

    After an error the unfinished file is deleted, and what stood at ``path`` is still there. A
    device or pipe is yielded itself: root would replace ``/dev/null`` by a file otherwise.

    Raises:
        StorageError: it cannot be written.
    """
    target = Path(path)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}{UNFINISHED}")
    try:
        if _is_device(target):
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target.parent, f"{target.name}.*{UNFINISHED}")
        yield unfinished
        os.replace(unfinished, target)
    except RsctirError:  # some are OSErrors as well, and have their own words
        raise
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        with suppress(OSError):  # it may never have been made
            unfinished.unlink()


@contextmanager
def replacing_files(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder; at the end each file in it takes its place in ``folder``.

    Each file of ``folder`` is the older or the newer one at any moment; what a killed process left
    is removed by the next.

    Raises:
        StorageError: it cannot be written; what was in ``folder`` is still there.
    """
    target = Path(folder)
    unfinished = target / f".files{UNFINISHED}"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        mode = unfinished.stat().st_mode & 0o666  # some libraries make private files
        for file in sorted(unfinished.iterdir()):
            file.chmod(mode)
            os.replace(file, target / file.name)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Say what could not be written, why, and what to do."""
    if error.errno in _NO_ROOM:
        remedy = "Make room there; then run the same command again: what is finished is kept."
    else:
        remedy = "Choose a folder that you may write to."
    return StorageError(f"{path} cannot be written ({error.strerror or error}). {remedy}")


@contextmanager
def new_folder(output: str | Path) -> Iterator[Path]:
    """Give a folder to write to, which takes its place at ``output`` when all went well.

    Args:
        output: a path where nothing is, or an empty folder; parents are made.

    Yields:
        A hidden folder beside it; removed again, with its content, after any exception.

    Raises:
        OutputExistsError: there is something at ``output``, or a file where a parent would be.
        StorageError: no folder can be made there.
    """
    target = Path(output).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExistsError(
            f"{target} exists and is not an empty folder. Choose another output or remove it."
        )
    if any(parent.exists() and not parent.is_dir() for parent in target.parents):
        raise OutputExistsError(f"{target} lies below a file. Choose another output.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise storage_error(target, error) from error
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes a private folder
        partial.replace(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def only_writer(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Make a folder and keep other processes from writing to it, as long as all ask here first.

    The system holds the lock, so it ends with the process.

    Args:
        folder: made if missing.
        patience: seconds to wait for another process that writes.

    Raises:
        FolderBusyError: another process still holds it; names that process.
        StorageError: the folder cannot be written to.
    """
    lock, holder = FileLock(folder / LOCK_FILE), folder / HOLDER_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise FolderBusyError(
            f"{folder} is being written by {_describe_holder(holder)}. Wait until it has ended, or "
            "choose another folder."
        ) from error
    except OSError as error:
        raise storage_error(folder, error) from error
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        itself = {"process": os.getpid(), "machine": socket.gethostname(), "since": started}
        write_atomically(holder, json.dumps(itself), durable=False)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe_holder(holder: Path) -> str:
    """Say which process holds a lock, as it has noted itself."""
    try:
        found = parse_json(holder.read_text(encoding="utf-8"))
        return f"process {found['process']} on {found['machine']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun, or is about to end
        return "another process"


def _is_device(path: Path) -> bool:
    """Whether there is a device or a pipe, or a name for one that may be a file: /dev/stdout."""
    return path.parent in _DEVICES or (path.exists() and not (path.is_file() or path.is_dir()))


def _remove_stale(folder: Path, pattern: str) -> None:
    """Remove what killed processes left of a file; a younger one may still be written."""
    for left in folder.glob(glob.escape(pattern).replace("[*]", "*")):
        try:
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
        except OSError:  # another process was faster, or may not: not worth ending for
            logger.debug("%s is left where it is", left)


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a JSON text holds.

    Raises:
        ValueError: it is no JSON, or nested more deeply than Python can follow, for which
            ``json.loads`` has an error that nobody expects.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
