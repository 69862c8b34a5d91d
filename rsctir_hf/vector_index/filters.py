"""A search filter in the languages of the servers: SQL with parameters, and Milvus's expressions.

Both compare with the entry's own metadata and corners by the rules of ``contract.SearchFilter``.
"""

import json
from typing import Any

from rsctir_hf.vector_index.conditions import (
    DATE_DIGITS,
    DATE_PATTERN,
    Condition,
    Contains,
    Dates,
    Range,
)
from rsctir_hf.vector_index.contract import SearchFilter, Wanted

PATH = "path"  # metadata of this name is a column of its own in Milvus, to look up many at once
LONGEST_PATH = 65_535  # bytes, Milvus's limit

# Values that PostgreSQL looks up one by one; of more it makes a table and reads every row once.
_FEW = 32


def sql_condition(only: SearchFilter | None) -> tuple[str, list[Any]]:
    """Return a condition of SQL and the values of its placeholders; nothing of the user's in it."""
    conditions = ["true"]
    values: list[Any] = []
    for name, wanted in only.wanted.items() if only else ():
        plain = [value for value in wanted if not isinstance(value, Condition)]
        if len(plain) > _FEW:
            either = ["metadata -> %s = ANY(%s::jsonb[])"]
            values += [name, [json.dumps(value) for value in plain]]
        else:
            either = ["metadata @> %s::jsonb"] * len(plain)
            values += [json.dumps({name: value}) for value in plain]
        for value in wanted:
            if isinstance(value, Condition):
                met, of_it = _sql_of(value, name)
                either.append(met)
                values += of_it
        conditions.append(" OR ".join(either))
    if only and only.box:
        overlaps = (
            "(box(point(min_x, min_y), point(max_x, max_y)) && box(point(%s, %s), point(%s, %s)) "
            "AND min_x <= %s AND max_x >= %s AND min_y <= %s AND max_y >= %s)"
        )
        conditions.append(" OR ".join([overlaps] * len(only.box.parts)))
        for part in only.box.parts:
            values += [*part.corners, part.max_x, part.min_x, part.max_y, part.min_y]
    return " AND ".join(f"({condition})" for condition in conditions), values


def _sql_of(asked: Condition, name: str) -> tuple[str, list[Any]]:
    """Return a condition on the value of one name, and the values of its placeholders.

    Which letters PostgreSQL takes for the same in lower case is up to the locale of the database.
    """
    match asked:
        case Range(low, high):
            ends = {"low": low, "high": high}
            path = " && ".join(
                f"@ {sign} ${end}"
                for end, sign in (("low", ">="), ("high", "<="))
                if ends[end] is not None
            )
            met = "jsonb_path_exists(metadata -> %s, %s::jsonpath, %s::jsonb)"  # types must agree
            return met, [name, f"$ ? ({path})", json.dumps(ends)]
        case Contains(text):
            met = (
                "(jsonb_typeof(metadata -> %s) = 'string' "
                "AND strpos(lower(metadata ->> %s), lower(%s)) > 0)"
            )
            return met, [name, name, text]
        case Dates():
            digits = "regexp_replace(substring(metadata ->> %s from %s), '\\D', '', 'g')"
            met = (
                f"(rpad({digits}, {DATE_DIGITS}, '9') COLLATE \"C\" >= %s "
                f'AND {digits} COLLATE "C" <= %s)'
            )
            return met, [name, DATE_PATTERN, asked.first, name, DATE_PATTERN, asked.last]


def milvus_condition(only: SearchFilter | None) -> str:
    """Return a filter expression of Milvus; what the user gave stands in it as JSON literals.

    More passes it than should (see ``is_loose_in_milvus``). milvus-lite knows no ``in`` for
    metadata: each value costs a look at every entry. Paths come by the hundred and have a column.
    """
    conditions = ["id >= 0"]
    for name, wanted in only.wanted.items() if only else ():
        if any(isinstance(value, Condition) for value in wanted):
            continue
        if name == PATH and all(map(path_column, wanted)):
            conditions.append(f"{PATH} in [{', '.join(map(_literal, wanted))}]")
            continue
        field = f"metadata[{_literal(name)}]"
        conditions.append(" or ".join(f"{field} == {_literal(value)}" for value in wanted))
    if only and only.box:
        conditions.append(
            " or ".join(
                f"(min_x <= {part.max_x!r} and max_x >= {part.min_x!r} "
                f"and min_y <= {part.max_y!r} and max_y >= {part.min_y!r})"
                for part in only.box.parts
            )
        )
    return " and ".join(f"({condition})" for condition in conditions)


def path_column(path: Wanted | None) -> str:
    """Return what stands in the column of paths: the path, or nothing where it does not fit."""
    fits = isinstance(path, str) and len(path.encode()) <= LONGEST_PATH
    return str(path) if fits else ""


def is_loose_in_milvus(only: SearchFilter | None) -> bool:
    """Tell whether ``milvus_condition`` lets more through, to be looked at one by one.

    milvus-lite takes ``True`` and ``1`` for the same, and conditions are not handed to it.
    """
    return only is not None and any(
        value in (0, 1) or isinstance(value, Condition)
        for values in only.wanted.values()
        for value in values
    )


def _literal(value: Wanted) -> str:
    return json.dumps(value, ensure_ascii=False)
