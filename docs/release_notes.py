"""The notes of a release, for the page of its tag: its section of CHANGELOG.md.

``python docs/release_notes.py v0.2.0`` prints them; for GitHub the line is
``gh release create v0.2.0 dist/* --notes-file <(python docs/release_notes.py v0.2.0)``.
A tag that is not the version of pyproject.toml is refused, and so is a section that is headed
"(unreleased)", unless ``--unreleased`` is given.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def release_notes(tag: str, changelog: str, *, version: str, unreleased: bool = False) -> str:
    """Return the section of a tag, without its heading.

    Args:
        tag: ``v`` and a version, such as ``v0.2.0``.
        changelog: text with a heading ``## VERSION (...)`` for each release.
        version: that of the package, which the tag has to name.
        unreleased: also take a section whose heading says "(unreleased)".

    Raises:
        ValueError: there is no such section (names those that there are), the tag is of another
            version, or the section is headed "(unreleased)".
    """
    sections = re.split(r"^## +(\S+)(.*)\n", changelog, flags=re.MULTILINE)
    found = dict(zip(sections[1::3], zip(sections[2::3], sections[3::3], strict=True), strict=True))
    name = tag.removeprefix("v")
    if not tag.startswith("v") or name not in found:
        known = ", ".join(f"v{each}" for each in found)
        raise ValueError(
            f"CHANGELOG.md has no section for the tag {tag!r}; expected one of {known}"
        )
    if name != version:
        raise ValueError(f"the tag {tag!r} is not the version of pyproject.toml, {version}")
    heading, notes = found[name]
    if "(unreleased)" in heading and not unreleased:
        raise ValueError(
            f"CHANGELOG.md heads {name} '(unreleased)': put the date there, or add --unreleased"
        )
    return notes.strip() + "\n"


def main() -> None:
    """Print the notes of the tag that is named."""
    parser = argparse.ArgumentParser(description="Print the notes of a release.")
    parser.add_argument("tag", help="such as v0.2.0")
    parser.add_argument("--unreleased", action="store_true", help="before the heading has a date")
    given = parser.parse_args()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version, unreleased = project["version"], given.unreleased
    try:
        print(release_notes(given.tag, changelog, version=version, unreleased=unreleased), end="")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
