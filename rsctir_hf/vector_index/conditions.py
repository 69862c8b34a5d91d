"""A search filter in the languages of the servers: SQL with parameters, and Milvus's expressions.

Both compare with the entry's own metadata and corners by the rules of ``entries.SearchFilter``.
"""

import json
from typing import Any

from rsctir_hf.entries import Scalar, SearchFilter

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

    milvus-lite takes ``True`` and ``1`` for the same, and knows no ``in`` for metadata.
    """
    conditions = ["id >= 0"]
    for name, wanted in only.wanted.items() if only else ():
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


def _literal(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)
