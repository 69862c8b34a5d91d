"""One visitor's own pictures: indexed apart from the gallery and seen by that visitor alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rsctir_hf.embedding.encode import Skipped
from rsctir_hf.errors import ImageReadError, QueryError
from rsctir_hf.files.pictures import check_size, picture_size
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.server.limits import MAX_OWN_PICTURES, MAX_PICTURE_PIXELS
from rsctir_hf.ui.server.messages import counted, without_folders
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.server.uploads import uploaded
from rsctir_hf.ui.server.workbench import Workbench


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

    @cached_property
    def gallery(self) -> Gallery:
        """The pictures as a gallery of which nothing else is known."""
        paths = tuple(Path(item.path) for item in self.retriever.items if item.path)
        return Gallery("your pictures", "Pictures that you gave.", paths)

    def in_words(self) -> str:
        """Say how many pictures are there and which were left out, with the reason."""
        text = f"{counted(self.indexed, 'picture')} of yours can be searched."
        left_out = "; ".join(without_folders(skip.reason) for skip in self.skipped)
        return f"{text} Left out: {left_out}" if left_out else text


def index_own_pictures(bench: Workbench, uploads: Sequence[str]) -> OwnPictures:
    """Index a visitor's uploads, paths of files.

    Raises:
        QueryError: too many files, or one that is no upload.
        RsctirError: the model is not there.
    """
    if len(uploads) > MAX_OWN_PICTURES:
        raise QueryError(
            f"{len(uploads)} pictures were given, at most {MAX_OWN_PICTURES} fit here. Launch the "
            "app with --gallery FOLDER to search more."
        )
    paths = [uploaded(path) for path in uploads]
    refused = {path: skip for path in paths if (skip := _of_wrong_size(path))}
    retriever = bench.retriever().with_empty_gallery()
    report = retriever.index([path for path in paths if path not in refused])
    return OwnPictures(retriever, report.indexed, (*refused.values(), *report.skipped))


def _of_wrong_size(path: Path) -> Skipped | None:
    """Say what is wrong with a picture's size, by its header; None where nothing is."""
    size = picture_size(path)
    try:
        if size:
            check_size(size, max_pixels=MAX_PICTURE_PIXELS, name=str(path))
    except ImageReadError as error:
        return Skipped(str(path), str(error))
    return None
