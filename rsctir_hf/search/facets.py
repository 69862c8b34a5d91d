"""What an index can be filtered by: its columns of metadata, their values and how often they are.

Among them are the dates of pictures, under whatever name a gallery has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rsctir_hf.errors import QueryError
from rsctir_hf.search.gallery import OWN_FIELDS
from rsctir_hf.vector_index.arguments import Scalar
from rsctir_hf.vector_index.conditions import Dates, date_digits
from rsctir_hf.vector_index.contract import SearchFilter, ValueCount, VectorIndex

#: Columns that say when a picture was taken, whatever the case of letters; the first one counts.
DATE_COLUMNS = (
    "date", "datetime", "acquired", "acquisition_date", "acquisition_time", "acquisition_datetime",
    "capture_date", "sensing_time", "date_taken", "datetimeoriginal", "tifftag_datetime",
    "timestamp", "time", "year",
)  # fmt: skip
VALUES = 20  # of a column that are told one by one
_HIDDEN = {*OWN_FIELDS, "outline"}  # differ from picture to picture
_DAY = len("YYYYMMDD")


@dataclass(frozen=True)
class Facet:
    """A column of metadata.

    Attributes:
        name: of the column.
        kind: ``text``, ``number``, ``truth``, ``date`` or ``mixed``.
        count: how many pictures have it.
        distinct: how many different values there are.
        values: the most frequent ones, each with its count.
        low: the least number, or the first date as it is written; None for other kinds.
        high: the greatest number or last date, likewise.
    """

    name: str
    kind: str
    count: int
    distinct: int
    values: tuple[ValueCount, ...]
    low: Scalar | None = None
    high: Scalar | None = None


def facets(
    index: VectorIndex, *, only: SearchFilter | None = None, values: int = VALUES
) -> list[Facet]:
    """Return the columns of an index, those that most pictures have first.

    Args:
        index: of any engine; its pictures are counted, windows of rasters each.
        only: count what passes this filter.
        values: how many values of each column are told, the most frequent ones.

    Raises:
        QueryError: ``values`` is negative.
        IndexUnavailableError: the server that keeps the index does not answer.
    """
    if values < 0:
        raise QueryError(f"{values} values of each column were asked for; expected 0 or more.")
    found = [
        _facet(name, counted, values)
        for name, counted in index.value_counts(only).items()
        if name not in _HIDDEN
    ]
    return sorted(found, key=lambda facet: (-facet.count, facet.name))


def date_column(index: VectorIndex) -> str:
    """Return the column that says when the pictures of an index were taken.

    Raises:
        QueryError: there is none; names those that there are.
    """
    columns = facets(index, values=1)
    by_name = {facet.name.lower(): facet.name for facet in columns if _holds_dates(facet)}
    for name in DATE_COLUMNS:
        if name in by_name:
            return by_name[name]
    there = ", ".join(facet.name for facet in columns) or "none"
    raise QueryError(
        f"The index in {index.place} does not say when its pictures were taken: it has no column "
        f"of dates named {', '.join(DATE_COLUMNS[:4])} or alike. Its columns: {there}. Add one to "
        "the metadata beside the pictures and index them again, or filter by another with --where."
    )


def dated(
    index: VectorIndex, only: SearchFilter | None, dates: Dates | None
) -> SearchFilter | None:
    """Return a filter that also asks for dates, in the column that the index has for them.

    Raises:
        QueryError: it has none.
    """
    if dates is None:
        return only
    column, asked = date_column(index), only or SearchFilter()
    if column in asked.wanted:
        raise QueryError(
            f"Dates and {column!r} are both asked for, and are the same column. Leave one out."
        )
    return replace(asked, where={**asked.where, column: (dates,)})


def _holds_dates(facet: Facet) -> bool:
    return bool(facet.values) and bool(date_digits(facet.values[0][0]))


def _facet(name: str, counted: Sequence[ValueCount], values: int) -> Facet:
    ordered = sorted(counted, key=lambda each: (-each[1], str(each[0])))
    plain = [value for value, _ in counted]
    kind = _kind(name, plain)
    low = high = None
    if kind == "number":
        low, high = min(plain), max(plain)  # type: ignore[type-var]  # numbers all
    elif kind == "date":
        low, high = min(plain, key=date_digits), max(plain, key=date_digits)
    count = sum(each for _, each in counted)
    return Facet(name, kind, count, len(plain), tuple(ordered[:values]), low, high)


def _kind(name: str, values: Sequence[Scalar]) -> str:
    """Say what a column holds: dates are days at least, or stand in a column of that name."""
    least = 4 if name.lower() in DATE_COLUMNS else _DAY
    texts = name.lower() in DATE_COLUMNS or all(isinstance(value, str) for value in values)
    if texts and all(len(date_digits(value)) >= least for value in values):
        return "date"
    kinds = {
        "truth" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
        for value in values
    }
    return kinds.pop() if len(kinds) == 1 else "mixed"
