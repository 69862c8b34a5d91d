"""Embed the drawn scenes and the caption bank with the models that ship, once for everybody.

    python -m drawn_scenes.vectors   # after a change of the scenes, the bank or a model

Writes ``rsctir_hf/sample/vectors`` anew, in half precision. A file is named after the model's
weights and what was embedded, so one of another model is never used.
"""

import logging
from pathlib import Path

from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.kept_vectors import pictures_name, texts_name, vectors_file
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.files.pictures import list_images
from rsctir_hf.hub.space import CHECKOUT, DEFAULT_MODEL, DEFAULT_REGION_MODEL
from rsctir_hf.sample import VECTORS_FOLDER, read_caption_bank, sample_folder
from rsctir_hf.search.confidence import yardstick_sentences

logger = logging.getLogger(__name__)

MODELS = (DEFAULT_MODEL, DEFAULT_REGION_MODEL)


def embed_sample(encoder: Encoder) -> dict[str, Tensor]:
    """Return the vectors of bank, yardstick and scenes, by the names of their files."""
    bank, yardstick = read_caption_bank(), yardstick_sentences()
    scenes = list_images(sample_folder())
    return {
        texts_name(encoder, bank): encoder.texts(bank),
        texts_name(encoder, yardstick): encoder.texts(yardstick),
        pictures_name(encoder, scenes): encoder.images(scenes).vectors,
    }


def write_sample_vectors(folder: Path = VECTORS_FOLDER) -> list[str]:
    """Write the vectors of every model; delete those of others; return the names of the files."""
    written: dict[str, Tensor] = {}
    for model in MODELS:
        written |= embed_sample(Encoder.from_pretrained(CHECKOUT / model))
    for name, vectors in written.items():
        write_atomically(folder / name, vectors_file(vectors.half()))
    for file in set(folder.iterdir()) - {folder / name for name in written}:
        file.unlink()
    return list(written)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in write_sample_vectors():
        logger.info("%s: %.2f MB", name, (VECTORS_FOLDER / name).stat().st_size / 1e6)
