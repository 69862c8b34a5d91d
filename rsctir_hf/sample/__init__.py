"""The built-in gallery: 200 scenes drawn by our own code, the caption bank, and vectors of both.

The first two are written by ``python -m drawn_scenes.build`` in a clone of the repository, the
vectors by ``python -m drawn_scenes.vectors``.
"""

import logging
from pathlib import Path

from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.files.metadata import METADATA_FILE
from rsctir_hf.files.rows import decode

logger = logging.getLogger(__name__)

SCENE_FOLDER = Path(__file__).parent / "scenes"
BANK_FILE = Path(__file__).parent / "caption_bank.txt"
#: What the models that ship make of both; see ``embedding.kept_vectors``.
VECTORS_FOLDER = Path(__file__).parent / "vectors"
COMMENT = "#"


def sample_folder() -> Path:
    """Return the folder of the drawn scenes: 200 JPEGs and ``metadata.jsonl``.

    Raises:
        DataLayoutError: the package was installed without them.
    """
    if not (SCENE_FOLDER / METADATA_FILE).is_file():
        raise DataLayoutError(
            f"No drawn scenes in {SCENE_FOLDER}: expected 200 JPEGs and {METADATA_FILE}. "
            "Draw them again in a clone of the repository with: python -m drawn_scenes.build"
        )
    return SCENE_FOLDER


def read_caption_bank(path: str | Path | None = None) -> list[str]:
    """Read a caption bank: one sentence a line, blank lines and ``#`` comments skipped.

    Args:
        path: text file in UTF-8 (or UTF-16 with its mark); None takes the bank of the package.

    Returns:
        The distinct sentences in the order of the file.

    Raises:
        DataLayoutError: if there is no such file or it is not UTF-8 text.
        QueryError: if it holds no sentence.
    """
    file = BANK_FILE if path is None else Path(path)
    wanted = "Expected a UTF-8 text file with one caption a line."
    if not file.is_file():
        raise DataLayoutError(f"No caption bank at {file}. {wanted}")
    try:
        lines = [line.strip() for line in decode(file.read_bytes()).splitlines()]
    except UnicodeDecodeError as error:
        raise DataLayoutError(f"{file} is not UTF-8 text ({error.reason}). {wanted}") from error
    sentences = [line for line in lines if line and not line.startswith(COMMENT)]
    if not sentences:
        raise QueryError(f"The caption bank {file} holds no sentence. {wanted}")
    distinct = list(dict.fromkeys(sentences))
    if len(distinct) < len(sentences):
        logger.info("%s: %d repeated lines left out", file, len(sentences) - len(distinct))
    return distinct
