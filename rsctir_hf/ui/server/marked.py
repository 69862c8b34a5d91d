"""What one visitor has marked good and bad, and the concept that is learnt from it."""

import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rsctir_hf.errors import QueryError
from rsctir_hf.search.concept import Concept, Mark
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.server.limits import MOST_MARKS
from rsctir_hf.ui.server.shown_gallery import Gallery

_NOTHING_MARKED = "Nothing is marked. Mark a picture good first, with its ✓ or the key g."


@dataclass
class Marks:
    """Marked pictures of one gallery; handlers that run meanwhile see them change.

    Attributes:
        kinds: by path whether it is good.
        opened: a concept that is gone on with.
    """

    kinds: dict[str, bool] = field(default_factory=dict)
    opened: Concept | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    def turn(self, path: str, *, good: bool) -> None:
        """Mark a picture; the same mark once more takes it back.

        Raises:
            QueryError: there are ``MOST_MARKS``.
        """
        if self.kinds.get(path) is good:
            del self.kinds[path]
            return
        if path not in self.kinds and len(self.kinds) >= MOST_MARKS:
            raise QueryError(
                f"{MOST_MARKS:,} pictures are marked, and more are not taken. Take some back, or "
                "save the concept and go on with rsctir search."
            )
        self.kinds[path] = good

    def clear(self) -> None:
        """Forget all."""
        self.kinds.clear()
        self.opened = None

    def open(self, concept: Concept, retriever: Retriever, gallery: Gallery) -> None:
        """Go on with a concept, in the place of what was marked.

        Raises:
            IndexMismatchError: it is of another model.
            QueryError: its vectors have another length.
        """
        concept.check_model(retriever.encoder.made_by)
        if retriever.engine.dimension not in (None, len(concept.direction)):
            raise QueryError(
                f"The concept {concept.name!r} has {len(concept.direction)} numbers a vector, the "
                f"gallery {retriever.engine.dimension}. It is damaged: take it from a copy."
            )
        marks = [replace(m, path=gallery.named.get(m.path or "", m.path)) for m in concept.marks]
        self.opened = replace(concept, marks=tuple(marks))
        self.kinds = {mark.path: mark.good for mark in marks if mark.path}

    def learnt(self, words: str, retriever: Retriever, *, name: str = "") -> Concept:
        """Return the concept of all marks, with words.

        Raises:
            QueryError: nothing is marked; else see ``ConceptSearch.learn``.
        """
        if not (self.kinds or self.opened or words):
            raise QueryError(_NOTHING_MARKED)
        opened = self.opened
        kept = [mark for mark in opened.marks if self._holds(mark)] if opened else []
        known = {mark.path for mark in kept}
        newer = {path: good for path, good in self.kinds.items() if path not in known}
        if opened and not newer and len(kept) == len(opened.marks) and not words:
            return replace(opened, name=name or opened.name)
        good, bad = ([p for p, each in newer.items() if each is kind] for kind in (True, False))
        start = replace(opened, marks=tuple(kept)) if opened else None
        said = words or None
        return retriever.concepts.learn(said, good=good, bad=bad, start=start, name=name)

    def unchanged(self, concept: Concept) -> bool:
        """Tell whether a concept is the one that was opened: nothing was marked since."""
        return self.opened is not None and concept.marks == self.opened.marks

    def _holds(self, mark: Mark) -> bool:
        return mark.path is None or self.kinds.get(mark.path) is mark.good


def concept_text(concept: Concept, gallery: Gallery) -> str:
    """Return a concept as its file has it, without the folders of this server."""
    marks = [
        replace(mark, path=gallery.names.get(mark.path or "", mark.path)) for mark in concept.marks
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "concept.json")
        short: dict[str, Any] = {
            name: Path(said).name
            for name, said in asdict(concept.made_by).items()
            if isinstance(said, str) and os.path.isabs(said)
        }
        made_by = replace(concept.made_by, **short)
        replace(concept, marks=tuple(marks), made_by=made_by).save(file)
        return file.read_text(encoding="utf-8")


def read_concept(text: str) -> Concept:
    """Read the text of a concept's file; raises ``QueryError`` where it is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "concept.json")
        file.write_text(text, encoding="utf-8")
        return Concept.load(file)
