"""What every engine is asked with, checked in one place: vectors, queries, ids and metadata."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError, QueryError, UnknownItemError, UnsupportedError

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar]

_LENGTH_TOLERANCE = 0.02  # half precision moves the length of a unit vector by far less
_LARGEST_ID = 2**63 - 1


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


def checked_metadata(metadata: Metadata) -> dict[str, Scalar]:
    """Return metadata as a plain dictionary without what is None, which says nothing.

    Raises:
        QueryError: a name that is no text, a value that is neither text, number nor truth value,
            or a NUL character in one of them.
    """
    kept = {name: value for name, value in metadata.items() if value is not None}
    for name, value in kept.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        if not isinstance(name, str) or not isinstance(value, Scalar) or not finite:
            raise QueryError(
                f"The metadata {name!r} is {value!r}; expected a text as name and a text, a "
                "finite number, True or False as value."
            )
        if "\0" in name or (isinstance(value, str) and "\0" in value):
            raise QueryError(
                f"The metadata {name!r} is {value!r}, with a NUL character, which databases do not "
                "store. Remove it."
            )
    return kept


def refuse_held(held: Sequence[int]) -> None:
    """Raise ``QueryError`` where ``add`` was given ids that are held already."""
    if held:
        raise QueryError(
            f"The index holds {_shown(held)} already. Use upsert() to replace entries."
        )


def refuse_unknown(unknown: Sequence[int], place: str) -> None:
    """Raise ``UnknownItemError`` where ids were asked for that are not held at ``place``."""
    if unknown:
        raise UnknownItemError(
            f"There is nothing under {_shown(unknown)} in {place}; ids() lists what it holds."
        )


def refuse_folder(folder: Path | None, place: str) -> None:
    """Raise ``UnsupportedError`` where what a server keeps was to be saved to a folder."""
    if folder is not None:
        raise UnsupportedError(
            f"The index lives in {place}, not in a folder. Call save() without one."
        )


def _shown(ids: Sequence[int]) -> str:
    """Return ids as words for a message: all, or the first few and how many there are."""
    few = ", ".join(map(str, ids[:5]))
    return f"id {few}" if len(ids) <= 5 else f"id {few} and {len(ids) - 5} more"
