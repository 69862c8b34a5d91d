"""Captions made of the names of classes, for pictures that have nothing else to say of them."""

import re
from collections.abc import Sequence
from pathlib import Path

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.rows import decode

DEFAULT = "default"  # asks for the sentences below
#: Our choice, after the prompts that CLIP's authors use for EuroSAT and RESISC45.
TEMPLATES = (
    "an aerial photograph of {}",
    "a satellite image of {}",
    "{} seen from above",
    "an overhead view of {}",
    "there is {} in this remote sensing image",
)
_JOINTS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")
_NUMBERED = re.compile(r"^\d+[\W_]+(?=\D)")


def read_templates(file: str | Path | None) -> tuple[str, ...]:
    """Return sentences with ``{}`` in the place of a class.

    Args:
        file: a sentence a line; lines that begin with ``#`` are remarks. None or ``default``: ours.

    Raises:
        DataLayoutError: the file is not there, or a line has no ``{}``.
    """
    if file is None or str(file) == DEFAULT:
        return TEMPLATES
    try:
        lines = decode(Path(file).expanduser().read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataLayoutError(
            f"{file} cannot be read ({error}). Expected a text file with a sentence a line, such "
            f"as {TEMPLATES[0]!r}, or --class_templates {DEFAULT}."
        ) from error
    said = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    wrong = [line for line in said if line.count("{}") != 1]
    if wrong or not said:
        found = f"has the line {wrong[0]!r}" if wrong else "has no sentence"
        raise DataLayoutError(
            f"{file} {found}. Expected a sentence a line with {{}} in the place of the class, such "
            f"as {TEMPLATES[0]!r}."
        )
    return tuple(dict.fromkeys(said))


def class_words(name: str) -> str:
    """Return a class as words: ``storage_tanks``, ``DenseResidential``, ``01-baseballDiamond``."""
    words = _JOINTS.sub(" ", _NUMBERED.sub("", name)).split()
    return " ".join(words).lower() or name


def class_captions(name: str, templates: Sequence[str]) -> tuple[str, ...]:
    """Return the sentences that say of a picture what class it is of."""
    return tuple(template.replace("{}", class_words(name)) for template in templates)
