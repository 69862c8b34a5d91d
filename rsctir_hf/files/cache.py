"""The folder of what can be made again at any time: deleting it costs time and nothing else."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from huggingface_hub.constants import HF_HOME

from rsctir_hf.errors import StorageError
from rsctir_hf.files.atomic import write_atomically

logger = logging.getLogger(__name__)

#: Set to 1, nothing is read from the cache or written to it.
NO_CACHE = "RSCTIR_NO_CACHE"
_OFF = ("", "0", "false")


def cache_folder(name: str) -> Path | None:
    """Return a folder below ``HF_HOME``, which need not exist; None where nothing is to be kept."""
    if os.environ.get(NO_CACHE, "").lower() not in _OFF:
        return None
    return Path(HF_HOME).expanduser() / "rsctir_hf" / name


def keep_file(file: Path, content: bytes, *, most_bytes: int) -> None:
    """Write a file into a cache whose oldest files go where it grows too large.

    A folder that cannot be written, or has no room, is no error: then nothing is kept.

    Args:
        file: in a folder of its own kind.
        content: all of it; not kept where it is larger than ``most_bytes``.
        most_bytes: of all files of the folder.
    """
    if len(content) > most_bytes:
        return
    try:
        write_atomically(file, content, durable=False)
        _make_room(file, most_bytes)
    except (StorageError, OSError) as error:
        logger.info("Not kept for the next time: %s", error)


def mark_used(file: Path) -> None:
    """Note that a file of the cache was used, so that others go before it."""
    with suppress(OSError):  # it may be somebody else's, or gone
        os.utime(file)


def _make_room(newest: Path, most_bytes: int) -> None:
    """Delete the files beside ``newest`` that were not used for longest, until all fit."""
    found = [(path, path.stat()) for path in newest.parent.iterdir() if path != newest]
    left = most_bytes - newest.stat().st_size
    for path, about in sorted(found, key=lambda each: each[1].st_mtime, reverse=True):
        left -= about.st_size
        if left < 0:
            path.unlink(missing_ok=True)
