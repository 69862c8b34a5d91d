"""Generated blocks of README and results documents, each between two markers of its own."""

from pathlib import Path


def with_block(text: str, block: str, *, begin: str, end: str) -> str:
    """Return ``text`` with ``block`` between the markers ``begin`` and ``end``.

    Raises:
        ValueError: the markers do not stand there once each, in order.
    """
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last) or begin in rest or end in after:
        raise ValueError(f"Expected {begin} and then {end}, once each.")
    return f"{before}{begin}\n{block}\n{end}{after}"


def write_block(file: Path, block: str, *, begin: str, end: str) -> None:
    """Put ``block`` between the markers of a document; raises as ``with_block`` does."""
    text = with_block(file.read_text(encoding="utf-8"), block, begin=begin, end=end)
    file.write_text(text, encoding="utf-8")
