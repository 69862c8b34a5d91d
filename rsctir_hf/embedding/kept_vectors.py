"""Vectors that are there before a model has run: those that ship, and those an earlier run kept.

A file is named after all that its numbers depend on: the weights and the very inputs. One that is
missing or damaged is made anew, so that nothing but time depends on it.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.embedding.encode import tokenize
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.cache import cache_folder, keep_file, mark_used
from rsctir_hf.sample import VECTORS_FOLDER

logger = logging.getLogger(__name__)

#: Folder of the cache with the vectors of caption banks, and how large it may grow.
BANKS = "caption_banks"
MOST_BYTES = 2**29
_WORTH_KEEPING = 64  # sentences; fewer are embedded in less than a second
_SENTENCES_AT_ONCE = 4096
_SAME = 1e-3  # shipped vectors are in half precision
_VECTORS, _SUM = "vectors", "sum"


def kept_texts(encoder: Encoder, sentences: Sequence[str], *, keep: bool = True) -> Tensor:
    """Return sentences as unit vectors (C, D), which were kept or are from now on.

    Args:
        encoder: of the sentences.
        sentences: C of them.
        keep: use the cache (``files.cache``); what ships is used in any case.
    """
    if len(sentences) < _WORTH_KEEPING:
        return encoder.texts(sentences)
    name = texts_name(encoder, sentences)
    vectors = read_vectors(VECTORS_FOLDER / name, len(sentences))
    cache = cache_folder(BANKS) if keep else None
    if vectors is not None or cache is None:
        return encoder.texts(sentences) if vectors is None else vectors
    vectors = read_vectors(cache / name, len(sentences))
    if vectors is None:
        vectors = encoder.texts(sentences)
        keep_file(cache / name, vectors_file(vectors), most_bytes=MOST_BYTES)
    else:
        mark_used(cache / name)
    return vectors


def shipped_pictures(encoder: Encoder, paths: Sequence[Path]) -> Tensor | None:
    """Return the unit vectors (n, D) that ship for these very pictures and this model, or None.

    The model looks at the first one, which tells whether processor and libraries still give the
    same.
    """
    with suppress(OSError):  # a picture that is gone is found out about when it is embedded
        kept = read_vectors(VECTORS_FOLDER / pictures_name(encoder, paths), len(paths))
        if kept is not None and (encoder.image(paths[0]) - kept[0]).abs().max() < _SAME:
            return kept
    return None


def texts_name(encoder: Encoder, sentences: Sequence[str]) -> str:
    """Return the file name for the vectors of sentences; the tokenizer is part of it."""
    chunks = (
        sentences[at : at + _SENTENCES_AT_ONCE]
        for at in range(0, len(sentences), _SENTENCES_AT_ONCE)
    )
    tokens = (tokenize(encoder.model, encoder.processor, list(chunk)) for chunk in chunks)
    return _name(encoder, (ids for each in tokens for ids in _bytes_of(each["input_ids"])))


def pictures_name(encoder: Encoder, paths: Sequence[Path]) -> str:
    """Return the file name for the vectors of pictures, by their content.

    Raises:
        OSError: one cannot be read.
    """
    regions = [encoder.region_source.name.encode()]
    return _name(encoder, (*regions, *(path.read_bytes() for path in paths)))


def _bytes_of(tensor: Tensor) -> tuple[bytes, bytes]:
    return str(tuple(tensor.shape)).encode(), tensor.numpy().tobytes()


def _name(encoder: Encoder, inputs: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in inputs:
        digest.update(hashlib.blake2b(part, digest_size=16).digest())
    return f"{encoder.fingerprint}-{digest.hexdigest()}.safetensors"


def vectors_file(vectors: Tensor) -> bytes:
    """Return the content of a file that ``read_vectors`` reads."""
    return save({_VECTORS: vectors.contiguous()}, {_SUM: _sum_of(vectors)})


def read_vectors(file: Path, rows: int) -> Tensor | None:
    """Read unit vectors (rows, D) float32; None where there is no file or it is damaged."""
    try:
        with safe_open(file, "pt") as opened:
            said, vectors = opened.metadata() or {}, opened.get_tensor(_VECTORS)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError) as error:
        logger.warning("%s is damaged (%s); its vectors are made anew", file, error)
        return None
    if said.get(_SUM) != _sum_of(vectors) or vectors.dim() != 2 or len(vectors) != rows:
        logger.warning("%s is damaged; its vectors are made anew", file)
        return None
    # To the last bit what the model gave, unless they are stored in half precision.
    return vectors if vectors.dtype == torch.float32 else F.normalize(vectors.float(), dim=-1)


def _sum_of(vectors: Tensor) -> str:
    content = vectors.contiguous().view(-1).view(torch.uint8).numpy().data
    return hashlib.blake2b(content, digest_size=16).hexdigest()
