"""The exact vector index: a matrix of unit vectors, searched by one product.

Exact search is fine up to some hundred thousand pictures. The reranks need the score of every
picture, so the gallery reads ``vectors`` too, which an approximate ``protocols.VectorIndex`` lacks.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError

VECTORS_FILE = "vectors.safetensors"
_KEY = "vectors"


class ExactIndex:
    """Unit vectors (n, D) in memory; implements ``protocols.VectorIndex``."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []  # joined when first searched, not at each addition
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def vectors(self) -> Tensor:
        """All vectors (n, D) float32, in the order they were added."""
        # One snapshot, so that a search in another thread never sees half an addition.
        parts = list(self._parts)
        if not parts:
            return torch.zeros(0, 0)
        if len(parts) > 1:
            joined = torch.cat(parts)
            self._parts[: len(parts)] = [joined]
            return joined
        return parts[0]

    def add(self, vectors: Tensor) -> Sequence[int]:
        """Add (n, D) unit vectors; return their n row numbers.

        Raises:
            IndexMismatchError: the length D differs from that of the vectors held.
        """
        held = self._parts[0].shape[1] if self._parts else vectors.shape[1]
        if vectors.shape[1] != held:
            raise IndexMismatchError(
                f"The index holds vectors of length {held}; got length {vectors.shape[1]}. "
                "Build the index anew with the model at hand."
            )
        first = self._count
        self._parts.append(vectors.detach().float().cpu())
        self._count += len(vectors)
        return range(first, self._count)

    def search(self, queries: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        """Return scores (Q, K) and rows (Q, K), best first, K at most the number of vectors.

        Equal scores keep the order in which their vectors were added.
        """
        vectors = self.vectors
        if len(vectors) == 0:
            nothing = torch.zeros(len(queries), 0)
            return nothing, nothing.long()
        scores = queries.float().cpu() @ vectors.T  # (Q, n)
        ranked = scores.sort(dim=1, descending=True, stable=True)
        return ranked.values[:, :top_k], ranked.indices[:, :top_k]

    def save(self, folder: Path) -> None:
        """Write the vectors below ``folder``; an older file stays whole until then."""
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{VECTORS_FILE}.{os.getpid()}.part"
        save_file({_KEY: self.vectors.contiguous()}, unfinished)
        os.replace(unfinished, folder / VECTORS_FILE)

    @classmethod
    def load(cls, folder: Path) -> "ExactIndex":
        """Read what ``save`` wrote.

        Raises:
            IndexMismatchError: the file is missing or damaged.
        """
        path = folder / VECTORS_FILE
        try:
            vectors = load_file(path)[_KEY]
        except (OSError, SafetensorError, KeyError) as error:
            raise IndexMismatchError(
                f"{path} is missing or damaged ({error}). Build the index anew."
            ) from error
        index = cls()
        if len(vectors):
            index.add(vectors)
        return index
