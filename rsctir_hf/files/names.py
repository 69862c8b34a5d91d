r"""Names of files that are no UTF-8, carried as text and found again.

Python hands out the bytes of a name that are no UTF-8 as lone surrogates, which JSON, Parquet and
databases refuse. As text such a byte is ``\xNN``: ``caf\xe9.jpg`` in Latin-1 is written
``caf\xe9.jpg`` with a backslash. A backslash that would read as one of these escapes is written
``\x5c``, so that no two names share a text; all other names are their own text.
"""

import os
import re
from pathlib import Path

_BYTE = r"x(5c|[89a-f][0-9a-f])"
_AMBIGUOUS = re.compile(rf"\\(?={_BYTE})")
_ESCAPE = re.compile(rf"\\{_BYTE}")
_NO_UTF_8 = re.compile("[\udc80-\udcff]")


def is_utf_8(path: str) -> bool:
    """Tell whether a path is text as it is, or needs ``as_text``."""
    return _NO_UTF_8.search(path) is None


def as_text(path: str | Path) -> str:
    """Return a path as text that is valid UTF-8; ``path_of`` is the way back."""
    plain = _AMBIGUOUS.sub(r"\\x5c", str(path))
    return _NO_UTF_8.sub(lambda found: rf"\x{ord(found[0]) - 0xDC00:02x}", plain)


def path_of(text: str) -> str:
    """Return the path that ``as_text`` wrote."""
    return _ESCAPE.sub(lambda found: os.fsdecode(bytes([int(found[1], 16)])), text)


def named_path(path: str | Path) -> str:
    """Return the path that somebody names: as it is where it is there, else by its text."""
    given = str(path)
    meant = path_of(given)
    if meant == given or os.path.exists(given):
        return given
    return meant if os.path.exists(meant) else given
