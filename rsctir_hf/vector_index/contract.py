"""What a vector index keeps beside each vector, and what a search may ask of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor

from rsctir_hf.errors import QueryError

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar]


@dataclass(frozen=True)
class BoundingBox:
    """A rectangle on the Earth in degrees of longitude and latitude (EPSG:4326).

    ``min_x`` above ``max_x`` means that it crosses the antimeridian (RFC 7946, section 5.2).

    Raises:
        QueryError: a coordinate beyond the Earth, or south and north the wrong way round.
    """

    min_x: float
    min_y: float
    max_x: float
    max_y: float

    def __post_init__(self) -> None:
        longitudes, latitudes = (self.min_x, self.max_x), (self.min_y, self.max_y)
        if not all(map(math.isfinite, longitudes + latitudes)) or (
            max(map(abs, longitudes)) > 180
            or max(map(abs, latitudes)) > 90
            or self.min_y > self.max_y
        ):
            raise QueryError(
                f"The bounding box is {self.corners}; expected min_lon, min_lat, max_lon, max_lat "
                "in degrees, longitudes within -180..180, latitudes within -90..90, the southern "
                "one first."
            )

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """West, south, east, north, in degrees."""
        return self.min_x, self.min_y, self.max_x, self.max_y

    @property
    def parts(self) -> tuple["BoundingBox", ...]:
        """The box itself, or its halves on either side of the antimeridian."""
        if self.min_x <= self.max_x:
            return (self,)
        return (
            BoundingBox(self.min_x, self.min_y, 180.0, self.max_y),
            BoundingBox(-180.0, self.min_y, self.max_x, self.max_y),
        )

    @classmethod
    def read(cls, text: str) -> "BoundingBox":
        """Read ``min_lon,min_lat,max_lon,max_lat``.

        Raises:
            QueryError: not four numbers, or no such box.
        """
        try:
            min_x, min_y, max_x, max_y = map(float, text.split(","))
        except ValueError as error:
            raise QueryError(
                f"The bounding box is {text!r}; expected four numbers with commas between them: "
                "min_lon,min_lat,max_lon,max_lat, for example 8.4,53.0,8.9,53.3."
            ) from error
        return cls(min_x, min_y, max_x, max_y)


@dataclass(frozen=True)
class Entry:
    """What an index holds beside one vector.

    Attributes:
        id: of the vector.
        metadata: plain values by name.
        box: where on the Earth it lies, if that is known.
    """

    id: int
    metadata: Metadata = field(default_factory=dict)
    box: BoundingBox | None = None


@dataclass(frozen=True)
class SearchFilter:
    """Which entries a search may find: those that pass every condition.

    Attributes:
        where: by name, the value an entry must have, or several of which it must have one.
            ``True`` and ``1`` are different values; ``1`` and ``1.0`` are the same.
        box: entries whose own box overlaps or touches this one; those without a box do not.

    Raises:
        QueryError: a value that is neither text, number nor truth value, or no value at all.
    """

    where: Mapping[str, Scalar | Iterable[Scalar]] = field(default_factory=dict)
    box: BoundingBox | None = None

    def __post_init__(self) -> None:
        wanted = {name: _as_tuple(values) for name, values in self.where.items()}
        object.__setattr__(self, "where", wanted)  # frozen; a generator is read once
        for name, values in wanted.items():
            if not values or None in values:
                raise QueryError(
                    f"The filter gives no value for {name!r}. Give one or several, or leave it out."
                )
            for value in values:
                checked_metadata({name: value})

    @property
    def wanted(self) -> dict[str, tuple[Scalar, ...]]:
        """By name, the values of which an entry must have one."""
        return cast(dict[str, tuple[Scalar, ...]], self.where)


def _as_tuple(values: Any) -> tuple[Any, ...]:  # noqa: ANN401 - whatever a caller gave
    return (
        tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else (values,)
    )


@dataclass(frozen=True)
class Recall:
    """The share of the true nearest neighbours that a search finds.

    Attributes:
        value: 0..1, or None where nobody has measured it.
        how: in words: ``exact``, or how it was measured.
    """

    value: float | None
    how: str

    def __str__(self) -> str:
        told = self.value is None or self == EXACT
        return self.how if told else f"{self.value:.3f} ({self.how})"


EXACT = Recall(1.0, "exact")
NOT_MEASURED = Recall(None, "approximate, not measured")


def noted_recall(record: Mapping[str, Any]) -> Recall:
    """Return the recall that was noted in the record of an index, or that none was measured."""
    match record.get("recall"):
        case {"value": int() | float() | None as value, "how": str() as how}:
            return Recall(value, how)
    return NOT_MEASURED


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


class VectorIndex(Protocol):
    """Holds unit vectors (n, D) under whole-number ids, and finds the nearest by cosine.

    With each vector go metadata, plain values by name, and perhaps a bounding box. Every method
    raises ``QueryError`` for arguments that make no sense, ``UnknownItemError`` for an id that is
    not there, ``IndexMismatchError`` for vectors of another length, and, where a server holds the
    vectors, ``IndexUnavailableError`` when it does not answer; the next call connects anew.

    An engine whose searches are approximate keeps its ``recall`` in the record, under that name.

    Attributes:
        record: what is noted about the index as a whole, such as which model made it; plain
            values. Assign a new one to change it.
        recall: the share of the true nearest that a search finds, and how that is known.
    """

    record: Mapping[str, Any]

    @property
    def persistent(self) -> bool:
        """Whether a server keeps what was added; else it lives in memory until it is saved."""

    @property
    def place(self) -> str:
        """Where the index lies, for messages; without passwords."""

    @property
    def recall(self) -> Recall:
        """See the class."""

    def __len__(self) -> int: ...

    @property
    def dimension(self) -> int | None:
        """The length D of the vectors; None while there are none."""

    def add(
        self,
        vectors: Tensor,
        *,
        ids: Sequence[int] | Tensor | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> Tensor:
        """Add (n, D) unit vectors; return their ids (n,), the next free ones where not given."""

    def upsert(
        self,
        vectors: Tensor,
        ids: Sequence[int] | Tensor,
        *,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> None:
        """Add vectors (n, D), replacing all that is held under ids that are there already."""

    def delete(self, ids: Sequence[int] | Tensor) -> None:
        """Forget these ids; none of them where one is unknown."""

    def ids(self, only: SearchFilter | None = None, *, most: int | None = None) -> Tensor:
        """Return the ids (n,) that pass a filter, ascending; at most ``most``, evenly spaced."""

    def vectors_of(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Return the vectors (n, D) float32 of n ids, in their order."""

    def entries_of(self, ids: Sequence[int] | Tensor) -> list[Entry]:
        """Return what is known about n ids, in their order."""

    def search(
        self, queries: Tensor, top_k: int, *, only: SearchFilter | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return scores (Q, K) and ids (Q, K) of the nearest that pass a filter, best first.

        K is ``top_k`` or, where fewer were found, the most that any query found; the rows of the
        others end in score -inf and id -1. Among equal scores the lower id comes first, where the
        index gave the ids.
        """

    def save(self, folder: Path | None = None) -> None:
        """Make all of it durable: below ``folder``, or, with None, where a server keeps it."""

    def close(self) -> None:
        """Let go of connections."""
