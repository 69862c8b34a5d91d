"""Vectors of pictures that several measurements need, embedded once and kept in a folder."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.kept_vectors import read_vectors, vectors_file
from rsctir_hf.files.atomic import write_atomically


def picture_vectors(
    encoder: Encoder, name: str, files: Sequence[Path], kept: Path | None
) -> Tensor:
    """Return the vectors (G, D) of a set, embedded or read from the folder of kept vectors."""
    file = None if kept is None else kept / f"{encoder.made_by.fingerprint}_{name}.safetensors"
    vectors = None if file is None else read_vectors(file, len(files))
    if vectors is None:
        vectors = encoder.images(files).vectors
        if file is not None:
            write_atomically(file, vectors_file(vectors))
    return vectors
