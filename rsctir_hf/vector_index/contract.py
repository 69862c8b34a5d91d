"""What a vector index promises: what it keeps beside each vector, and what may be asked of it."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from rsctir_hf.errors import QueryError
from rsctir_hf.vector_index.arguments import (
    Metadata,
    Scalar,
    checked_metadata,
    checked_vectors,
    distinct_ids,
    id_list,
)
from rsctir_hf.vector_index.conditions import Condition, typed
from rsctir_hf.vector_index.nearest import no_hits

Wanted = Scalar | Condition
ValueCount = tuple[Scalar, int]
_AT_ONCE = 10_000  # entries that are fetched from a server


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

    @property
    def of_entry(self) -> "BoundingBox":
        """The box that an entry can have: over the antimeridian the wider of the two parts.

        All longitudes where that would leave out much: an area wider than half the earth.
        """
        if -180 < self.max_x - self.min_x < 0:
            return BoundingBox(-180, self.min_y, 180, self.max_y)
        return max(self.parts, key=lambda part: part.max_x - part.min_x)

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
            ``True`` and ``1`` are different values; ``1`` and ``1.0`` are the same. A ``Range``,
            ``Contains`` or ``Dates`` (``conditions``) may stand for a value.
        box: entries whose own box overlaps or touches this one; those without a box do not.

    Raises:
        QueryError: a value that is neither text, number nor truth value, or no value at all.
    """

    where: Mapping[str, Wanted | Iterable[Wanted]] = field(default_factory=dict)
    box: BoundingBox | None = None

    def __post_init__(self) -> None:
        wanted: dict[str, tuple[Any, ...]] = {}
        for name, given in self.where.items():
            if isinstance(given, Iterable) and not isinstance(given, str):
                wanted[name] = tuple(given)  # a generator is read once
            else:
                wanted[name] = (given,)
            if not wanted[name] or None in wanted[name]:
                raise QueryError(
                    f"The filter gives no value for {name!r}. Give one or several, or leave it out."
                )
            for value in wanted[name]:
                checked_metadata({name: "" if isinstance(value, Condition) else value})
        object.__setattr__(self, "where", wanted)  # frozen

    @property
    def wanted(self) -> dict[str, tuple[Wanted, ...]]:
        """By name, the values and conditions of which an entry must meet one."""
        return cast(dict[str, tuple[Wanted, ...]], self.where)


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


def recorded_recall(record: Mapping[str, Any]) -> Recall:
    """Return the recall that stands in the record of an index, or that none was measured."""
    match record.get("recall"):
        case {"value": int() | float() | None as value, "how": str() as how}:
            return Recall(value, how)
    return NOT_MEASURED


@dataclass(frozen=True)
class Batch:
    """Entries on their way into an index, checked.

    Attributes:
        vectors: (n, D) float32 on the CPU.
        ids: n different ids, or None for the next free ones.
        metadata: n dictionaries.
        boxes: n boxes or None.

    Raises:
        QueryError: numbers that differ, or a box across the antimeridian.
    """

    vectors: Tensor
    ids: list[int] | None
    metadata: list[dict[str, Scalar]]
    boxes: list[BoundingBox | None]

    def __post_init__(self) -> None:
        count = len(self.vectors)
        for name in ("ids", "metadata", "boxes"):
            given = getattr(self, name)
            if given is not None and len(given) != count:
                raise QueryError(f"Got {len(given)} {name} for {count} vectors; expected {count}.")
        for box in self.boxes:
            if box is not None and len(box.parts) > 1:
                raise QueryError(
                    f"The box {box.corners} crosses the antimeridian. Add it as two entries, one "
                    "on each side; a filter may cross it."
                )


