"""The doors of every engine: what is to be added, and what is asked, checked in one place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError, QueryError
from rsctir_hf.vector_index.contract import BoundingBox, Metadata, Scalar, checked_metadata

_LENGTH_TOLERANCE = 0.02  # half precision moves the length of a unit vector by far less
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Batch:
    """Entries on their way into an index, checked.

    Attributes:
        vectors: (n, D) float32 on the CPU.
        ids: n different ids, or None for the next free ones.
        metadata: n dictionaries.
        boxes: n boxes or None.
    """

    vectors: Tensor
    ids: list[int] | None
    metadata: list[dict[str, Scalar]]
    boxes: list[BoundingBox | None]

    def __len__(self) -> int:
        return len(self.vectors)


def checked_batch(
    vectors: Tensor,
    ids: Sequence[int] | Tensor | None,
    metadata: Sequence[Metadata] | None,
    boxes: Sequence[BoundingBox | None] | None,
    *,
    dimension: int | None,
) -> Batch:
    """Check what is to be added.

    Args:
        vectors: (n, D).
        ids: n ids, or None.
        metadata: n mappings, or None for empty ones.
        boxes: n boxes, or None for none at all.
        dimension: the length D of the vectors that are held, if any are.

    Raises:
        QueryError: numbers that differ, an id twice, vectors that are no unit vectors, metadata
            that are no plain values, a box across the antimeridian.
        IndexMismatchError: another length D.
    """
    checked = checked_vectors(vectors, dimension=dimension)
    count = len(checked)
    said = [{}] * count if metadata is None else metadata
    where = [None] * count if boxes is None else boxes
    named = None if ids is None else distinct_ids(ids)
    for name, given in (("ids", named), ("metadata", said), ("boxes", where)):
        if given is not None and len(given) != count:
            raise QueryError(f"Got {len(given)} {name} for {count} vectors; expected {count}.")
    for box in where:
        if box is not None and len(box.parts) > 1:
            raise QueryError(
                f"The box {box.corners} crosses the antimeridian. Add it as two entries, one on "
                "each side; a filter may cross it."
            )
    return Batch(checked, named, [checked_metadata(entry) for entry in said], list(where))


def checked_vectors(vectors: Tensor, *, dimension: int | None) -> Tensor:
    """Return vectors (n, D) as float32 on the CPU.

    Raises:
        QueryError: another shape, or vectors that are no unit vectors.
        IndexMismatchError: another length D than ``dimension``.
    """
    if vectors.ndim != 2:
        raise QueryError(f"The vectors have shape {tuple(vectors.shape)}; expected (n, D).")
    if dimension is not None and vectors.shape[1] != dimension:
        raise IndexMismatchError(
            f"The index holds vectors of length {dimension}; got length {vectors.shape[1]}. "
            "Use the model that made the index, or build it anew with the model at hand."
        )
    plain = vectors.detach().float().cpu().contiguous()
    lengths = plain.norm(dim=1)
    if not torch.all((lengths - 1).abs() < _LENGTH_TOLERANCE):  # NaN fails as well
        worst = lengths[(lengths - 1).abs().nan_to_num(torch.inf).argmax()]
        raise QueryError(
            f"A vector has length {float(worst):.4g}; expected unit vectors. Divide each by its "
            "length, for example with torch.nn.functional.normalize."
        )
    return plain


def checked_query(queries: Tensor, top_k: int, *, dimension: int | None) -> Tensor:
    """Return queries (Q, D) as ``checked_vectors`` does.

    Raises:
        QueryError, IndexMismatchError: see there; or ``top_k`` below 1.
    """
    if top_k < 1:
        raise QueryError(f"top_k is {top_k}; expected 1 or more.")
    return checked_vectors(queries, dimension=dimension)


def id_list(ids: Sequence[int] | Tensor) -> list[int]:
    """Return ids as whole numbers.

    Raises:
        QueryError: something else than whole numbers from 0.
    """
    plain = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    for one in plain:
        if not isinstance(one, int) or isinstance(one, bool) or not 0 <= one <= _LARGEST_ID:
            raise QueryError(f"An id is {one!r}; expected a whole number from 0 to 2**63 - 1.")
    return plain


def distinct_ids(ids: Sequence[int] | Tensor) -> list[int]:
    """Return ids as ``id_list`` does; raises ``QueryError`` where one stands there twice."""
    plain = id_list(ids)
    if len(set(plain)) < len(plain):
        twice = next(one for position, one in enumerate(plain) if one in plain[:position])
        raise QueryError(f"The id {twice} is given twice. Give each id once.")
    return plain


def refuse_held(held: Sequence[int]) -> None:
    """Raise ``QueryError`` where ``add`` was given ids that are held already."""
    if held:
        raise QueryError(f"The index holds {shown(held)} already. Use upsert() to replace entries.")


def shown(ids: Sequence[int]) -> str:
    """Return ids as words for a message: all, or the first few and how many there are."""
    few = ", ".join(map(str, ids[:5]))
    return f"id {few}" if len(ids) <= 5 else f"id {few} and {len(ids) - 5} more"


def no_hits(queries: int) -> tuple[Tensor, Tensor]:
    """Return the answer of an index that holds nothing: (Q, 0) scores and ids."""
    return torch.zeros(queries, 0), torch.zeros(queries, 0, dtype=torch.int64)


def in_order(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Order hits (Q, K) best first, the lower id among equals, what was not found (-1) last."""
    ids, places = ids.sort(dim=1)
    scores, order = scores.gather(1, places).sort(dim=1, descending=True, stable=True)
    return scores, ids.gather(1, order)


def evenly_spaced(count: int, *, most: int | None) -> list[int]:
    """Return at most ``most`` evenly spaced positions below ``count``."""
    kept = count if most is None else min(count, most)
    return [position * count // kept for position in range(kept)]
