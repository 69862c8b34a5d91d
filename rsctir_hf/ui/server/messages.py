"""What visitors read of an error: its words, without the folders of this server."""

import re

_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/\s,;:'\"]+/)+([^/\s,;:'\"]+)")


def without_folders(text: object) -> str:
    """Return a message or an error's text without the folders of this server in it."""
    return _FOLDERS.sub(r"\1", str(text))


def counted(count: int, noun: str) -> str:
    """Write a number with its noun, as "1 picture" and "2 pictures"."""
    return f"{count} {noun if count == 1 else f'{noun}s'}"
