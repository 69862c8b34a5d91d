"""PostgreSQL with pgvector: pictures in a table, searched by several programs at once.

A table holds a row for each entry: ``id``, ``embedding`` (half precision: scores move by less than
0.001), ``metadata`` (jsonb), and the bounding box as four columns of degrees. Where PostGIS is
installed in the database, a generated column ``geom`` repeats the box as a polygon in EPSG:4326, so
that QGIS opens the table as a layer. The table ``rsctir_indexes`` notes the record of each index.

``save`` builds the HNSW graph, which is quicker once than row by row; until then searches are
exact and slow. Filters go through ``hnsw.iterative_scan``, without which a filtered search would
return too little, and what still falls short is asked again without the graph.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import torch
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError, MissingDependencyError, QueryError
from rsctir_hf.vector_index.arguments import refuse_folder, refuse_held, refuse_unknown
from rsctir_hf.vector_index.contract import (
    Batch,
    BoundingBox,
    Entry,
    SearchFilter,
    ValueCount,
    VectorIndex,
)
from rsctir_hf.vector_index.filters import sql_condition
from rsctir_hf.vector_index.nearest import hits_of
from rsctir_hf.vector_index.postgres_session import Session
from rsctir_hf.vector_index.server_uri import read_server_uri

try:
    from pgvector import HalfVector
    from psycopg import sql
    from psycopg.types.json import Jsonb
except ImportError as error:
    raise MissingDependencyError("psycopg and pgvector", "postgres") from error

DEFAULT_TABLE = "rsctir_pictures"
RECORDS_TABLE = "rsctir_indexes"
_NEIGHBOURS = 16  # links of a node, pgvector's own default
_EF_CONSTRUCTION = 128
_EF_SEARCH = 128
_LARGEST_EF = 1000  # pgvector's limit
_LONGEST_NAME = 50  # PostgreSQL's limit is 63, and indexes are named after the table
_LONGEST = 4000  # pgvector's limit for a graph of half-precision vectors
_SCANNED_TUPLES = 100_000  # nodes that a filtered search looks at before it gives up


class PostgresIndex(VectorIndex):
    """A table of unit vectors.

    Args:
        uri: ``postgresql://user@host:port/database?table=NAME``; other parameters, ``PGPASSWORD``
            and ``~/.pgpass`` work as everywhere with PostgreSQL.

    Attributes:
        uri: as given.
        conninfo: the same without what is ours, for psycopg.
        table: name of the table.

    Raises:
        IndexUnavailableError: the server does not answer, or has no pgvector.
        QueryError: the table's name is too long, or the URI's host or port cannot be one.
    """

    persistent = True
    approximate = True

    def __init__(self, uri: str) -> None:
        parts = read_server_uri(uri)
        options = dict(parse_qsl(parts.query))
        self.uri = uri
        self.table = options.pop("table", DEFAULT_TABLE)
        if not 0 < len(self.table.encode()) <= _LONGEST_NAME:
            raise QueryError(
                f"The table is named {self.table!r}; PostgreSQL takes names of at most "
                f"{_LONGEST_NAME} bytes here."
            )
        # By hand: urlunsplit drops the slashes where the host stands among the options.
        self.conninfo = f"postgresql://{parts.netloc}{parts.path}?{urlencode(options)}"
        server = f"{parts.hostname or 'the local server'}{parts.path}"
        self.place = f"the table {self.table} of {server}"
        names = {"table": sql.Identifier(self.table), "records": sql.Identifier(RECORDS_TABLE)}
        self._session = Session(self.conninfo, place=f"{server}, table {self.table}", names=names)
        with self._together():
            pass  # refuses at once what does not answer

    @property
    def record(self) -> Mapping[str, Any]:
        """What is noted about the index as a whole."""
        with self._together():
            if not self._has_records():
                return {}
            rows = self._session.fetch("SELECT record FROM {records} WHERE name = %s", [self.table])
        return rows[0][0] if rows else {}

    @record.setter
    def record(self, record: Mapping[str, Any]) -> None:
        with self._together():
            if not self._has_records():
                self._session.alone()
                self._session.execute(
                    "CREATE TABLE IF NOT EXISTS {records} "
                    "(name text PRIMARY KEY, record jsonb NOT NULL)"
                )
            self._session.execute(
                "INSERT INTO {records} VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET record = EXCLUDED.record",
                [self.table, Jsonb(dict(record))],
            )

    @property
    def dimension(self) -> int | None:
        """The length D of the vectors; None where there is no table yet."""
        rows = self._session.fetch(
            "SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) "
            "AND attname = 'embedding' AND NOT attisdropped",
            [self.table],
        )
        return rows[0][0] if rows else None

    def __len__(self) -> int:
        with self._together():
            if self.dimension is None:
                return 0
            return self._session.fetch("SELECT count(*) FROM {table}")[0][0]

    def ids(self, only: SearchFilter | None = None, *, most: int | None = None) -> Tensor:
        """See ``contract.VectorIndex.ids``."""
        condition, values = sql_condition(only)
        query = (
            "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS row, "
            "count(*) OVER () AS count FROM {table} WHERE {condition}) AS passing "
            "WHERE %s::bigint IS NULL OR count <= %s OR (row * %s) %% count < %s ORDER BY id"
        )
        with self._together():
            if self.dimension is None:
                return torch.zeros(0, dtype=torch.int64)
            values += [most] * 4
            rows = self._session.fetch(query, values, condition=sql.SQL(condition))
        return torch.tensor([row[0] for row in rows], dtype=torch.int64)

    def value_counts(self, only: SearchFilter | None = None) -> dict[str, list[ValueCount]]:
        """See ``contract.VectorIndex.value_counts``; counted by the server."""
        condition, values = sql_condition(only)
        query = (
            "SELECT key, value, count(*) FROM {table}, jsonb_each(metadata) WHERE {condition} "
            "GROUP BY key, value"
        )
        counted: dict[str, list[ValueCount]] = {}
        with self._together():
            if self.dimension is not None:
                rows = self._session.fetch(query, values, condition=sql.SQL(condition))
                for name, value, count in rows:
                    counted.setdefault(name, []).append((value, count))
        return counted

    def save(self, folder: Path | None = None) -> None:
        """Build the HNSW graph where there is none, and the statistics that filters need."""
        refuse_folder(folder, self.place)
        with self._together():
            if self.dimension is None:
                return
            self._session.execute(
                "CREATE INDEX IF NOT EXISTS {graph} ON {table} USING hnsw "
                "(embedding halfvec_ip_ops) WITH (m = {m}, ef_construction = {ef})",
                graph=sql.Identifier(f"{self.table}_hnsw"),
                m=sql.Literal(_NEIGHBOURS),
                ef=sql.Literal(_EF_CONSTRUCTION),
            )
            self._session.execute("ANALYZE {table}")

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._session.close()

    def _together(self) -> AbstractContextManager[None]:
        return self._session.transaction()

    def _has_records(self) -> bool:
        return self._session.fetch("SELECT to_regclass(%s)", [RECORDS_TABLE]) != [(None,)]

    def _put(self, batch: Batch, *, replace: bool) -> list[int]:
        """Copy a batch into the table, alone with it; makes the table where it is missing."""
        with self._together():
            if self.dimension is None:
                self._session.alone()
                if self.dimension is None:  # nobody has made it meanwhile
                    self._create(batch.vectors.shape[1])
            self._session.execute("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            if replace:
                self._session.execute("DELETE FROM {table} WHERE id = ANY(%s)", [batch.ids])
            elif batch.ids is not None:
                held = self._session.fetch("SELECT id FROM {table} WHERE id = ANY(%s)", [batch.ids])
                refuse_held([row[0] for row in held])
            ids = batch.ids
            if ids is None:
                first = self._session.fetch("SELECT coalesce(max(id) + 1, 0) FROM {table}")[0][0]
                ids = list(range(first, first + len(batch.vectors)))
            corners = [box.corners if box else (None,) * 4 for box in batch.boxes]
            columns = zip(ids, batch.vectors.numpy(), batch.metadata, corners, strict=True)
            self._session.copy(
                "COPY {table} (id, embedding, metadata, min_x, min_y, max_x, max_y) "
                "FROM STDIN (FORMAT BINARY)",
                ["int8", "halfvec", "jsonb", *["float8"] * 4],
                ((one, HalfVector(vec), Jsonb(said), *box) for one, vec, said, box in columns),
            )
        return ids

    def _forget(self, ids: list[int]) -> None:
        with self._together():
            self._rows(ids, "id")
            if ids:
                self._session.execute("DELETE FROM {table} WHERE id = ANY(%s)", [ids])

    def _vectors(self, ids: list[int]) -> Tensor:
        rows = self._rows(ids, "id, embedding")
        vectors = {one: torch.from_numpy(vector.to_numpy().copy()) for one, vector in rows}
        return torch.stack([vectors[one] for one in ids]).float()

    def _entries(self, ids: list[int]) -> list[Entry]:
        rows = self._rows(ids, "id, metadata, min_x, min_y, max_x, max_y")
        entries = {
            one: Entry(one, metadata, None if corners[0] is None else BoundingBox(*corners))
            for one, metadata, *corners in rows
        }
        return [entries[one] for one in ids]

    def _rows(self, ids: list[int], columns: str) -> list[Any]:
        """Fetch columns, ``id`` first, of ``ids``; refuses where one is unknown."""
        found: list[Any] = []
        with self._together():
            if ids and self.dimension is not None:
                query = f"SELECT {columns} FROM {{table}} WHERE id = ANY(%s)"
                found = self._session.fetch(query, [ids])
        refuse_unknown(sorted(set(ids) - {row[0] for row in found}), self.place)
        return found

    def _search(
        self, queries: Tensor, top_k: int, only: SearchFilter | None
    ) -> tuple[Tensor, Tensor]:
        with self._together():
            self._tune(top_k)
            rows = self._nearest(queries, top_k, only)
            if len(rows) < top_k * len(queries):  # few pass, or the graph did not reach them
                self._session.execute("SET LOCAL enable_indexscan = off")
                rows = self._nearest(queries, top_k, only)
        found: list[list[tuple[float, int]]] = [[] for _ in queries]
        for query, one, score in rows:
            found[query].append((score, one))
        return hits_of(found)

    def _tune(self, top_k: int) -> None:
        """Set, for this transaction, how far a search walks."""
        self._session.execute(
            "SET LOCAL hnsw.ef_search = {ef}; SET LOCAL hnsw.iterative_scan = strict_order; "
            "SET LOCAL hnsw.max_scan_tuples = {most}",
            ef=sql.Literal(min(max(_EF_SEARCH, top_k), _LARGEST_EF)),
            most=sql.Literal(_SCANNED_TUPLES),
        )

    def _nearest(self, queries: Tensor, top_k: int, only: SearchFilter | None) -> list[Any]:
        """Fetch (query, id, score) of the nearest."""
        condition, values = sql_condition(only)
        query = (
            "SELECT asked.number - 1, hit.id, hit.score "
            "FROM unnest(%s::halfvec[]) WITH ORDINALITY AS asked(vector, number), "
            "LATERAL (SELECT id, -(embedding <#> asked.vector) AS score FROM {table} "
            "WHERE {condition} ORDER BY embedding <#> asked.vector LIMIT %s) AS hit"
        )
        vectors = [HalfVector(vector) for vector in queries.numpy()]
        return self._session.fetch(query, [vectors, *values, top_k], condition=sql.SQL(condition))

    def _create(self, dimension: int) -> None:
        """Make the table, with a polygon for QGIS where the database has PostGIS."""
        if dimension > _LONGEST:
            raise IndexMismatchError(
                f"The vectors have length {dimension}; pgvector's graphs take at most "
                f"{_LONGEST:,}. Use another engine."
            )
        if self._session.fetch("SELECT to_regclass(quote_ident(%s))", [self.table])[0][0]:
            raise IndexMismatchError(
                f"It is no index of rsctir_hf: {self.place}. Name another: ?table=NAME."
            )
        self._session.execute(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, embedding halfvec({d}) NOT NULL, "
            "metadata jsonb NOT NULL, min_x double precision, min_y double precision, "
            "max_x double precision, max_y double precision)",
            d=sql.Literal(dimension),
        )
        self._session.execute("CREATE INDEX ON {table} USING gin (metadata jsonb_path_ops)")
        self._session.execute(
            "CREATE INDEX ON {table} USING gist (box(point(min_x, min_y), point(max_x, max_y)))"
        )
        if self._session.fetch("SELECT 1 FROM pg_extension WHERE extname = 'postgis'"):
            self._session.execute(
                "ALTER TABLE {table} ADD COLUMN geom geometry(Polygon, 4326) GENERATED ALWAYS AS "
                "(ST_MakeEnvelope(min_x, min_y, max_x, max_y, 4326)) STORED",
            )
