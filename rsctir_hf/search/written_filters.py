"""Filters as they are written: ``class=harbor``, ``gsd<=0.5``, a box and dates as text."""

from collections.abc import Sequence
from typing import Any

from rsctir_hf.errors import QueryError
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.vector_index.arguments import Scalar
from rsctir_hf.vector_index.conditions import Contains, Dates, Range
from rsctir_hf.vector_index.contract import BoundingBox, SearchFilter, Wanted


def split_pair(text: str, *, empty: bool = False) -> tuple[str, str]:
    """Return the two sides of ``NAME=VALUE``; the second may be empty where ``empty`` says so.

    Raises:
        QueryError: it has no such form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals and (value or empty)):
        raise QueryError(f"{text!r} is not understood; expected NAME=VALUE.")
    return name, value


def read_filter(where: Sequence[str] | None, box: str | None) -> SearchFilter | None:
    """Return the filter that ``--where`` and ``--bbox`` mean, if any.

    ``NAME=VALUE``, ``NAME>=LEAST``, ``NAME<=MOST`` (together a range) or ``NAME~=PART``. A value
    that reads as a number or as true or false is that, in double quotes a text.

    Raises:
        QueryError: none of these, or no such box.
    """
    if not where and box is None:
        return None
    wanted: dict[str, list[Wanted]] = {}
    ranges: dict[str, dict[str, Any]] = {}
    for condition in where or ():
        name, value = split_pair(condition)
        column, sign = (name[:-1].strip(), name[-1]) if name[-1] in "<>~" else (name, "")
        if not column:
            raise QueryError(f"{condition!r} is not understood; expected NAME{sign}=VALUE.")
        if sign in ("<", ">"):
            ends, end = ranges.setdefault(column, {}), "low" if sign == ">" else "high"
            if end in ends:
                raise QueryError(f"{column}{sign}= is given twice; expected one bound.")
            ends[end] = _plain_value(value)
        else:
            plain = _plain_value(value)
            wanted.setdefault(column, []).append(
                Contains(str(plain) if isinstance(plain, str) else value) if sign else plain
            )
    for column, ends in ranges.items():
        wanted.setdefault(column, []).append(Range(**ends))
    return SearchFilter(wanted, None if box is None else BoundingBox.read(box))


def read_dates(after: str | None, before: str | None) -> Dates | None:
    """Return what ``--after`` and ``--before`` mean, if anything; raises as ``Dates`` does."""
    return None if after is None and before is None else Dates(after, before)


def _plain_value(text: str) -> Scalar:
    try:
        value = parse_json(text)
    except ValueError:
        return text
    return value if isinstance(value, Scalar) else text
