"""A search filter in the languages of the servers: SQL with parameters, and Milvus's expressions.

Both compare with the entry's own metadata and corners by the rules of ``contract.SearchFilter``.
"""

import json
from typing import Any

from rsctir_hf.vector_index.arguments import Metadata, Scalar
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.entries import typed

PATH = "path"  # metadata of this name is a column of its own in Milvus, to look up many at once
LONGEST_PATH = 65_535  # bytes, Milvus's limit

# Values that PostgreSQL looks up one by one; of more it makes a table and reads every row once.
_FEW = 32


def sql_condition(only: SearchFilter | None) -> tuple[str, list[Any]]:
    """Return a condition of SQL and the values of its placeholders; nothing of the user's in it."""
    conditions = ["true"]
    values: list[Any] = []
    for name, wanted in only.wanted.items() if only else ():
        if len(wanted) > _FEW:
            conditions.append("metadata -> %s = ANY(%s::jsonb[])")
            values += [name, [json.dumps(value) for value in wanted]]
        else:
            conditions.append(" OR ".join(["metadata @> %s::jsonb"] * len(wanted)))
            values += [json.dumps({name: value}) for value in wanted]
    if only and only.box:
        overlaps = (
            "(box(point(min_x, min_y), point(max_x, max_y)) && box(point(%s, %s), point(%s, %s)) "
            "AND min_x <= %s AND max_x >= %s AND min_y <= %s AND max_y >= %s)"
        )
        conditions.append(" OR ".join([overlaps] * len(only.box.parts)))
        for part in only.box.parts:
            values += [*part.corners, part.max_x, part.min_x, part.max_y, part.min_y]
    return " AND ".join(f"({condition})" for condition in conditions), values


def milvus_condition(only: SearchFilter | None) -> str:
    """Return a filter expression of Milvus; what the user gave stands in it as JSON literals.

    milvus-lite takes ``True`` and ``1`` for the same (see ``typed_alike``), and knows no ``in`` for
    metadata: each value costs a look at every entry. Paths come by the hundred and have a column.
    """
    conditions = ["id >= 0"]
    for name, wanted in only.wanted.items() if only else ():
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


def path_column(path: Scalar | None) -> str:
    """Return what stands in the column of paths: the path, or nothing where it does not fit."""
    fits = isinstance(path, str) and len(path.encode()) <= LONGEST_PATH
    return str(path) if fits else ""


def confuses_types(only: SearchFilter | None) -> bool:
    """Tell whether a filter asks for a value that an engine may take for one of another type."""
    return only is not None and any(
        value in (0, 1) for values in only.wanted.values() for value in values
    )


def typed_alike(metadata: Metadata, only: SearchFilter) -> bool:
    """Tell whether metadata has what a filter asks for, and ``True`` where it asks for that."""
    return all(
        name in metadata and typed(metadata[name]) in map(typed, wanted)
        for name, wanted in only.wanted.items()
    )


def _literal(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)