class VectorIndex(ABC):
    """Holds unit vectors (n, D) under whole-number ids, and finds the nearest by cosine.

    With each vector go metadata, plain values by name, and perhaps a bounding box. Every method
    raises ``QueryError`` for arguments that make no sense, ``UnknownItemError`` for an id that is
    not there, ``IndexMismatchError`` for vectors of another length, and, where a server holds the
    vectors, ``IndexUnavailableError`` when it does not answer; the next call connects anew.

    Arguments are checked here, once. An engine keeps and finds things in the methods that begin
    with an underscore, and is handed nothing there that makes no sense.

    Attributes:
        persistent: whether a server keeps what was added; else it is in memory until saved.
        approximate: whether a search may miss some of the nearest.
        record: plain values about the whole, such as its model; assign a new one to change it.
        place: where the index lies, for messages; without passwords.
    """

    persistent: ClassVar[bool]
    approximate: ClassVar[bool]
    record: Mapping[str, Any]
    place: str

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def dimension(self) -> int | None:
        """The length D of the vectors; None while there are none."""

    @property
    def recall(self) -> Recall:
        """The share of the true nearest that a search finds, and how that is known.

        That of an approximate engine stands in its record (``recall.measure_recall``).
        """
        return recorded_recall(self.record) if self.approximate else EXACT

    def add(
        self,
        vectors: Tensor,
        *,
        ids: Sequence[int] | Tensor | None = None,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> Tensor:
        """Add (n, D) unit vectors; return their ids (n,), the next free ones where not given."""
        return self._take(vectors, ids, metadata, boxes, replace=False)

    def upsert(
        self,
        vectors: Tensor,
        ids: Sequence[int] | Tensor,
        *,
        metadata: Sequence[Metadata] | None = None,
        boxes: Sequence[BoundingBox | None] | None = None,
    ) -> None:
        """Add vectors (n, D), replacing all that is held under ids that are there already."""
        self._take(vectors, ids, metadata, boxes, replace=True)

    def _take(
        self,
        vectors: Tensor,
        ids: Sequence[int] | Tensor | None,
        metadata: Sequence[Metadata] | None,
        boxes: Sequence[BoundingBox | None] | None,
        *,
        replace: bool,
    ) -> Tensor:
        """Check what is to be added, and hand it to the engine."""
        with self._together():
            checked = checked_vectors(vectors, dimension=self.dimension)
            said = [{}] * len(checked) if metadata is None else metadata
            batch = Batch(
                checked,
                None if ids is None else distinct_ids(ids),
                [checked_metadata(each) for each in said],
                [None] * len(checked) if boxes is None else list(boxes),
            )
            given = self._put(batch, replace=replace) if len(checked) else []
        return torch.tensor(given, dtype=torch.int64)

    def delete(self, ids: Sequence[int] | Tensor) -> None:
        """Forget these ids; none of them where one is unknown."""
        with self._together():
            self._forget(distinct_ids(ids))

    @abstractmethod
    def ids(self, only: SearchFilter | None = None, *, most: int | None = None) -> Tensor:
        """Return the ids (n,) that pass a filter, ascending; at most ``most``, evenly spaced."""

    def vectors_of(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Return the vectors (n, D) float32 of n ids, in their order."""
        asked = id_list(ids)
        return self._vectors(asked) if asked else torch.zeros(0, self.dimension or 0)

    def entries_of(self, ids: Sequence[int] | Tensor) -> list[Entry]:
        """Return what is known about n ids, in their order."""
        return self._entries(id_list(ids))

    def value_counts(self, only: SearchFilter | None = None) -> dict[str, list[ValueCount]]:
        """Return by name of metadata each value and how many entries that pass a filter have it."""
        counted: dict[str, Counter[tuple[bool, Scalar]]] = {}
        for part in self.ids(only).split(_AT_ONCE):
            for entry in self.entries_of(part):
                for name, value in entry.metadata.items():
                    counted.setdefault(name, Counter())[typed(value)] += 1
        return {
            name: [(value, count) for (_, value), count in found.items()]
            for name, found in counted.items()
        }

    def search(
        self, queries: Tensor, top_k: int, *, only: SearchFilter | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return scores (Q, K) and ids (Q, K) of the nearest that pass a filter, best first.

        K is ``top_k`` or, where fewer were found, the most that any query found; the rows of the
        others end in score -inf and id -1. Among equal scores the lower id comes first, where the
        index gave the ids.
        """
        if top_k < 1:
            raise QueryError(f"top_k is {top_k}; expected 1 or more.")
        with self._together():
            known = self.dimension
            asked = checked_vectors(queries, dimension=known)
            if known is None or len(asked) == 0:
                return no_hits(len(asked))
            return self._search(asked, top_k, only)

    @abstractmethod
    def save(self, folder: Path | None = None) -> None:
        """Make all of it durable: below ``folder``, or, with None, where a server keeps it.

        Raises ``UnsupportedError`` for a folder with a server, or none with an index in memory.
        """

    def close(self) -> None:  # noqa: B027 - not every engine has something to close
        """Let go of connections."""

    def _together(self) -> AbstractContextManager[Any]:
        """Hold one connection or transaction through a call, where the engine has such."""
        return nullcontext()

    @abstractmethod
    def _put(self, batch: Batch, *, replace: bool) -> list[int]:
        """Hold a batch, not empty, and return its ids; held ones are replaced or refused."""

    @abstractmethod
    def _forget(self, ids: list[int]) -> None:
        """See ``delete``."""

    @abstractmethod
    def _vectors(self, ids: list[int]) -> Tensor:
        """See ``vectors_of``; at least one."""

    @abstractmethod
    def _entries(self, ids: list[int]) -> list[Entry]:
        """See ``entries_of``."""

    @abstractmethod
    def _search(
        self, queries: Tensor, top_k: int, only: SearchFilter | None
    ) -> tuple[Tensor, Tensor]:
        """See ``search``; at least one query."""
