"""The notes of a release, for the page of its tag: its section of CHANGELOG.md.

``python docs/release_notes.py v0.2.0`` prints them; for GitHub the line is
``gh release create v0.2.0 dist/* --notes-file <(python docs/release_notes.py v0.2.0)``.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def release_notes(tag: str, changelog: str) -> str:
    """Return the section of a tag, without its heading.

    Args:
        tag: ``v`` and a version, such as ``v0.2.0``.
        changelog: text with a heading ``## VERSION (...)`` for each release.

    Raises:
        ValueError: it has no such section; names those that there are.
    """
    sections = re.split(r"^## +(\S+).*\n", changelog, flags=re.MULTILINE)
    notes = dict(zip(sections[1::2], sections[2::2], strict=True))
    version = tag.removeprefix("v")
    if not tag.startswith("v") or version not in notes:
        known = ", ".join(f"v{each}" for each in notes)
        raise ValueError(
            f"CHANGELOG.md has no section for the tag {tag!r}; expected one of {known}"
        )
    return notes[version].strip() + "\n"


def main() -> None:
    """Print the notes of the tag that is named."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/release_notes.py TAG")
    try:
        print(
            release_notes(sys.argv[1], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")), end=""
        )
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
