"""One visitor's own pictures: indexed apart from the gallery and seen by that visitor alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsctir_hf.errors import QueryError
from rsctir_hf.gallery.embedding import Skipped
from rsctir_hf.retriever import Retriever
from rsctir_hf.ui.pictures import without_folders
from rsctir_hf.ui.workbench import Workbench

#: Most pictures one visitor may add; more belongs into a gallery folder.
MAX_OWN_PICTURES = 200
#: Seconds after which an idle visitor's pictures are forgotten.
FORGET_AFTER = 3600


@dataclass(frozen=True)
class OwnPictures:
    """A visitor's indexed uploads; lives in that visitor's ``gr.State`` only.

    Attributes:
        retriever: the launched model with an index of these pictures.
        indexed: number of pictures in it.
        skipped: uploads that could not be read.
    """

    retriever: Retriever
    indexed: int
    skipped: tuple[Skipped, ...]

    def in_words(self) -> str:
        """Say how many pictures are there and which were left out, with the reason."""
        pictures = "picture" if self.indexed == 1 else "pictures"
        text = f"{self.indexed} {pictures} of yours can be searched."
        left_out = "; ".join(without_folders(skip.reason) for skip in self.skipped)
        return f"{text} Left out: {left_out}" if left_out else text


def index_own_pictures(bench: Workbench, uploads: Sequence[str]) -> OwnPictures:
    """Index a visitor's uploads.

    Args:
        bench: what was launched.
        uploads: paths of the uploaded files.

    Raises:
        QueryError: too many files.
        RsctirError: the model is not there.
    """
    if len(uploads) > MAX_OWN_PICTURES:
        raise QueryError(
            f"{len(uploads)} pictures were given, at most {MAX_OWN_PICTURES} fit here. Launch the "
            "app with --gallery FOLDER to search more."
        )
    retriever = bench.personal_retriever()
    report = retriever.index([Path(path) for path in uploads])
    return OwnPictures(retriever, report.indexed, tuple(report.skipped))
