"""Concepts: what somebody marked good and bad, kept as a small JSON file that finds it again.

The direction alone searches another index of the same model, without the marked pictures. The marks
go along with their vectors, so that more can be added anywhere, and with their paths, so that the
concept can be made anew for another model where the pictures are at hand.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsctir_hf.embedding.provenance import Provenance, read_provenance
from rsctir_hf.errors import IndexMismatchError, QueryError
from rsctir_hf.files.atomic import parse_json, write_atomically

VERSION = 1
_UNIT = 1e-3  # how far the length of a stored vector may be off


@dataclass(frozen=True, eq=False)
class Mark:
    """A picture that was marked.

    Attributes:
        path: of its file as the gallery writes it; None for one from memory.
        good: whether it shows what is looked for.
        vector: (D,) unit vector.
    """

    path: str | None
    good: bool
    vector: Tensor


@dataclass(frozen=True, eq=False)
class Concept:
    """What is looked for, learnt from marks (``ConceptSearch.learn``).

    Attributes:
        direction: (D,) unit vector; pictures far along it come first.
        marks: what it was learnt from.
        made_by: the model of all these vectors.
        words: what was asked in words, if anything.
        name: of the concept.
    """

    direction: Tensor
    marks: tuple[Mark, ...]
    made_by: Provenance
    words: str | None = None
    name: str = ""

    def __str__(self) -> str:
        good = sum(mark.good for mark in self.marks)
        said = f" ({self.words!r})" if self.words else ""
        return f"{self.name or 'concept'}{said}: {good} good, {len(self.marks) - good} bad"

    def check_model(self, here: Provenance) -> None:
        """Refuse to search vectors of another model.

        Raises:
            IndexMismatchError: names both models and how to make the concept anew.
        """
        if not self.made_by.same_model(here):
            raise IndexMismatchError(
                f"The concept {self.name!r} was made with {self.made_by}; the model at hand is "
                f"{here}. Make it anew from its marks where their pictures are: 'rsctir search "
                "--index INDEX --concept FILE.json --remake --save-concept NEW.json', "
                "retriever.concepts.relearn(concept) in Python."
            )

    def save(self, file: str | Path) -> None:
        """Write the concept, whole or not at all; a nameless one takes the name of the file.

        Raises:
            StorageError: it cannot be written.
        """
        content = {
            "version": VERSION,
            "name": self.name or Path(file).stem,
            "words": self.words,
            "made_by": asdict(self.made_by),
            "direction": _written(self.direction),
            "marks": [
                {"path": mark.path, "good": mark.good, "vector": _written(mark.vector)}
                for mark in self.marks
            ],
        }
        write_atomically(Path(file), json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, file: str | Path) -> "Concept":
        """Read what ``save`` wrote.

        Raises:
            QueryError: there is no such file, it is no concept, damaged, or of a later version.
        """
        try:
            content = parse_json(Path(file).read_bytes())
        except OSError as error:
            raise QueryError(f"The concept {file} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise _damaged(file, error) from error
        if not isinstance(content, Mapping) or "direction" not in content:
            raise _damaged(file, "it holds no direction")
        if content.get("version") != VERSION:
            raise QueryError(
                f"The concept {file} has version {content.get('version')!r}; this program reads "
                f"version {VERSION}. Update the program that is older."
            )
        return cls._of(content, file)

    @classmethod
    def _of(cls, content: Mapping[str, Any], file: str | Path) -> "Concept":
        try:
            made_by = read_provenance(content["made_by"], file)
            direction = _read(content["direction"], None)
            marks = tuple(
                Mark(
                    _checked(mark["path"], str | None),
                    _checked(mark["good"], bool),
                    _read(mark["vector"], len(direction)),
                )
                for mark in content["marks"]
            )
            words, name = _checked(content["words"], str | None), _checked(content["name"], str)
        except KeyError as error:
            raise _damaged(file, f"it has no {error}") from error
        except (TypeError, ValueError, IndexMismatchError) as error:
            raise _damaged(file, error) from error
        return cls(direction, marks, made_by, words, name)


def joined_marks(older: Sequence[Mark], newer: Sequence[Mark]) -> tuple[Mark, ...]:
    """Return all marks; of those of one picture the newer counts."""
    anew = {mark.path for mark in newer if mark.path}
    return *(mark for mark in older if mark.path not in anew), *newer


def _damaged(file: str | Path, why: object) -> QueryError:
    return QueryError(
        f"{file} is no concept, or damaged ({why}). Expected a file that 'rsctir search "
        "--save-concept' wrote."
    )


def _checked(value: Any, kind: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {getattr(kind, '__name__', kind)}")
    return value


def _written(vector: Tensor) -> str:
    """Return a vector as the base64 of its float32 numbers, lowest byte first."""
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode("ascii")


def _read(text: Any, length: int | None) -> Tensor:  # noqa: ANN401 - JSON
    """Read a unit vector.

    Raises:
        TypeError, ValueError: it is none, or of another length.
    """
    try:
        raw = base64.b64decode(_checked(text, str), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a vector is no base64: {error}") from error
    vector = torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32))
    if length is not None and len(vector) != length:
        raise ValueError(f"a vector has {len(vector)} numbers, the direction {length}")
    if not abs(vector.norm().item() - 1) < _UNIT:
        raise ValueError("a vector is not of length 1")
    return vector
